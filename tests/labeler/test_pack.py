"""Claims about model packs: what is refused with which words, and predictions that know no neighbours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.errors import PackError
from labeler.pack import BATCH, MANIFEST, Pack, models_folder, read_manifest, resource_folder, softmax
from labeler.taxonomy import ATTRIBUTES, FAIRFACE, UTKFACE
from tests.packs import YEARS, write_pack

Document = dict[str, Any]


def crops(count: int, *shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return random crops."""
    return np.random.default_rng(seed).integers(0, 256, (count, *(shape or (48, 48))), np.uint8)


def edit(folder: Path, change: Callable[[Document], object]) -> Path:
    """Change a pack's manifest in place; return its folder."""
    document = json.loads((folder / MANIFEST).read_text())
    change(document)
    (folder / MANIFEST).write_text(json.dumps(document))
    return folder


def test_the_manifest_says_what_was_written(pack_folder: Path) -> None:
    manifest = read_manifest(pack_folder)
    assert (manifest.name, manifest.version, manifest.taxonomy) == ("tiny", "0.0.1", "fairface")
    assert (manifest.width, manifest.height, manifest.colour, manifest.channels) == (48, 48, "gray", 1)
    assert (manifest.low, manifest.high) == (0, 1)
    assert manifest.classes == dict(FAIRFACE.classes)
    assert manifest.outputs["age"].years == YEARS
    assert manifest.digest == hashlib.sha256((pack_folder / MANIFEST).read_bytes()).hexdigest()


@pytest.mark.parametrize("taxonomy", [FAIRFACE, UTKFACE])
@pytest.mark.parametrize(("colour", "width", "height"), [("gray", 48, 48), ("rgb", 64, 32), ("gray", 20, 33)])
def test_another_size_colour_or_taxonomy_needs_no_change_of_code(
    tmp_path: Path, taxonomy: Any, colour: str, width: int, height: int
) -> None:
    pack = Pack.load(write_pack(tmp_path / "p", taxonomy=taxonomy.name, width=width, height=height, colour=colour))
    shape = (height, width) if colour == "gray" else (height, width, 3)
    prediction = pack.predict(crops(5, *shape))
    for name in ATTRIBUTES:
        assert prediction.probabilities[name].shape == (5, len(taxonomy.classes[name]))


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH])
def test_every_crop_has_one_prediction(pack: Pack, count: int) -> None:
    prediction = pack.predict(crops(count))
    assert prediction.years.shape == (count,)
    assert prediction.years.dtype == np.float32
    for name in ATTRIBUTES:
        probabilities = prediction.probabilities[name]
        assert probabilities.shape == (count, len(FAIRFACE.classes[name]))
        assert probabilities.dtype == np.float32
        assert np.allclose(probabilities.sum(1), 1, atol=1e-6)
        assert (probabilities >= 0).all()


@given(order=st.permutations(range(40)), size=st.integers(1, 40))
def test_a_prediction_does_not_depend_on_its_neighbours(pack: Pack, order: list[int], size: int) -> None:
    pictures = crops(40)
    whole = pack.predict(pictures)
    chosen = order[:size]
    part = pack.predict(pictures[chosen])
    for name in ATTRIBUTES:
        assert np.array_equal(part.probabilities[name], whole.probabilities[name][chosen])
    assert np.array_equal(part.years, whole.years[chosen])


def test_a_pack_may_be_used_from_several_threads(pack: Pack) -> None:
    pictures = crops(6 * BATCH)
    alone = pack.predict(pictures)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(pack.predict, np.split(pictures, 6)))
    assert np.array_equal(np.concatenate([part.years for part in parts]), alone.years)


def test_the_age_is_the_mean_of_the_classes_years_or_the_networks_own(tmp_path: Path) -> None:
    mean = Pack.load(write_pack(tmp_path / "mean")).predict(crops(8))
    expected = mean.probabilities["age"].astype(np.float64) @ np.array(YEARS)
    assert np.allclose(mean.years, expected, atol=1e-4)
    own = Pack.load(write_pack(tmp_path / "own", years_output=True)).predict(crops(8))
    assert own.years.shape == (8,)
    assert not np.allclose(own.years, mean.years)


def test_a_higher_temperature_makes_less_sure_and_changes_no_label(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "p")
    sure = Pack.load(folder).predict(crops(20)).probabilities["gender"]
    edit(folder, lambda document: document["attributes"]["gender"].update(temperature=3))
    unsure = Pack.load(folder).predict(crops(20)).probabilities["gender"]
    assert (unsure.max(1) < sure.max(1)).all()
    assert np.array_equal(unsure.argmax(1), sure.argmax(1))


def test_the_range_is_what_the_network_sees(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "p")
    plain = Pack.load(folder).predict(crops(4))
    edit(folder, lambda document: document["input"].update(range=[-1, 1]))
    shifted = Pack.load(folder).predict(crops(4))
    assert not np.allclose(plain.years, shifted.years)


def test_large_logits_do_not_overflow() -> None:
    assert softmax(np.array([[1e30, 0, -1e30], [1000, 1000, 0]], np.float32)).tolist() == [[1, 0, 0], [0.5, 0.5, 0]]


BAD_MANIFESTS: dict[str, tuple[Callable[[Document], object], str]] = {
    "newer format": (lambda d: d.update(format=2), "format 2"),
    "no format": (lambda d: d.pop("format"), "format None"),
    "no input": (lambda d: d.pop("input"), "'input' is missing"),
    "no width": (lambda d: d["input"].pop("width"), "'width' is missing"),
    "width 0": (lambda d: d["input"].update(width=0), "0 x 48"),
    "width huge": (lambda d: d["input"].update(width=10**9), "out of range"),
    "width infinite": (lambda d: d["input"].update(width=float("inf")), "infinity"),
    "width text": (lambda d: d["input"].update(width="wide"), "wide"),
    "input text": (lambda d: d.update(input="48x48"), "pack.json"),
    "colour": (lambda d: d["input"].update(colour="bgr"), "'bgr'"),
    "range": (lambda d: d["input"].update(range=[1, 0]), "does not go up"),
    "range of three": (lambda d: d["input"].update(range=[0, 1, 2]), "too many values"),
    "range not a number": (lambda d: d["input"].update(range=[0, float("nan")]), "does not go up"),
    "framing text": (lambda d: d["input"].update(framing="whole"), "pack.json"),
    "framing kind": (lambda d: d["input"].update(framing={"kind": "tight"}), "'tight'"),
    "framing points": (lambda d: d["input"].update(framing={"kind": "landmarks", "points": [[0, 0]]}), "1 points"),
    "framing infinite": (
        lambda d: d["input"].update(framing={"kind": "landmarks", "points": [[0, float("inf")]] * 5}),
        "landmark",
    ),
    "no attribute": (lambda d: d["attributes"].pop("gender"), "'gender' is missing"),
    "attributes a list": (lambda d: d.update(attributes=[]), "pack.json"),
    "one class": (lambda d: d["attributes"]["gender"].update(classes=["male"]), "gender: 1 classes"),
    "equal classes": (lambda d: d["attributes"]["gender"].update(classes=["a", "a"]), "of which 1 differ"),
    "classes text": (lambda d: d["attributes"]["gender"].update(classes="mf"), "not a list of names"),
    "class number": (lambda d: d["attributes"]["gender"].update(classes=[0, 1]), "not a list of names"),
    "temperature 0": (lambda d: d["attributes"]["age"].update(temperature=0), "temperature 0"),
    "temperature nan": (lambda d: d["attributes"]["age"].update(temperature=float("nan")), "temperature nan"),
    "temperature infinite": (lambda d: d["attributes"]["age"].update(temperature=float("inf")), "temperature inf"),
    "years short": (lambda d: d["attributes"]["age"].update(years=[1, 2]), "2 years for 9 classes"),
    "years negative": (lambda d: d["attributes"]["age"].update(years=[-1.0] * 9), "years below 0"),
    "file without checksum": (lambda d: d["attributes"]["age"].update(file="other.onnx"), "'other.onnx'"),
    "file of another kind": (
        lambda d: (d["files"].update({"a.bin": {"sha256": "0"}}), d["attributes"]["age"].update(file="a.bin")),
        "no .onnx file",
    ),
    "file elsewhere": (lambda d: d["files"].update({"../x.onnx": {"sha256": "0"}}), "own folder"),
    "no sha256": (lambda d: d["files"]["labels.onnx"].pop("sha256"), "no sha256"),
    "files a list": (lambda d: d.update(files=["labels.onnx"]), "pack.json"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_a_bad_manifest_is_refused_with_its_reason(tmp_path: Path, case: str) -> None:
    change, words = BAD_MANIFESTS[case]
    folder = edit(write_pack(tmp_path / "p"), change)
    with pytest.raises(PackError) as caught:
        Pack.load(folder)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b"[" * 100_000])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(PackError, match=MANIFEST):
        read_manifest(tmp_path)


def test_a_missing_pack_is_refused_with_advice(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PackError, match="--models"):
            Pack.load(folder)


@pytest.mark.parametrize("where", [0, 1_000, -1])
def test_a_file_with_one_changed_byte_is_refused(tmp_path: Path, where: int) -> None:
    folder = write_pack(tmp_path / "p")
    content = bytearray((folder / "labels.onnx").read_bytes())
    content[where] ^= 1
    (folder / "labels.onnx").write_bytes(content)
    with pytest.raises(PackError, match=r"labels\.onnx: its SHA-256 .* copy the pack anew"):
        Pack.load(folder)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = write_pack(tmp_path / "p")
    (folder / "labels.onnx").unlink()
    with pytest.raises(PackError, match=r"labels\.onnx: cannot be read"):
        Pack.load(folder)


def with_file(folder: Path, content: bytes) -> Path:
    """Put other content into a pack's ONNX file, with the right checksum; return its folder."""
    (folder / "labels.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return edit(folder, lambda document: document["files"]["labels.onnx"].update(sha256=digest))


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    folder = with_file(write_pack(tmp_path / "p"), b"no network at all")
    with pytest.raises(PackError, match="onnxruntime refuses it"):
        Pack.load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["input"].update(width=64), "does not take the input"),
        (lambda d: d["input"].update(colour="rgb"), "does not take the input"),
        (lambda d: d["attributes"]["gender"].update(classes=["male", "female", "other"]), "its network gives 2"),
        (lambda d: d["attributes"]["gender"].update(output="sex"), "no output 'sex'"),
        (lambda d: d["attributes"]["age"].update(years_output="months"), "no output 'months'"),
        (lambda d: d["attributes"]["age"].update(years_output="gender"), "does not take"),
    ],
)
def test_a_manifest_that_its_network_contradicts_is_refused(
    tmp_path: Path, change: Callable[[Document], object], words: str
) -> None:
    with pytest.raises(PackError, match=words):
        Pack.load(edit(write_pack(tmp_path / "p"), change))


def test_the_digest_tells_every_change_of_the_pack(tmp_path: Path) -> None:
    digests = {read_manifest(write_pack(tmp_path / str(seed), seed=seed)).digest for seed in range(3)} | {
        read_manifest(edit(write_pack(tmp_path / "t"), lambda d: d["attributes"]["age"].update(temperature=2))).digest
    }
    assert len(digests) == 4


def test_models_and_templates_lie_where_the_package_can_find_them() -> None:
    assert models_folder() == resource_folder("models")
    assert models_folder().name == "models"
