"""The package as others install it: a wheel in an empty environment, an editable install, another working folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.project.checkout import CHECKOUT, project_files

SCRIPTS = ("label-images", "audit-labels", "train-labelers")


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command in a folder without this checkout on its path, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy that holds what a clean clone of the present state would hold, and a research pack."""
    names = project_files()
    if not names:
        pytest.skip("not a git checkout: which files are the project's is unknown")
    folder = tmp_path_factory.mktemp("clone")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, folder / name)
    (folder / "models" / "utkface").mkdir(parents=True, exist_ok=True)
    (folder / "models" / "utkface" / "pack.json").write_text("{}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that the clone builds."""
    folder = tmp_path_factory.mktemp("wheel")
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        clone,
    ]
    run(build, folder)
    return next(folder.glob("efrs_labeler-*.whl"))


def empty_environment(folder: Path) -> Path:
    """Make a virtual environment that has this one's libraries but not this project, and return its bin folder."""
    venv.create(folder, with_pip=False, symlinks=True)
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    libraries = purelib / "libraries"
    libraries.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "efrs_labeler" not in entry.name:
            (libraries / entry.name).symlink_to(entry)
    (purelib / "libraries.pth").write_text("libraries\n", encoding="utf-8")
    return folder / "bin"


def install(binaries: Path, what: Sequence[str | Path], folder: Path) -> None:
    """Install into an environment with this environment's pip."""
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", binaries / "python", "install", "--quiet"]
    run([*pip, "--no-deps", "--no-build-isolation", *what], folder)


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment into which the wheel was installed."""
    binaries = empty_environment(tmp_path_factory.mktemp("wheel-env"))
    install(binaries, [wheel], wheel.parent)
    return binaries


@pytest.fixture(scope="module")
def editable(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment in which the clone is installed editable."""
    binaries = empty_environment(tmp_path_factory.mktemp("editable-env"))
    install(binaries, ["--editable", clone], clone)
    return binaries


@pytest.fixture
def binaries(request: pytest.FixtureRequest) -> Path:
    """Return the bin folder of the kind of install that a test names."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


both = pytest.mark.parametrize("binaries", ["from_wheel", "editable"], indirect=True)


def test_the_wheel_holds_the_packs_and_the_templates_but_no_research_pack(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "labeler/_resources/models/fairface/pack.json" in names
    assert any(name.startswith("labeler/_resources/templates/") for name in names)
    assert [name for name in names if "utkface" in name and not name.endswith(".py")] == []


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"labeler", "audit", "training"}


def test_the_wheel_carries_the_licence_and_the_notice(wheel: Path) -> None:
    names = {name.rsplit("/", 1)[-1] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/licenses/" in name}
    assert {"LICENSE", "NOTICE"} <= names


@both
def test_the_commands_answer_from_another_folder(binaries: Path, tmp_path: Path) -> None:
    for script in SCRIPTS:
        assert run([binaries / script, "--help"], tmp_path).startswith("Usage:")


@both
def test_a_folder_of_pictures_becomes_a_page_from_another_folder(binaries: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(store / "noise.png"), noise)
    run([binaries / "label-images", "store", "--out", "labels.parquet"], tmp_path)
    run([binaries / "audit-labels", "report", "labels.parquet", "--out", "audit.html"], tmp_path)
    assert (tmp_path / "audit.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")


def test_the_installed_package_finds_its_own_resources(from_wheel: Path, tmp_path: Path) -> None:
    ask = (
        "from labeler.pack import models_folder, resource_folder; print(models_folder(), resource_folder('templates'))"
    )
    for folder in run([from_wheel / "python", "-c", ask], tmp_path).split():
        assert Path(folder).is_relative_to(from_wheel.parent)
        assert Path(folder).is_dir()
