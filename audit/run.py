"""One audit from files to files: the call behind audit-labels report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit import report, result
from audit.text import count, plural
from labeler.errors import LabelerError
from labeler.table import check_output


class ReportError(LabelerError):
    """A report was asked for in a way that cannot be met."""


def write(
    labels: str | os.PathLike[str],
    truth_file: str | os.PathLike[str] | None,
    out: str | os.PathLike[str] | None,
    json_out: str | os.PathLike[str] | None,
    options: result.Options | None = None,
) -> result.Document:
    """Audit a label table and write the page, audit.json, or both.

    Returns
    -------
    dict
        The content of audit.json.

    Raises
    ------
    ReportError
        If there is nothing to write, or a file would be written over another one of this call.
    TableError, TruthError
        If an input cannot be read or an output's folder cannot be written.
    """
    outputs = {"--out": out, "--json": json_out}
    if out is None and json_out is None:
        raise ReportError("nothing to write; give --out PAGE.html, --json AUDIT.json, or both")
    taken = {Path(path).resolve() for path in (labels, truth_file) if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        target = check_output(path, option).resolve()
        if target in taken:
            raise ReportError(f"{option} {os.fspath(path)}: is another file of this call; name a new one")
        taken.add(target)
    document = result.audit_files(labels, truth_file, options)
    if json_out is not None:
        result.write_text(json_out, result.to_json(document))
    if out is not None:
        result.write_text(out, report.render(document))
    return document


def summary(document: Mapping[str, Any]) -> list[str]:
    """Return an audit in two lines: what was labelled, and the verdict.

    Parameters
    ----------
    document : mapping
        The content of audit.json.
    """
    store, verdict = document["store"], document["verdict"]
    labelled = (
        f"{plural(store['files'], 'file')}: {count(store['labelled'])} labelled, {count(store['not_labelled'])} not"
    )
    if store["truth"]:
        labelled += f"; truth is known for {count(store['truth']['labelled'])}"
    return [labelled, f"{report.VERDICTS[verdict['result']]}: {' '.join(verdict['reasons'])}"]
