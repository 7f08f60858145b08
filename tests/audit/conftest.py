"""What the tests of the audit share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.tables import HOSTILE, Made, make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a table of 600 labelled images and a few failed ones, with truth for all labelled ones."""
    folder: Path = tmp_path_factory.mktemp("made")
    return make(folder, failures=HOSTILE)
