"""What may import what: the house of ARCHITECTURE, read from the code itself."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.checkout import PACKAGES, module_file, module_names

EVERYBODY = {"labeler", "labeler.errors"}
"""The version and the errors are for every room."""

LABELER_FOR_AUDIT = {"labeler.errors", "labeler.table", "labeler.taxonomy", "labeler.pack"}
SHOWS_PICTURES = ("audit.review", "audit.thumbnails")

ROOMS: dict[str, set[str]] = {
    "labeler.errors": set(),
    "labeler.taxonomy": set(),
    "labeler.header": set(),
    "labeler.store": {"labeler.header"},
    "labeler.damage": set(),
    "labeler.decode": {"labeler.damage", "labeler.header"},
    "labeler.detector": {"labeler.decode", "labeler.pack"},
    "labeler.aligner": {"labeler.decode", "labeler.pack"},
    "labeler.verifier": {"labeler.decode", "labeler.pack"},
    "labeler.faces": {
        "labeler.aligner",
        "labeler.decode",
        "labeler.detector",
        "labeler.pack",
        "labeler.verifier",
    },
    "labeler.phash": {"labeler.decode"},
    "labeler.pack": {"labeler.taxonomy"},
    "labeler.table": {"labeler.taxonomy"},
    "audit.estimate": set(),
    "audit.text": set(),
    "audit.wording": {"audit.text"},
    "audit.pages": {"audit.text", "audit.wording", "labeler.pack"},
    "audit.findings": {"audit.text", "audit.wording"},
    "audit.charts": {"audit.text", "audit.wording"},
    "audit.tables": {"audit.text", "audit.wording"},
    "audit.views": {"audit.charts", "audit.findings", "audit.tables", "audit.text", "audit.wording"},
    "audit.report": {
        "audit.findings",
        "audit.pages",
        "audit.performance_views",
        "audit.tables",
        "audit.text",
        "audit.views",
        "audit.wording",
    },
}
"""Modules that may import only these, besides `EVERYBODY`; a module not named here is bound by the other rules."""

HEAVY = {"torch", "torchvision", "onnx", "onnxscript", "sklearn", "skimage"}
"""Libraries that only the extras install."""


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, at whatever depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            known = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in known)


MODULES = {name: module_file(name) for name in module_names()}
OWN = {name: {target for target in imports(path) if target in MODULES} - {name} for name, path in MODULES.items()}


def test_the_three_packages_are_there() -> None:
    assert set(PACKAGES) <= set(MODULES)


@pytest.mark.parametrize("name", [name for name in OWN if name.split(".")[0] == "labeler"])
def test_the_labeler_knows_nothing_downstream(name: str) -> None:
    assert {target for target in OWN[name] if not target.startswith("labeler")} == set()


@pytest.mark.parametrize("name", [name for name in OWN if name.split(".")[0] == "audit"])
def test_the_audit_takes_from_the_labeler_only_its_contracts(name: str) -> None:
    allowed = EVERYBODY | LABELER_FOR_AUDIT
    if name.startswith(SHOWS_PICTURES):
        allowed = allowed | {"labeler.decode", "labeler.store"}
    assert {target for target in OWN[name] if not target.startswith("audit")} <= allowed


@pytest.mark.parametrize("name", [name for name in OWN if name.split(".")[0] == "training"])
def test_training_takes_nothing_from_the_audit(name: str) -> None:
    assert {target for target in OWN[name] if target.startswith("audit")} == set()


@pytest.mark.parametrize("name", [name for name in ROOMS if name in MODULES])
def test_a_room_imports_only_what_it_may(name: str) -> None:
    assert OWN[name] <= ROOMS[name] | EVERYBODY


@pytest.mark.parametrize("name", OWN)
def test_nothing_imports_a_command(name: str) -> None:
    if not name.endswith(".__main__"):
        assert {target for target in OWN[name] if target.split(".")[-1] == "cli"} == set()


@pytest.mark.parametrize("name", [name for name in OWN if not name.startswith("training")])
def test_what_an_extra_installs_is_not_needed_at_run_time(name: str) -> None:
    assert {target.split(".")[0] for target in imports(MODULES[name])} & HEAVY == set()


@pytest.mark.parametrize("name", [name for name in OWN if not name.startswith("training")])
def test_every_module_can_be_imported_without_an_extra(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_imports_never_run_in_a_circle() -> None:
    done: set[str] = set()
    waiting = {name: set(targets) for name, targets in OWN.items()}
    while free := {name for name in waiting if waiting[name] <= done}:
        done |= free
        waiting = {name: targets for name, targets in waiting.items() if name not in free}
    assert waiting == {}
