"""The tutorial: every command of it runs in an empty folder and prints what is shown below it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.project.checkout import CHECKOUT

TUTORIAL = CHECKOUT / "docs" / "tutorial.md"
SCRIPTS = {"label-images": "labeler.cli", "audit-labels": "audit.cli"}
NUMBER = re.compile(r"\d[\d.,]*( images per second)?")
FENCE = re.compile(r"(<!-- not run by the test -->\n)?```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def shell(command: str) -> str:
    """Return a command line with this checkout's own scripts in the place of the installed ones."""
    words = shlex.split(command)
    python = shlex.quote(sys.executable)
    if words[0] in SCRIPTS:
        module = SCRIPTS[words[0]]
        call = f"{python} -c 'from {module} import main; main(prog_name=\"{words[0]}\")'"
        return call + command.removeprefix(words[0])
    if words[0] == "python":
        return command.replace("python docs/", f"{python} {shlex.quote(str(CHECKOUT))}/docs/", 1)
    return command


def pattern(shown: str) -> re.Pattern[str]:
    """Return what an output has to match: the same words, a group for each number, anything for an ellipsis."""
    lines = []
    for line in shown.splitlines():
        if line == "…":
            lines.append(r"(?:.*\n)*?")
            continue
        words = [re.escape(part) for part in NUMBER.split(line)[::2]]
        speeds = NUMBER.findall(line)
        groups = [rf"\d[\d.,]*{speed}" if speed else r"(\d[\d.,]*)" for speed in speeds]
        lines.append("".join(part for pair in zip(words, [*groups, r"\n"], strict=True) for part in pair))
    return re.compile("".join(lines))


def alike(shown: str, printed: str) -> bool:
    """Return whether an output says what is shown; another machine's classifiers may move a number a little."""
    expected, found = (pattern(shown).fullmatch(text) for text in (shown.replace("…\n", ""), printed))
    if expected is None or found is None:
        return False
    pairs = zip(expected.groups(), found.groups(), strict=True)
    numbers = [tuple(float(number.rstrip(".,").replace(",", "")) for number in pair) for pair in pairs]
    return all(abs(a - b) <= max(1, 0.05 * a) for a, b in numbers)


@pytest.mark.parametrize(
    ("printed", "as_shown"),
    [("70 faces at 9 images per second\n-> a.csv\n", True), ("60 faces at 7 images per second\n-> a.csv\n", False)],
)
def test_a_number_that_moved_far_is_not_what_the_tutorial_shows(printed: str, as_shown: bool) -> None:
    assert alike("71 faces at 7 images per second\n…\n-> a.csv\n", printed) is as_shown


def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the store is made from scikit-image's pictures: extra [demo]")
    blocks = [
        (commands, shown)
        for skipped, commands, shown in FENCE.findall(TUTORIAL.read_text(encoding="utf-8"))
        if not skipped
    ]
    assert len(blocks) >= 10
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore"}
    for commands, shown in blocks:
        printed = ""
        for command in commands.splitlines():
            done = subprocess.run(
                ["bash", "-c", shell(command)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                encoding="utf-8",
            )
            assert done.returncode == ("\nFail:" in done.stdout), (command, done.stdout, done.stderr)
            printed += done.stdout
        assert alike(shown, printed.replace("\N{NO-BREAK SPACE}", " ")), (commands, printed)
    groups = pq.read_table(tmp_path / "labels.parquet", columns=["age_group"]).column(0).to_pylist()
    # What the tutorial says in words.
    assert "30-39" not in groups
