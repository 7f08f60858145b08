"""What holds for every file of the project: where it stands, how it begins, what it never says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.project.checkout import CHECKOUT, project_files

TOP_LEVEL = set(
    "pyproject.toml labeler audit templates tests models README.md training benchmarks docs .ci Makefile LICENSE "
    "NOTICE CHANGELOG.md CONTRIBUTING.md .gitignore .gitattributes".split()
)
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".html", ".j2", ".jinja", ".css", ".csv", ".svg", ""}
NEVER = {
    "a machine's path": ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/opt" + "/"),
    "a registry's address": ("pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "debian" + ".org"),
    "a claim that no audit can make": ("is unbi" + "ased", "are unbi" + "ased", "pro" + "ves that"),
    "an unfinished thing": ("TO" + "DO", "FIX" + "ME", "XX" + "X:"),
}


FILES = [CHECKOUT / name for name in project_files()]
PYTHON = [path for path in FILES if path.suffix == ".py"]
pytestmark = pytest.mark.skipif(not FILES, reason="not a git checkout: which files are the project's is unknown")


def name_of(path: Path) -> str:
    """Return how a file is called in a test's name."""
    return path.relative_to(CHECKOUT).as_posix()


def test_the_top_level_is_the_agreed_one() -> None:
    assert {path.relative_to(CHECKOUT).parts[0] for path in FILES} <= TOP_LEVEL


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_the_first_line_says_what_a_file_is_about(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert text.startswith(('"""', '#!/usr/bin/env python3\n"""'))
    assert len((ast.get_docstring(tree) or "").split()) >= 3


@pytest.mark.parametrize("what", NEVER)
def test_no_file_says(what: str) -> None:
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in FILES if path.suffix in TEXT}
    found = [(name_of(path), word) for path, text in texts.items() for word in NEVER[what] if word in text]
    assert found == []


def test_no_data_set_or_checkpoint_is_committed() -> None:
    heavy = {".pt", ".pth", ".npy", ".npz", ".xz", ".zip", ".jpg", ".jpeg"}
    assert [name_of(path) for path in FILES if path.suffix in heavy] == []
