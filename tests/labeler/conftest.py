"""Packs and stores that the tests of the labeler share."""

from __future__ import annotations

from pathlib import Path

import pytest

from labeler.pack import Pack
from tests.labeler.pictures import save, scene
from tests.packs import write_pack


@pytest.fixture(scope="session")
def pack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny gray pack."""
    return write_pack(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="session")
def pack(pack_folder: Path) -> Pack:
    """Return a tiny gray pack, loaded."""
    return Pack.load(pack_folder)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of five pictures in two folders."""
    folder = tmp_path / "store"
    for seed, name in enumerate(["a/1.jpg", "a/2.png", "a.jpg", "a-b.webp", "z.bmp"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}[path.suffix]
        path.write_bytes(save(scene(64, 80, seed), kind))
    return folder
