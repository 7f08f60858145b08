"""The tutorial: every command of it runs in an empty folder and prints what is shown below it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.checkout import CHECKOUT

TUTORIAL = CHECKOUT / "docs" / "tutorial.md"
SCRIPTS = {"label-images": "labeler.cli", "audit-labels": "audit.cli"}
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
    """Return what an output has to match: the same words, any numbers, anything where the page has an ellipsis."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.sub(r"\d[\d.,]*", r"[\\d.,]+", re.escape(line)) + r"\n"
        for line in shown.splitlines()
    ]
    return re.compile("".join(lines))


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
        assert pattern(shown).fullmatch(printed.replace("\N{NO-BREAK SPACE}", " ")), (commands, printed)
