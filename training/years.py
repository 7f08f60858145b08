"""Age as a distribution over single years: its targets, its expectation, and its sums over age groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

YEARS = 101
"""Outputs, one for each year from 0 to 99; the last stands for 100 years and more."""


def year_numbers(ages: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the output that each age in years belongs to, 0 to 100.

    Examples
    --------
    >>> year_numbers(np.array([0.0, 9.9, 116.0])).tolist()
    [0, 9, 100]
    """
    return np.asarray(np.clip(np.floor(ages), 0, YEARS - 1), np.int64)


def year_targets(softness: float) -> Tensor:
    """Return the target distribution of each year, shape (101, 101): a discrete bell of `softness` years around it.

    Label distribution learning (Gao et al. 2017, "Deep label distribution learning with label ambiguity").
    """
    years = torch.arange(YEARS, dtype=torch.float32)
    table = torch.exp(-0.5 * ((years[:, None] - years[None, :]) / max(softness, 1e-3)) ** 2)
    return table / table.sum(dim=1, keepdim=True)


def expected_years(logits: Tensor) -> Tensor:
    """Return the mean of the distribution in years, shape (n,), from logits (n, 101).

    The mean of whole years is half a year below that of exact ages, as the labels are, so nothing is added.

    Examples
    --------
    >>> expected_years(torch.zeros(1, 101)).round().tolist()
    [50.0]
    """
    years = torch.arange(YEARS, dtype=torch.float32)
    # A plain sum, for a matrix product may add in an order that depends on the batch.
    return (log_softmax(logits.float(), dim=1).exp() * years).sum(dim=1)


def group_log_probabilities(logits: Tensor, groups: Sequence[str]) -> Tensor:
    """Return the log-probabilities of age groups, shape (n, groups), from logits over years (n, 101).

    Parameters
    ----------
    logits : torch.Tensor
        Shape (n, 101).
    groups : sequence of str
        As in `labeler.taxonomy.Taxonomy`: ascending, both ends inside, the last one open.
    """
    logs = log_softmax(logits.float(), dim=1)
    starts = group_starts(groups)
    ends = [*starts[1:], YEARS]
    return torch.stack(
        [torch.logsumexp(logs[:, start:end], dim=1) for start, end in zip(starts, ends, strict=True)], dim=1
    )


def group_starts(groups: Sequence[str]) -> list[int]:
    """Return the first year of each age group.

    Examples
    --------
    >>> group_starts(("0-9", "10-19", "20 and over"))
    [0, 10, 20]
    """
    return [0, *(int(group.split("-")[1]) + 1 for group in groups[:-1])]
