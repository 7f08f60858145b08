"""Whether a store looks like what the classifier was evaluated on: by its confidence, and by its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from audit.estimate import FloatArray, IntArray

NOTABLE = 0.1
"""Distance of confidences from which on a warning is given; beyond what sampling shows at 300 images or more."""
NOTABLE_LOOKS = 0.25
"""Distance of sharpness, contrast or face size from which on a warning is given."""
LOOKS = ("sharpness", "contrast", "face_size")
"""What is measured of a crop beside its labels, as `labeler.looks` defines it."""
WHOLE = 1.0
"""Face size, relative to the crop, from which on more pixels tell the classifier nothing."""


@dataclass(frozen=True)
class Shift:
    """How far a number's distribution in a store lies from that in the evaluation.

    Parameters
    ----------
    distance : float
        Largest gap between the two cumulative distributions, 0 to 1 (Kolmogorov and Smirnov), with the evaluation
        weighted to the store's estimated shares.
    chance : float
        What the distance exceeds in one of twenty stores that do look like the evaluation.
    store, evaluation : float
        Mean in each.
    notable : float
        Distance from which on it matters.
    """

    distance: float
    chance: float
    store: float
    evaluation: float
    notable: float

    @property
    def warning(self) -> bool:
        """Whether the model-based shares should not be trusted here."""
        return self.distance > max(self.notable, self.chance)


def shift(store: FloatArray, evaluation: FloatArray, weights: FloatArray, notable: float = NOTABLE) -> Shift | None:
    """Compare a number of a store's images with the same of the evaluation's; None where either side knows none.

    Parameters
    ----------
    store : array of shape (n,)
        NaN where unknown.
    evaluation, weights : array of shape (m,)
        The same of the evaluation, and how many images of a store each of its images stands for; not all 0.
    notable : float
        As in `Shift`.

    Examples
    --------
    >>> found = shift(np.array([1.0, 2.0]), np.array([2.0, 3.0]), np.ones(2))
    >>> found.distance, found.store, found.evaluation
    (0.5, 1.5, 2.5)
    """
    here = np.sort(store[~np.isnan(store)])
    known = ~np.isnan(evaluation) & (weights > 0)
    if len(here) == 0 or not known.any():
        return None
    order = np.argsort(evaluation[known], kind="stable")
    there, weight = evaluation[known][order], weights[known][order] / weights[known].sum()
    places = np.unique(np.concatenate([here, there]))
    cumulative = np.concatenate([[0.0], np.cumsum(weight)])[np.searchsorted(there, places, "right")]
    own = np.searchsorted(here, places, "right") / len(here)
    size = 1 / (1 / len(here) + float((weight**2).sum()))
    distance = round(float(np.abs(own - cumulative).max()), 12)
    # 1.358 is the 95 % point of Kolmogorov's distribution.
    return Shift(distance, 1.358 / size**0.5, float(here.mean()), float(weight @ there), notable)


def class_weights(truth: Mapping[str, IntArray], shares: Mapping[str, FloatArray], images: int) -> FloatArray:
    """Return a weight for each image of the evaluation with which its classes have the store's estimated shares.

    Other class shares alone change confidences and looks. What is left after weighting is a sign that the images
    themselves differ, and that the classifier may err otherwise. Several attributes are taken as independent.

    Parameters
    ----------
    truth : mapping of str to array of int, shape (images,)
        True classes of the evaluation's images, -1 where unknown.
    shares : mapping of str to array of shape (K,)
        The store's estimated shares of some attributes.

    Examples
    --------
    >>> class_weights({"gender": np.array([0, 0, 1])}, {"gender": np.array([0.5, 0.5])}, 3).tolist()
    [0.75, 0.75, 1.5]
    """
    weight = np.ones(images)
    for name, wanted in shares.items():
        known = truth[name] >= 0
        evaluated = np.bincount(truth[name][known], minlength=len(wanted)) / max(int(known.sum()), 1)
        ratio = np.divide(wanted, evaluated, out=np.zeros_like(wanted), where=evaluated > 0)
        weight *= np.where(known, ratio[np.maximum(truth[name], 0)], 0.0)
    return weight if weight.any() else np.ones(images)
