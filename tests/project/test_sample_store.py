"""The sample store of ``make demo``: readable pictures with a named source each, and two damaged ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from labeler.decode import decode
from labeler.errors import DecodeError

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "sample_store.py"


@pytest.fixture(scope="module")
def sample_store() -> ModuleType:
    """Return the module that makes the sample store."""
    pytest.importorskip("skimage", reason="the sample store is made from scikit-image's pictures: extra [demo]")
    specification = importlib.util.spec_from_file_location("sample_store", SCRIPT)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def store(sample_store: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sample store."""
    folder: Path = sample_store.make(tmp_path_factory.mktemp("demo"))
    return folder


def test_every_source_names_its_licence(sample_store: ModuleType, store: Path) -> None:
    text = (store.parent / "SOURCES.txt").read_text(encoding="utf-8")
    for name, source in sample_store.SOURCES.items():
        assert name in text
        assert source.endswith(("public domain", "CC0"))


def test_every_source_is_named_in_the_readme(sample_store: ModuleType) -> None:
    readme = (SCRIPT.parents[1] / "README.md").read_text(encoding="utf-8")
    assert [name for name in sample_store.SOURCES if name not in readme] == []


def test_what_is_not_damaged_can_be_read(store: Path) -> None:
    for path in [*(store / "people").iterdir(), *(store / "things").iterdir()]:
        assert decode(path.read_bytes()).width > 0, path.name


def test_what_is_damaged_is_refused(store: Path) -> None:
    for path in (store / "damaged").iterdir():
        with pytest.raises(DecodeError):
            decode(path.read_bytes())


def test_the_picture_on_its_side_is_shown_upright(store: Path) -> None:
    upright = decode((store / "people" / "portrait.jpg").read_bytes()).pixels.astype(np.float64)
    turned = decode((store / "people" / "portrait, on its side.jpg").read_bytes()).pixels.astype(np.float64)
    assert np.abs(upright - turned).mean() < 3  # JPEG blocks lie differently; a picture upside down differs by 80


def test_a_second_run_gives_the_same_files(sample_store: ModuleType, store: Path, tmp_path: Path) -> None:
    again = sample_store.make(tmp_path)
    files = sorted(path.relative_to(store) for path in store.rglob("*.*"))
    assert files == sorted(path.relative_to(again) for path in again.rglob("*.*"))
    assert all((store / name).read_bytes() == (again / name).read_bytes() for name in files)
