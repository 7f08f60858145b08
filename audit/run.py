"""Each command from files to files: the calls behind audit-labels report, sample, plan and diff."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from audit import croissant, datasheet, drift, history, history_page, markdown, plan, report, result, sheet, turnover
from audit.files import check_outputs
from audit.findings import checked_images
from audit.records import Document
from audit.sampling import ALL
from audit.text import count, percent, plural
from audit.wording import UNIFORM, VERDICTS
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
    thumbnails: int | None = None,
    store: Path | None = None,
    previous: Path | None = None,
    previous_labels: Path | None = None,
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
    if (thumbnails is None) != (store is None) or (thumbnails is not None and out is None):
        raise ReportError("pictures need all of --thumbnails N, --store FOLDER and --out PAGE.html, or none is given")
    if previous is None and previous_labels is not None:
        raise ReportError("--previous-labels goes with --previous, the audit.json of that table; give both")
    check_outputs(outputs, (labels, truth_file, *checked, _target_file(options), previous, previous_labels))
    document = result.audit_files(
        labels,
        truth_file,
        options,
        checked=checked,
        models=models,
        previous=previous,
        previous_labels=previous_labels,
    )
    if json_out is not None:
        result.write_text(json_out, result.to_json(document))
    if out is not None:
        pictures = None
        if thumbnails is not None and store is not None:
            # A call without pictures does without the libraries that decode them.
            from audit import thumbnails as faces

            pictures = faces.gather(labels, store, thumbnails, truth_file=truth_file, checked=checked)
        result.write_text(out, report.render(document, pictures))
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
        labelled += f"; {checked_images(store['checked'], '')} checked by people"
    lines = [labelled, f"{VERDICTS[verdict['result']]}: {' '.join(verdict['reasons'])}"]
    unlike = [f"confidence of {record['attribute']}" for record in document["domain"] if record["warning"]]
    unlike += [record["measure"].replace("_", " ") for record in document["looks"] if record["warning"]]
    if unlike:
        lines.append(f"Warning: by {', '.join(unlike)} this store does not look like the pack's evaluation data.")
    return lines


def sample(
    labels: Path,
    n: int,
    out: Path,
    *,
    by: str = ALL,
    seed: int = 0,
    rare: bool = False,
    no_face: bool = False,
    grow: Path | None = None,
    confidence: float = 0.95,
) -> sheet.Sample:
    """Draw a sample and write its sheet; see `audit.sheet.draw`. A sheet may grow in place, but no answer is lost."""
    check_outputs({"--out": out}, (labels,))
    sheet.check_nothing_lost(out, grow)
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


def diff(
    old: Path, new: Path, json_out: Path | None, *, old_labels: Path | None = None, new_labels: Path | None = None
) -> Document:
    """Compare two audits, and write the comparison as JSON if asked to; see `audit.drift.compare`.

    Raises
    ------
    LabelerError
        If an input cannot be read, or the label table of one audit is given without that of the other.
    """
    if json_out is not None:
        check_outputs({"--json": json_out}, (old, new, old_labels, new_labels))
    if (old_labels is None) != (new_labels is None):
        raise drift.DriftError("--old-labels and --new-labels go together; give both label tables or none")
    images = None if old_labels is None or new_labels is None else turnover.compare(old_labels, new_labels)
    document = drift.compare(drift.read(old), drift.read(new), turnover=images)
    if json_out is not None:
        result.write_text(json_out, result.to_json(document))
    return document


def write_history(folder: Path, out: Path) -> history.History:
    """Write the page over every audit.json in a folder; see `audit.history.read`."""
    check_outputs({"--out": out}, ())
    found = history.read(folder)
    result.write_text(out, history_page.render(found))
    return found


def write_datasheet(
    labels: Path,
    out: Path,
    options: result.Options | None = None,
    *,
    about_file: Path | None = None,
    croissant_out: Path | None = None,
    truth_file: Path | None = None,
    checked: Sequence[Path] = (),
    models: Path | None = None,
) -> list[str]:
    """Audit a label table and write its data sheet as Markdown, and as Croissant JSON-LD if asked to.

    Returns
    -------
    list of str
        What the data sheet speaks of and what it lacks, in lines.
    """
    inputs = (labels, about_file, truth_file, *checked, _target_file(options))
    check_outputs({"--out": out, "--croissant": croissant_out}, inputs)
    about = datasheet.read_about(about_file)
    document = result.audit_files(labels, truth_file, options, checked=checked, models=models)
    card = datasheet.find_card(document, models)
    result.write_text(out, datasheet.render(document, about, card))
    lines = datasheet.summary(document, about, card)
    if croissant_out is not None:
        result.write_text(croissant_out, result.to_json(croissant.describe(document, about, card)))
        missing = croissant.unsaid(about)
        if missing:
            lines.append(f"Croissant asks for these too, and they are left out: {', '.join(missing)}.")
    return lines
