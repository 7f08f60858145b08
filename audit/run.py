"""Each command from files to files: the calls behind audit-labels report, sample, plan and diff."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from audit import drift, markdown, plan, report, result, sheet
from audit.files import check_outputs
from audit.records import Document
from audit.targets import UNIFORM
from audit.text import count, percent, plural
from labeler.errors import LabelerError

Path = str | os.PathLike[str]
STDOUT = "-"
"""Instead of a file's name: the caller prints the text."""


class ReportError(LabelerError):
    """A report was asked for in a way that cannot be met."""


def write(
    labels: Path,
    truth_file: Path | None,
    out: Path | None,
    json_out: Path | None,
    options: result.Options | None = None,
    *,
    checked: Sequence[Path] = (),
    models: Path | None = None,
    markdown_out: Path | None = None,
) -> Document:
    """Audit a label table and write the page, audit.json, the Markdown summary, or several of them.

    Returns
    -------
    dict
        The content of audit.json.

    Raises
    ------
    ReportError
        If there is nothing to write.
    LabelerError
        If an input cannot be read, an output's folder cannot be written, or a file would be written over another one
        of this call.
    """
    summary_file = None if markdown_out is None or os.fspath(markdown_out) == STDOUT else markdown_out
    outputs = {"--out": out, "--json": json_out, "--markdown": summary_file}
    if out is None and json_out is None and markdown_out is None:
        raise ReportError("nothing to write; give --out PAGE.html, --json AUDIT.json, --markdown FILE, or several")
    check_outputs(outputs, (labels, truth_file, *checked, _target_file(options)))
    document = result.audit_files(labels, truth_file, options, checked=checked, models=models)
    if json_out is not None:
        result.write_text(json_out, result.to_json(document))
    if out is not None:
        result.write_text(out, report.render(document))
    if summary_file is not None:
        result.write_text(summary_file, markdown.render(document))
    return document


def _target_file(options: result.Options | None) -> str | None:
    return None if options is None or options.target == UNIFORM else options.target


def summary(document: Mapping[str, Any]) -> list[str]:
    """Return an audit in lines: what was labelled, the verdict, and a warning where the store is unlike the evaluation.

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
    if store["checked"]:
        labelled += f"; {count(store['checked']['images'])} checked by people"
    lines = [labelled, f"{report.VERDICTS[verdict['result']]}: {' '.join(verdict['reasons'])}"]
    unlike = [record["attribute"] for record in document["domain"] if record["warning"]]
    if unlike:
        lines.append(f"Warning: by {', '.join(unlike)} this store does not look like the pack's evaluation data.")
    return lines


def sample(
    labels: Path,
    n: int,
    out: Path,
    *,
    by: str = "ethnicity",
    seed: int = 0,
    rare: bool = False,
    no_face: bool = False,
    grow: Path | None = None,
    confidence: float = 0.95,
) -> sheet.Sample:
    """Draw a sample and write its sheet; see `audit.sheet.draw`. A sheet may grow in place."""
    check_outputs({"--out": out}, (labels,))
    drawn = sheet.draw(labels, n, by=by, seed=seed, rare=rare, no_face=no_face, grow=grow, confidence=confidence)
    result.write_text(out, drawn.text)
    return drawn


def forecast_lines(drawn: sheet.Sample) -> list[str]:
    """Return what a sample will show: n, half-width of the widest class, and the margin that could still pass."""
    lines = [f"{plural(drawn.drawn, 'image')} to check, {count(drawn.new)} of them new."]
    for attribute, forecasts in drawn.forecasts.items():
        lines.append(f"{attribute}: images checked -> expected half-width, mean and widest class; smallest margin")
        lines += [
            f"  {count(f.n):>7} -> ± {percent(sum(f.half_widths) / len(f.half_widths))}, ± {percent(f.widest)}; "
            f"a pass needs a margin above {percent(f.widest)}"
            for f in forecasts
        ]
    return lines


def make_plan(
    labels: Path,
    target: str,
    out: Path | None,
    *,
    checked: Sequence[Path] = (),
    attributes: tuple[str, ...] = (),
    confidence: float = 0.95,
    seed: int = 0,
) -> plan.Plan:
    """Plan how a store reaches a target and write the subset and the weights; see `audit.plan.make`."""
    if out is not None:
        check_outputs({"--out": out}, (labels, target, *checked))
    made = plan.make(labels, target, checked=tuple(checked), attributes=attributes, confidence=confidence, seed=seed)
    if out is not None:
        plan.write(made, labels, out)
    return made


def diff(old: Path, new: Path, json_out: Path | None) -> Document:
    """Compare two audits, and write the comparison as JSON if asked to; see `audit.drift.compare`."""
    if json_out is not None:
        check_outputs({"--json": json_out}, (old, new))
    document = drift.compare(drift.read(old), drift.read(new))
    if json_out is not None:
        result.write_text(json_out, result.to_json(document))
    return document
