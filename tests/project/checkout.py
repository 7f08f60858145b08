"""The checkout as the tests of the project see it: its folder, and the files that are the project's."""

from __future__ import annotations

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("labeler", "audit", "training")


def project_files() -> list[str]:
    """Return the files that a clean clone of the present state would hold, relative to the checkout.

    Empty where this is not a git checkout, and which files are the project's is therefore unknown.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=False,
    )
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return [name for name in names if (CHECKOUT / name).is_file()]


def module_names() -> list[str]:
    """Return the dotted names of all modules of the three packages."""
    files = sorted(path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
    parts = [path.relative_to(CHECKOUT).with_suffix("").parts for path in files]
    return [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]


def module_file(name: str) -> Path:
    """Return the file of a module of the three packages."""
    inside = CHECKOUT.joinpath(*name.split("."))
    return inside / "__init__.py" if inside.is_dir() else inside.with_suffix(".py")
