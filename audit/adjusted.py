"""Model-based shares: what the counts would be if the classifier errs here as it did on its evaluation data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import optimize

from audit.domain import LOOKS
from audit.estimate import Estimate, FloatArray, IntArray, percentile_interval, wilson
from audit.population import matrix
from audit.text import shown
from labeler.errors import PackError
from labeler.pack import MANIFEST, models_folder, read_manifest
from labeler.taxonomy import ATTRIBUTES, COLUMNS

EVALUATION = "evaluation.parquet"
SUMMARY = "evaluation.json"
"""An evaluation in aggregate, in packs that may not pass on its rows."""
REPLICATES = 200
BOOTSTRAPPED = 3000
"""Images of the store in each resample; they make the interval a little wider than the store alone would."""
STEPS = 1000
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Evaluation:
    """A pack's held-out predictions with truth.

    Parameters
    ----------
    name : str
        Data set and split.
    pack_digest : str
        Of the pack that predicted.
    classes : mapping of str to tuple of str
        As predicted and as true; may be coarser than the pack's.
    truth : mapping of str to array of int, shape (n,)
        The true class, -1 where unknown.
    probabilities : mapping of str to array of shape (n, K)
        Predicted.
    true_years, years : array of shape (n,)
        True age, NaN where unknown, and predicted age.
    looks : mapping of str to array of shape (n,)
        Those of `audit.domain.LOOKS` that the file knows; an older one knows none.
    crop : (float, float) or None
        Width and height in pixels of what the classifier sees; None in an older file.
    """

    name: str
    pack_digest: str
    classes: Mapping[str, tuple[str, ...]]
    truth: Mapping[str, IntArray]
    probabilities: Mapping[str, FloatArray]
    true_years: FloatArray
    years: FloatArray
    looks: Mapping[str, FloatArray] = field(default_factory=dict)
    crop: tuple[float, float] | None = None


def find_evaluation(
    pack_name: str, pack_digest: str, models: str | os.PathLike[str] | None
) -> tuple[Evaluation | None, str]:
    """Return the evaluation of the pack that labelled a table, or None and why there is none.

    Parameters
    ----------
    pack_name, pack_digest : str
        As the label table states them.
    models : path, optional
        The pack's folder. Without it, the pack of that name that comes with the package is taken if its digest is the
        table's.

    Raises
    ------
    PackError
        If a folder was named and is no pack or another one, or if an evaluation is damaged.
    """
    folder = models_folder() / Path(pack_name).name if models is None else Path(models)
    if models is None and (folder.name != pack_name or not (folder / MANIFEST).is_file()):
        return None, f"the pack {shown(pack_name)} is not at hand; give its folder with --models"
    if read_manifest(folder).digest != pack_digest:
        if models is None:
            return None, f"another version of the pack {shown(pack_name)} labelled this table; give that one's folder"
        raise PackError(
            f"--models {shown(os.fspath(models))}: is not the pack that labelled this table "
            f"({shown(pack_name)}, digest {pack_digest[:12]}); give that one"
        )
    if (folder / EVALUATION).is_file():
        return read_evaluation(folder / EVALUATION), ""
    if (folder / SUMMARY).is_file():
        return None, (
            f"the pack {shown(pack_name)} has its evaluation in aggregate only, since the terms of the data do not let "
            "its rows be passed on, and model-based shares need the rows; check a sample instead"
        )
    return None, f"the pack {shown(pack_name)} has no evaluation; write one with train-labelers evaluate"


def read_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """Read a pack's ``evaluation.parquet``.

    Raises
    ------
    PackError
        If it is missing or not readable as an evaluation.
    """
    name = os.fspath(path)
    try:
        table = pq.read_table(name)
        about = json.loads((table.schema.metadata or {})[b"efrs.evaluation"])
        classes = {attribute: tuple(about["classes"][attribute]) for attribute in ATTRIBUTES}
        truth = {attribute: _true_codes(table, attribute, classes[attribute]) for attribute in ATTRIBUTES}
        probabilities = {
            attribute: matrix(
                table.column(f"{attribute}_probabilities").combine_chunks(), len(classes[attribute])
            ).astype(np.float64)
            for attribute in ATTRIBUTES
        }
        years = [table.column(c).to_numpy().astype(np.float64) for c in ("true_age", "age")]
        looks = {name: table.column(name).to_numpy().astype(np.float64) for name in LOOKS if name in table.column_names}
        crop = (float(about["crop"][0]), float(about["crop"][1])) if "crop" in about else None
        title, digest = f"{about['data_set']}, {about['split']}", str(about["pack"]["digest"])
        return Evaluation(title, digest, classes, truth, probabilities, years[0], years[1], looks, crop)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        reason = shown((str(error).splitlines() or ["damaged"])[0])
        raise PackError(
            f"{shown(name)}: no readable evaluation ({reason}); write it anew with train-labelers evaluate"
        ) from error


def _true_codes(table: pa.Table, attribute: str, classes: tuple[str, ...]) -> IntArray:
    places: dict[str | None, int] = {label: code for code, label in enumerate(classes)}
    places[None] = -1
    return np.array([places[label] for label in table.column(f"true_{COLUMNS[attribute]}").to_pylist()], np.int64)


def adjusted_counts(confusion: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the shares p on the simplex that best explain the predicted shares: ``min ‖C p − q‖²``.

    C[j, k] is the chance that an image of true class k is predicted as j (Forman 2008, "Quantifying counts and costs
    via classification", Data Mining and Knowledge Discovery 17:164; Bunse 2022 for the constrained form). Since p adds
    to 1, ``C p − q = (C − q 1ᵀ) p``; the constraint is then met exactly by scaling a non-negative least-squares
    solution.

    Parameters
    ----------
    confusion : array of shape (K, K)
        Row = predicted, column = true; each column adds to 1.
    predicted : array of shape (K,)
        Shares of the predicted classes.

    Examples
    --------
    >>> adjusted_counts(np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([0.55, 0.45])).round(6).tolist()
    [0.5, 0.5]
    """
    system = np.vstack([confusion - predicted[:, None], np.ones(len(predicted))])
    wanted = np.zeros(len(system))
    wanted[-1] = 1.0
    solution, _ = optimize.nnls(system, wanted)
    return np.asarray(solution / solution.sum())


def calibrated(
    probabilities: FloatArray,
    evaluated: FloatArray,
    priors: FloatArray,
    weights: FloatArray | None = None,
    tolerance: float = 1e-6,
) -> FloatArray:
    """Return probabilities whose mean over the evaluation data is the true shares there.

    Each class gets a factor, found by fixed-point steps (the bias part of bias-corrected temperature scaling,
    Alexandari, Kundaje and Shrikumar 2020, ICML).

    Parameters
    ----------
    probabilities : array of shape (n, K)
        To be calibrated.
    evaluated : array of shape (m, K)
        Of the evaluation data.
    priors : array of shape (K,)
        True shares of the evaluation data.
    weights : array of shape (m,), optional
        Of the evaluation's images, adding to 1.
    tolerance : float
        How near to 1 the last step has to be.
    """
    factor = np.ones(len(priors))
    share = np.full(len(evaluated), 1 / len(evaluated)) if weights is None else weights
    for _ in range(100):
        scaled = evaluated * factor
        mean = share @ (scaled / scaled.sum(axis=1, keepdims=True))
        step = np.divide(priors, mean, out=np.ones_like(priors), where=mean > 0)
        factor = np.where(priors > 0, factor * step, 0.0)
        if np.abs(step[priors > 0] - 1).max() < tolerance:
            break
    scaled = probabilities * factor
    total = scaled.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(scaled, total, out=np.full_like(scaled, 1 / len(priors)), where=total > 0))


def expectation_maximisation(
    probabilities: FloatArray,
    priors: FloatArray,
    weights: FloatArray | None = None,
    tolerance: float = TOLERANCE,
    start: FloatArray | None = None,
) -> FloatArray:
    """Return the shares under which the classifier's probabilities are most likely.

    ``p_k ← mean_i (p_k/π_k) f_ik / Σ_j (p_j/π_j) f_ij`` until it stands still (Saerens, Latinne and Decaestecker 2002,
    Neural Computation 14:21).

    Parameters
    ----------
    probabilities : array of shape (n, K)
        Calibrated on data with the shares π.
    priors : array of shape (K,)
        π.
    weights : array of shape (n,), optional
        Of the images, adding to 1.
    tolerance : float
        The largest change of a share at which to stop.
    start : array of shape (K,), optional
        Where to begin; π unless given.

    Examples
    --------
    >>> sure = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    >>> expectation_maximisation(sure, np.array([0.5, 0.5])).tolist()
    [0.25, 0.75]
    """
    n = len(probabilities)
    share = np.full(n, 1 / n) if weights is None else weights
    used = priors > 0
    scaled = np.divide(probabilities, priors, out=np.zeros_like(probabilities), where=used)
    current = priors.copy() if start is None else start
    for _ in range(STEPS):
        total = scaled @ current
        ratio = np.divide(share, total, out=np.zeros(n), where=total > 0)
        following = current * (ratio @ scaled)
        following /= following.sum()
        moved = float(np.abs(following - current).max())
        current = following
        if moved < tolerance:
            break
    return np.asarray(current)


@dataclass(frozen=True)
class ModelShares:
    """Model-based shares of one attribute, by both methods.

    Parameters
    ----------
    adjusted_counts, expectation_maximisation : list of Estimate
        One for each class.
    disagreement : float
        Total variation between the two, 0 to 1.
    """

    adjusted_counts: list[Estimate]
    expectation_maximisation: list[Estimate]
    disagreement: float


def model_shares(
    counts: IntArray,
    probabilities: FloatArray,
    truth: IntArray,
    evaluated: FloatArray,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> ModelShares:
    """Return model-based shares with intervals from a bootstrap of the store and of the evaluation.

    Parameters
    ----------
    counts : array of int, shape (K,)
        Images predicted as each class.
    probabilities : array of shape (n, K)
        Of the store's images, or of a random part of them.
    truth : array of int, shape (m,)
        True classes of the evaluation data, none unknown.
    evaluated : array of shape (m, K)
        Predicted probabilities there.
    """
    k, m, n = len(counts), len(truth), len(probabilities)
    rng = np.random.default_rng(seed)
    cells = truth * k + evaluated.argmax(axis=1)

    def both(
        kept: FloatArray, q: FloatArray, rows: FloatArray, tolerance: float, start: FloatArray | None
    ) -> tuple[FloatArray, FloatArray]:
        joint = np.bincount(cells, kept, minlength=k * k).reshape(k, k)
        # A class that the evaluation lacks is taken as recognised without error.
        total = joint.sum(axis=1, keepdims=True)
        columns = np.where(total > 0, joint / np.maximum(total, 1e-300), np.eye(k))
        priors = (joint.sum(axis=1) + 1e-9) / (joint.sum() + k * 1e-9)
        ready = calibrated(rows, evaluated[kept > 0], priors, kept[kept > 0] / kept.sum(), tolerance)
        return adjusted_counts(columns.T, q), expectation_maximisation(ready, priors, None, tolerance, start)

    shares = counts / counts.sum()
    values = both(np.ones(m), shares, probabilities, TOLERANCE, None)
    draws = np.empty((2, replicates, k))
    begin = np.maximum(values[1], 1e-4) / np.maximum(values[1], 1e-4).sum()
    for b in range(replicates):
        kept = rng.multinomial(m, np.full(m, 1 / m)).astype(np.float64)
        rows = probabilities[rng.integers(0, n, min(n, BOOTSTRAPPED))]
        q = rng.multinomial(int(counts.sum()), shares) / counts.sum()
        draws[0, b], draws[1, b] = both(kept, q, rows, 1e-4, begin)
    found = [
        [_estimate(float(value[j]), drawn[:, j], int(counts.sum()), confidence) for j in range(k)]
        for value, drawn in zip(values, draws, strict=True)
    ]
    return ModelShares(found[0], found[1], float(0.5 * np.abs(values[0] - values[1]).sum()))


def _estimate(value: float, draws: FloatArray, images: int, confidence: float) -> Estimate:
    """Return a share with its bootstrap interval, which knows nothing of a class that no resample shows.

    Where it is narrower than one image, its upper end is at least that of Wilson's interval for none of the images.
    """
    low, high = percentile_interval(value, draws, confidence)
    if low is not None and high is not None and high - low < 1 / images and value < 0.5:
        high = max(high, wilson(0, images, confidence)[1])
    return Estimate(value, low, high, images, None)
