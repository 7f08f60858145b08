"""axe-core for the tests of pages: its script, and what it found, short enough to read in a failure."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import pytest


def script() -> str:
    """Return axe-core's JavaScript; the test is skipped where it is not installed."""
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    return resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(found: Mapping[str, Any], least: int = 1) -> list[tuple[str, list[str]]]:
    """Return each violated rule with the first parts of the page that violate it.

    Parameters
    ----------
    found : mapping
        What ``axe.run`` gave.
    least : int
        Rules that must have been passed, so that a page that was not looked at does not pass.
    """
    assert len(found["passes"]) >= least
    return [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found["violations"]]
