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
        coverage=_coverage(document),
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
    missed = max((r for r in document["missingness"] if r["outcome"] != "ok"), key=lambda record: int(record["count"]))
    return (
        f"{count(store['labelled'])} of {plural(store['files'], 'file')} were labelled; {count(store['not_labelled'])} "
        f"were not, most often because: {OUTCOMES[missed['outcome']]} ({count(missed['count'])}). "
        "The shares below speak of the labelled images only."
    )


def _truth_sentence(document: Mapping[str, Any]) -> str:
    truth = document["store"]["truth"]
    if truth is None:
        return ""
    text = f"The truth file {shown(truth['file'])} speaks of {plural(truth['images'], 'image')}"
    missing = truth["images"] - truth["labelled"]
    text += "." if missing == 0 else f"; {count(truth['labelled'])} of them carry labels and are counted here."
    return text + (" Its weights are not used: each image counts once." if truth["weighted"] else "")


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
    titles = {"labels": "Label table", "truth": "Truth file"}
    for name, source in document["provenance"].items():
        rows += [(titles[name], source["file"]), (f"{titles[name]}, SHA-256", source["sha256"])]
    return rows
