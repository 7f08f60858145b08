"""From audit.json to one HTML page: a pure function of the document, with no script and nothing loaded."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup

from audit import views
from audit.text import count, plural, shown
from audit.views import GRADES, number
from labeler.pack import resource_folder

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "ok": "labelled",
        "no_face": "no face found",
        "unreadable": "could not be read",
        "corrupt": "damaged",
        "too_large": "too large",
        "unsupported": "format not supported",
        "crashed": "decoder crashed",
    }
)
"""How the page says what became of a file."""

VERDICTS: Mapping[str, str] = MappingProxyType(
    {"pass": "Pass", "fail": "Fail", "inconclusive": "Inconclusive", "none": "No verdict"}
)


def render(document: Mapping[str, Any]) -> str:
    """Return the page: the same document gives the same bytes.

    Parameters
    ----------
    document : mapping
        The content of audit.json. Every name in it is taken as hostile.
    """
    folder = resource_folder("templates")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters |= {
        "clip": views.clip,
        "count": count,
        "interval": views.interval,
        "label": views.label,
        "number": number,
        "shown": shown,
    }
    style = (folder / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        d=document,
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        confidence=views.confidence(document),
        annotators=views.annotators(document),
        collection=views.collection(document),
        coverage=_coverage(document),
        domain_sentence=_domain_sentence(document),
        grade_sentence=_grade_sentence(document),
        intersections=views.intersections(document),
        likeness=views.likeness(document),
        missing=views.missing(document),
        next_sentence=_next_sentence(document),
        repeats=views.repeats(document),
        repeat_sentence=_repeat_sentence(document),
        forms=views.FORMS,
        grades=GRADES,
        names=views.NAMES,
        opening=_opening(document),
        outcomes=OUTCOMES,
        performance=views.performance(document),
        provenance=_provenance(document),
        shares=views.shares(document),
        truth_sentence=_truth_sentence(document),
        verdict_title=VERDICTS[document["verdict"]["result"]],
    )


def _opening(document: Mapping[str, Any]) -> str:
    store, pack = document["store"], document["pack"]
    return (
        f"{plural(store['files'], 'image file')}, {count(store['labelled'])} of them labelled with perceived age, "
        f"gender and ethnicity by the model pack {shown(pack['name'])} {shown(pack['version'])}."
    )


def _coverage(document: Mapping[str, Any]) -> str:
    store = document["store"]
    if store["files"] == 0:
        return "The label table holds no file, so there is nothing to say of this store."
    if store["not_labelled"] == 0:
        return f"Each of the {plural(store['files'], 'file')} was labelled."
    missed = max(
        (r for r in document["missingness"] if not r["group"] and r["outcome"] != "ok"),
        key=lambda record: int(record["count"]),
    )
    return (
        f"{count(store['labelled'])} of {plural(store['files'], 'file')} were labelled; {count(store['not_labelled'])} "
        f"were not, most often because: {OUTCOMES[missed['outcome']]} ({count(missed['count'])}). "
        "The shares below speak of the labelled images only."
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
    if "verified" in grades:
        parts.append(
            "The charts show verified shares: a random sample of this store, checked by people, corrects the labels."
        )
    if "model" in grades:
        parts.append(
            "Model-based shares hold only if the classifier errs here as it did on its evaluation data; the two "
            "methods are shown side by side, and where they disagree neither should be trusted."
        )
    start = "Uncorrected shares count" if parts else "These shares are uncorrected: they count"
    parts.append(
        f"{start} what the classifier guessed; their whiskers show the play of chance alone, at "
        f"{views.confidence(document)} confidence, and do not hold its errors."
    )
    return " ".join(parts)


def _domain_sentence(document: Mapping[str, Any]) -> str:
    unlike = [views.ATTRIBUTES[record["attribute"]].lower() for record in document["domain"] if record["warning"]]
    what = (
        "Only the classifier’s confidence is compared; sharpness, contrast and size of the faces are not known of the "
        "evaluation data."
    )
    if not unlike:
        return f"By the classifier’s confidence it is. {what}"
    return (
        f"Warning: by {', '.join(unlike)} the store does not look like the evaluation data, so the model-based shares "
        f"mean little here. {what}"
    )


def _repeat_sentence(document: Mapping[str, Any]) -> str:
    found = document["store"]["near_duplicates"]
    if not found["images"]:
        return "No image has a near-duplicate."
    return f"{plural(found['images'], 'image')} have a near-duplicate; without repeats {count(found['surplus'])} fewer."


def _next_sentence(document: Mapping[str, Any]) -> str:
    store = document["store"]
    if store["labelled"] == 0:
        return "Nothing can be planned, since no image is labelled."
    if store["checked"] is None:
        return (
            "Draw a random sample with audit-labels sample, let people check it, and give it back with --checked: only "
            "then do shares hold, and only then can there be a verdict."
        )
    return "To narrow the intervals, let audit-labels sample --grow add images to the sheet and check those too."


def _provenance(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    tool, pack, options = document["tool"], document["pack"], document["options"]
    settings = ", ".join(f"{key} {value}" for key, value in pack["options"].items()) or "none"
    rows = [
        ("Audited with", f"{tool['name']} {tool['version']}"),
        ("Labelled with", f"{tool['name']} {pack['tool_version']}, preprocessing {pack['preprocessing_version']}"),
        ("Model pack", f"{pack['name']} {pack['version']}"),
        ("Pack digest", pack["digest"]),
        ("Options of labelling", settings),
        ("Confidence", views.confidence(document)),
        ("Smallest group shown", plural(options["min_cell"], "image")),
        ("Bootstrap", f"{count(options['replicates'])} resamples, seed {options['seed']}"),
    ]
    titles = {"labels": "Label table", "truth": "Truth file", "target": "Target"}
    for name, source in document["provenance"].items():
        title = titles.get(name, name.capitalize().replace("Checked", "Checked sheet"))
        rows += [(title, source["file"]), (f"{title}, SHA-256", source["sha256"])]
    return rows
