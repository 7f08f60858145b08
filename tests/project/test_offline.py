"""Nothing leaves the machine: the library that runs the networks is told not to report what it is used for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.project.checkout import CHECKOUT


def test_no_network_is_loaded_without_the_word_that_nothing_is_reported(tmp_path: Path) -> None:
    # Under a continuous integration the library keeps silent of itself.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    code = "import os; from labeler.faces import Networks; Networks.load(); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    assert done.stderr == ""
    assert list(tmp_path.rglob("*")) == []
