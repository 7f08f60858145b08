"""The commands: each is declared, has help, and is documented."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator

import click
import pytest

from audit.verdict import EXIT_CODES
from labeler import table, taxonomy
from tests.project.checkout import CHECKOUT

SCRIPTS = {"label-images": "labeler.cli", "audit-labels": "audit.cli", "train-labelers": "training.cli"}


def documentation() -> str:
    """Return the README and everything under docs/ as one text."""
    pages = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


def commands(script: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a script and all its verbs, with the words that call them."""
    members = vars(importlib.import_module(SCRIPTS[script])).values()
    found = [member for member in members if isinstance(member, click.Command)]
    inner = [verb for member in found if isinstance(member, click.Group) for verb in member.commands.values()]
    for command in found:
        if command not in inner:
            yield from _with_verbs(script, command)


def _with_verbs(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name, verb in command.commands.items():
            yield from _with_verbs(f"{words} {name}", verb)


def test_the_installed_scripts_are_the_documented_ones() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {name: f"{module}:main" for name, module in SCRIPTS.items()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_and_verb_has_help(script: str) -> None:
    found = dict(commands(script))
    assert found
    assert [words for words, command in found.items() if not (command.help or command.short_help)] == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_has_help(script: str) -> None:
    silent = [
        f"{words} {option.opts[0]}"
        for words, command in commands(script)
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_and_verb_is_documented(script: str) -> None:
    text = documentation()
    assert [words for words, _ in commands(script) if words not in text] == []


@pytest.mark.parametrize("script", ["label-images", "audit-labels"])
def test_every_option_of_the_main_commands_is_documented(script: str) -> None:
    text = documentation()
    missing = [
        f"{words} {option.opts[-1]}"
        for words, command in commands(script)
        for option in command.params
        if isinstance(option, click.Option)
        and not option.hidden
        and not any(f"`{name}" in text for name in option.opts)
    ]
    assert missing == []


def test_every_column_and_status_of_the_label_table_is_documented() -> None:
    text = documentation()
    names = [*table.schema(taxonomy.FAIRFACE.classes).names, *table.STATUSES]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_exit_code_is_documented() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    called_wrongly, interrupted = 2, 130
    codes = {*EXIT_CODES.values(), called_wrongly, interrupted}
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)] == sorted(codes)


def test_every_make_target_named_in_the_documents_exists() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    pages = documentation() + (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^ *)make ([a-z-]+)", pages, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_link_between_the_documents_leads_somewhere() -> None:
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md"), *(CHECKOUT / "models").rglob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_newest_version_in_the_change_log_is_this_one() -> None:
    log = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", log, flags=re.MULTILINE)
    assert versions[0] == importlib.import_module("labeler").__version__
