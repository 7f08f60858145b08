"""From audit.json to one HTML page: a pure function of the document, with no script and nothing loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit import findings, pages, tables, views, wording
from audit.performance_views import performance
from audit.text import count, plural, shown


def render(document: Mapping[str, Any], pictures: Sequence[Any] | None = None) -> str:
    """Return the page: the same document gives the same bytes.

    Parameters
    ----------
    document : mapping
        The content of audit.json. Every name in it is taken as hostile.
    pictures : sequence of audit.thumbnails.Panel, optional
        Faces to show; without them the page holds no picture.
    """
    environment = pages.environment()
    environment.filters |= {"clip": wording.clip, "interval": wording.interval, "number": wording.number}
    sheets = ["report.css"] if pictures is None else ["report.css", "thumbnails.css"]
    marks = tables.marks(document)
    places = tables.places(document)
    return environment.get_template("report.html.j2").render(
        d=document,
        **pages.style(*sheets),
        confidence=wording.confidence(document),
        mark=lambda record: marks.get((record["status"], record["reason"])),
        marks=[(letter, wording.STANDINGS.get(status), reason) for (status, reason), letter in marks.items()],
        place=lambda record: places.get(id(record)),
        standings=wording.STANDINGS,
        grades=wording.GRADES,
        outcomes=wording.OUTCOMES,
        opening=findings.opening(document),
        verdict=views.verdict(document),
        coverage=views.coverage(document),
        strip=views.outcome_strip(document),
        outcome_table=tables.outcomes(document, wording.OUTCOMES),
        missing=tables.missing(document),
        shares=views.shares(document),
        grade_sentence=_grade_sentence(document),
        likeness=views.likeness(document),
        domain_sentence=_domain_sentence(document),
        repeats=views.repeats(document),
        repeat_sentence=_repeat_sentence(document),
        intersections=views.intersections(document),
        performance=performance(document),
        truth_sentence=_truth_sentence(document),
        collection=views.collection(document),
        annotators=views.annotators(document),
        change=views.change(document),
        provenance=_provenance(document),
        pictures=pictures,
    )


def _truth_sentence(document: Mapping[str, Any]) -> str:
    truth = document["store"]["truth"]
    if truth is None:
        return _basis_sentence(document)
    text = f"The truth file {shown(truth['file'])} speaks of {plural(truth['images'], 'image')}"
    missing = truth["images"] - truth["labelled"]
    text += "." if missing == 0 else f"; {count(truth['labelled'])} of them carry labels and are counted here."
    text += " Each image counts with its weight." if truth["weighted"] else ""
    return text + (" Images of one person are drawn together." if truth["persons"] is not None else "")


def _basis_sentence(document: Mapping[str, Any]) -> str:
    if not document["performance"]:
        return ""
    if document["store"]["checked"] is not None:
        return "Truth is what people saw on the checked sheet; each image counts with its weight."
    return (
        f"No truth is known of this store. These figures are of {shown(document['performance'][0]['basis'])}; "
        "they hold here only if the classifier errs here as it did there."
    )


def _grade_sentence(document: Mapping[str, Any]) -> str:
    grades = {record["grade"] for record in document["shares"]}
    parts = []
    guessed = findings.guessed(document)
    if len(guessed) < len(wording.ATTRIBUTES):
        rest = f", but for {findings.listed(guessed)}" if guessed else ""
        parts.append(
            f"The charts show verified shares{rest}: a random sample of this store, checked by people, corrects the "
            "labels."
        )
    if "model" in grades:
        parts.append(
            "Model-based shares hold only if the classifier errs here as it did on its evaluation data; the two "
            "methods are shown side by side, and where they disagree neither should be trusted."
        )
    parts += [f"Model-based shares are missing: {reason}." for reason in document["store"]["no_model_shares"]]
    start = "Uncorrected shares count" if grades > {"raw"} else "These shares are uncorrected: they count"
    parts.append(
        f"{start} what the classifier guessed; their whiskers show the play of chance alone, at "
        f"{wording.confidence(document)} confidence, and do not hold its errors."
    )
    return " ".join(parts)


def _domain_sentence(document: Mapping[str, Any]) -> str:
    unlike = [
        f"confidence in {wording.ATTRIBUTES[record['attribute']].lower()}"
        for record in document["domain"]
        if record["warning"]
    ]
    unlike += [wording.LOOKS[record["measure"]].lower() for record in document["looks"] if record["warning"]]
    known = {record["measure"] for record in document["looks"]}
    unknown = [text.lower() for name, text in wording.LOOKS.items() if name not in known]
    what = f"Not compared, since it is not known of both: {', '.join(unknown)}." if unknown else ""
    compared = ", ".join(["the classifier’s confidence", *(wording.LOOKS[name].lower() for name in sorted(known))])
    if not unlike:
        return f"By {compared} it is. {what}".strip()
    return (
        f"Warning: by {', '.join(unlike)} the store does not look like the evaluation data, so the model-based shares "
        f"mean little here. {what}"
    ).strip()


def _repeat_sentence(document: Mapping[str, Any]) -> str:
    found = document["store"]["near_duplicates"]
    if not found["images"]:
        return "No image has a near-duplicate."
    return f"{plural(found['images'], 'image')} have a near-duplicate; without repeats {count(found['surplus'])} fewer."


def _provenance(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    tool, pack, options = document["tool"], document["pack"], document["options"]
    settings = shown(", ".join(f"{key} {value}" for key, value in pack["options"].items())) or "none"
    rows = [
        ("Audited with", shown(f"{tool['name']} {tool['version']}")),
        (
            "Labelled with",
            shown(f"{tool['name']} {pack['tool_version']}, preprocessing {pack['preprocessing_version']}"),
        ),
        ("Model pack", shown(f"{pack['name']} {pack['version']}")),
        ("Pack digest", shown(pack["digest"])),
        ("Options of labelling", settings),
        ("Confidence", wording.confidence(document)),
        ("Smallest group shown", plural(options["min_cell"], "image")),
        ("Bootstrap", f"{count(options['replicates'])} resamples, seed {options['seed']}"),
    ]
    titles = {"labels": "Label table", "truth": "Truth file", "target": "Target"}
    for name, source in document["provenance"].items():
        title = titles.get(name, name.capitalize().replace("Checked", "Checked sheet"))
        rows += [(title, shown(source["file"])), (f"{title}, SHA-256", shown(source["sha256"]))]
    return rows
