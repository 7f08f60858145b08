"""Shares of the classes: counts of predicted classes against a target, with Wilson's interval."""

from __future__ import annotations

from dataclasses import dataclass

from audit.estimate import Estimate, IntArray, proportion


@dataclass(frozen=True)
class Share:
    """The share of one class.

    Parameters
    ----------
    label : str
        The class as the pack writes it.
    count : int
        Images labelled so.
    target : float
        The share wanted, 0 to 1.
    estimate : Estimate
        The share, 0 to 1.
    """

    label: str
    count: int
    target: float
    estimate: Estimate


def uniform(classes: int) -> tuple[float, ...]:
    """Return the target that gives every class the same share.

    Examples
    --------
    >>> uniform(4)
    (0.25, 0.25, 0.25, 0.25)
    """
    return (1 / classes,) * classes


def raw_shares(
    counts: IntArray, labels: tuple[str, ...], target: tuple[float, ...] = (), confidence: float = 0.95
) -> list[Share]:
    """Return the share of each declared class among the predicted ones, the empty classes included.

    The interval is Wilson's and speaks of chance alone. The classifier's errors are not in it, so these shares
    are *uncorrected*: no verdict rests on them.

    Parameters
    ----------
    counts : array of int, shape (K,)
        Images predicted as each class.
    labels : tuple of length K
        The classes in order.
    target : tuple of length K, optional
        The share wanted of each; even shares unless given.
    confidence : float
        Strictly between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> [share.estimate.value for share in raw_shares(np.array([30, 0]), ("male", "female"), (0.5, 0.5))]
    [1.0, 0.0]
    """
    n = int(counts.sum())
    return [
        Share(label, int(number), wanted, proportion(int(number), n, confidence))
        for label, number, wanted in zip(labels, counts, target or uniform(len(labels)), strict=True)
    ]
