"""Where a command may write: never over a file that it reads, never two outputs into one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from audit.text import shown
from labeler.errors import LabelerError
from labeler.table import check_output


class OutputError(LabelerError):
    """An output that would take the place of another file of the same call."""


def check_outputs(
    outputs: Mapping[str, str | os.PathLike[str] | None], inputs: Sequence[str | os.PathLike[str] | None]
) -> None:
    """Check that every output can be written and is no other file of the call.

    Parameters
    ----------
    outputs : mapping of str to path or None
        By the option that names them.
    inputs : sequence of path or None
        Files that are read.

    Raises
    ------
    OutputError, TableError
        Naming the option.
    """
    taken = {Path(path).resolve() for path in inputs if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        target = check_output(path, option).resolve()
        if target in taken:
            raise OutputError(f"{option} {shown(os.fspath(path))}: is another file of this call; name a new one")
        taken.add(target)
