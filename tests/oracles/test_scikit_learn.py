"""scikit-learn gives the same accuracy, balanced accuracy, macro F1 and ROC AUC, overall and group by group."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from audit.performance import accuracy, balanced_accuracy, confusion, macro_f1, roc_auc
from audit.result import Options, audit_files
from labeler.taxonomy import ATTRIBUTES, COLUMNS
from tests.audit.tables import make

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")

EXACT = 1e-9
"""The definitions are the same; only the order of additions differs."""

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def theirs(truth: IntArray, predicted: IntArray, probabilities: FloatArray) -> dict[str, float | None]:
    """Return scikit-learn's metrics; the area is the mean over the classes that have images on both sides."""
    areas = [
        metrics.roc_auc_score(truth == label, probabilities[:, label])
        for label in np.unique(truth)
        if 0 < (truth == label).sum() < len(truth)
    ]
    with warnings.catch_warnings():
        # A class that is predicted but never true: both leave it out of the balanced accuracy, scikit-learn warns.
        warnings.simplefilter("ignore", UserWarning)
        return {
            "accuracy": metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
            "macro_f1": metrics.f1_score(truth, predicted, average="macro", zero_division=0),
            "roc_auc": float(np.mean(areas)) if areas else None,
        }


@pytest.mark.parametrize("seed", range(12))
def test_metrics_agree_on_random_labels_of_which_some_classes_are_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, n = int(rng.integers(2, 10)), int(rng.integers(2, 300))
    truth = rng.choice(classes, n, p=rng.dirichlet(np.full(classes, 0.4)))
    # Few distinct scores, so that ties are common.
    probabilities = np.round(rng.dirichlet(np.ones(classes), n), 1)
    predicted = probabilities.argmax(axis=1)
    expected = theirs(truth, predicted, probabilities)
    matrix = confusion(truth, predicted, classes)
    assert accuracy(matrix).value == pytest.approx(expected["accuracy"], abs=EXACT)
    assert balanced_accuracy(matrix).value == pytest.approx(expected["balanced_accuracy"], abs=EXACT)
    assert macro_f1(matrix).value == pytest.approx(expected["macro_f1"], abs=EXACT)
    assert roc_auc(truth, probabilities).value == pytest.approx(expected["roc_auc"], abs=EXACT)


def test_with_every_class_present_the_area_is_their_one_against_the_rest() -> None:
    rng = np.random.default_rng(1)
    truth = np.r_[np.arange(6), rng.integers(0, 6, 200)]
    probabilities = rng.dirichlet(np.ones(6), len(truth))
    expected = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert roc_auc(truth, probabilities).value == pytest.approx(expected, abs=EXACT)


def test_a_whole_audit_agrees_overall_and_in_each_group(tmp_path: Path) -> None:
    made = make(tmp_path, n=900, seed=8, skill=1.5)
    assert compare(made.labels, made.truth, made.classes) > 100


def test_a_whole_audit_of_real_photos_agrees(checkout: Path, shared_data: Path, tmp_path: Path) -> None:
    if not (checkout / "models" / "fairface" / "pack.json").is_file():
        pytest.skip("models/fairface is not here")
    from labeler.pack import Pack
    from labeler.pipeline import Options as LabelOptions
    from labeler.pipeline import label_store

    store = tmp_path / "store"
    store.mkdir()
    for photo in sorted((shared_data / "fairface" / "val").iterdir())[:300]:
        (store / photo.name).symlink_to(photo)
    pack, labels, truth = Pack.load(checkout / "models" / "fairface"), tmp_path / "l.parquet", tmp_path / "truth.csv"
    label_store(store, labels, pack, LabelOptions(workers=2))
    known = pd.read_csv(shared_data / "fairface" / "fairface_labels.csv").rename(
        columns={"file": "path", "age": "age_group", "race": "ethnicity"}
    )
    known["path"] = known["path"].str.removeprefix("val/")
    known = known[known["path"].isin([photo.name for photo in store.iterdir()])]
    known[["path", "age_group", "gender", "ethnicity"]].to_csv(truth, index=False)
    assert compare(labels, truth, pack.manifest.classes) > 100


def compare(labels: Path, truth: Path, classes: Mapping[str, tuple[str, ...]]) -> int:
    """Check every value of an audit against scikit-learn and return how many there were."""
    document = audit_files(labels, truth, Options(min_cell=1, replicates=10))
    frame = pd.read_parquet(labels).merge(pd.read_csv(truth), on="path", suffixes=("", "_true"))
    frame = frame[frame["status"] == "ok"].reset_index(drop=True)
    known: dict[str, IntArray] = {}
    for name in ATTRIBUTES:
        column = f"{COLUMNS[name]}_true"
        if column not in frame:
            years = frame["age_true"]
            limits = [int(group.split("-")[1]) for group in classes["age"][:-1]]
            known[name] = np.searchsorted(limits, years.to_numpy()).astype(np.int64)
        else:
            known[name] = _positions(frame[column].str.lower(), [label.lower() for label in classes[name]])
    compared = 0
    for record in document["performance"]:
        name, metric = record["attribute"], record["metric"]
        if not record["group"].keys() <= known.keys():
            continue  # Decades have tests of their own.
        members = np.ones(len(frame), dtype=bool)
        for other, label in record["group"].items():
            members &= known[other] == classes[other].index(label)
        if metric not in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc"):
            continue
        if not members.any():
            assert record["status"] == "absent"
            continue
        predicted = _positions(frame[COLUMNS[name]].astype(str), classes[name])
        probabilities = np.stack(frame[f"{name}_probabilities"].tolist())
        expected = theirs(known[name][members], predicted[members], probabilities[members])[metric]
        if expected is None:
            assert record["status"] == "undefined"
        else:
            assert record["value"] == pytest.approx(expected, abs=EXACT)
        compared += 1
    return compared


def _positions(column: pd.Series[str], labels: Sequence[str]) -> IntArray:
    return column.map({label: position for position, label in enumerate(labels)}).to_numpy().astype(np.int64)
