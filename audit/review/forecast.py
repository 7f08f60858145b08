"""How wide the intervals will be after the images done so far, and after all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audit import sampling
from audit.estimate import effective_wilson, kish
from audit.population import Population
from labeler.taxonomy import ATTRIBUTES

POINTS = 16
"""Sample sizes for which the forecast is computed; it is interpolated between them."""
FEWEST = 10
"""Images from which on a forecast says anything."""


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of one attribute's verified shares.

    Parameters
    ----------
    attribute : str
    done, total : int
        Images answered so far, and on the sheets.
    now, then : float or None
        Half-width of the widest class's interval after those, and after all; None where there are too few images.
    """

    attribute: str
    done: int
    total: int
    now: float | None
    then: float | None

    def rounded(self) -> Outlook:
        """Return it with as many decimals as are read."""
        now, then = (None if value is None else round(value, 4) for value in (self.now, self.then))
        return Outlook(self.attribute, self.done, self.total, now, then)


@dataclass(frozen=True)
class Curves:
    """The widest half-width of each attribute as a function of the number of images.

    Parameters
    ----------
    sizes : array of float, shape (n,)
        Ascending.
    widest : mapping of str to array of float, shape (n,)
    """

    sizes: np.typing.NDArray[np.float64]
    widest: Mapping[str, np.typing.NDArray[np.float64]]

    @classmethod
    def of(cls, population: Population, scheme: str, seed: int, total: int, *, no_face: bool) -> Curves:
        """Compute the curves from a label table, whose probabilities are taken at their word.

        Parameters
        ----------
        population : Population
            The label table.
        scheme, seed, no_face
            How the sample was drawn; see `audit.sampling.stratify`.
        total : int
            Images on the sheets.
        """
        strata = sampling.stratify(population, scheme, seed, no_face=no_face)
        sizes = np.unique(np.geomspace(min(FEWEST, total), total, POINTS).round().astype(np.int64))
        widest = {
            # A few images more can fall into strata where they help little; the curve does not rise for that.
            attribute: np.minimum.accumulate(
                [sampling.forecast(population, strata, attribute, size).widest for size in sizes.tolist()]
            )
            for attribute in ATTRIBUTES
        }
        return cls(sizes.astype(np.float64), widest)

    def outlook(self, attribute: str, done: int) -> Outlook:
        """Return what to expect after ``done`` images."""
        total = int(self.sizes[-1])
        values = self.widest[attribute]
        now = float(np.interp(np.log(done), np.log(self.sizes), values)) if done >= FEWEST else None
        return Outlook(attribute, done, total, now, float(values[-1])).rounded()


def from_answers(
    attribute: str, given: Sequence[int], weights: Sequence[float], classes: int, every_weight: Sequence[float]
) -> Outlook:
    """Return what to expect where there is no label table: from the answers and their weights alone.

    The share of each class is the weighted one, and its effective size Kish's, ``(Σw)² / Σw²``, enlarged by the part
    of the store that is not yet seen; see `audit.estimate.effective_wilson`.

    Parameters
    ----------
    attribute : str
    given : sequence of int
        The class of each image answered, 0 to ``classes`` − 1.
    weights : sequence of float
        How many images of the store each of them stands for.
    classes : int
        What an answer can be.
    every_weight : sequence of float
        Those of all images on the sheets.

    Examples
    --------
    >>> outlook = from_answers("gender", [0, 1] * 50, [10.0] * 100, 2, [10.0] * 400)
    >>> round(outlook.now, 3), round(outlook.then, 3)
    (0.095, 0.046)
    """
    done, total = len(given), len(every_weight)
    if done < FEWEST:
        return Outlook(attribute, done, total, None, None)
    weight = np.asarray(weights)
    shares = np.bincount(np.asarray(given), weight, minlength=classes) / weight.sum()
    now, then = _widest(shares, weight, every_weight), _widest(shares, every_weight, every_weight)
    return Outlook(attribute, done, total, now, then).rounded()


def _widest(
    shares: np.typing.NDArray[np.float64],
    weights: Sequence[float] | np.typing.NDArray[np.float64],
    every: Sequence[float],
) -> float:
    store = float(np.sum(every))
    unseen = max(1 - len(weights) / store, 0.0)
    n_eff = kish(np.asarray(weights, dtype=np.float64)) / unseen if unseen > 0 else float("inf")
    halves = []
    for share in shares.tolist():
        low, high = effective_wilson(share, n_eff, 0.95)
        halves.append((high - low) / 2)
    return max(halves)
