"""An audit as a short Markdown text for a pull request or a chat: verdict, what is short, shares, what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from audit.findings import (
    best_grade,
    checked_images,
    guessed,
    listed,
    next_step,
    short_sentence,
    shortfalls,
    with_interval,
)
from audit.text import count, percent, plural, shown
from audit.wording import ATTRIBUTES, GRADES, VERDICTS, confidence, interval, label

Record = Mapping[str, Any]

SPECIAL = re.compile(
    r"""
    (?P<markup> [\\`*_\[\]<>|~&$] )    # markup of Markdown or HTML, or a formula
    | (?P<host> [@\#] | :(?=\S) | www )  # a mention, a reference to an issue, a link, an emoji
    | (?P<start> ^(?: [-+=] | \d+[.)] ) ) # a list or a heading
    """,
    re.VERBOSE,
)
BREAK = "&#8288;"
"""A word joiner, which has no shape: it keeps a host from making something of the characters around it."""
NAMED = 5
"""Short classes of an attribute that are named."""


def render(document: Mapping[str, Any]) -> str:
    """Return an audit as Markdown: the same document gives the same bytes.

    Parameters
    ----------
    document : mapping
        The content of audit.json. Every name in it is taken as hostile.
    """
    store, verdict = document["store"], document["verdict"]
    labelled = f"{plural(store['files'], 'image file')}, {count(store['labelled'])} of them labelled."
    parts = [
        f"## Audit of {escaped(store['name'])}: {VERDICTS[verdict['result']].lower()}",
        "\n".join(escaped(reason) for reason in verdict["reasons"]),
        f"{labelled} {_basis(document)}",
        "### What is short",
        "\n".join(_short(document)),
    ]
    parts += ["\n".join(share_table(document, attribute)) for attribute in ATTRIBUTES]
    advice, command = next_step(document)
    parts += ["### What next", escaped(advice), f"```sh\n{command}\n```", _footer(document)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    r"""Return a text that Markdown shows as it is: no markup, no mention, no reference, no link, one line.

    Examples
    --------
    >>> print(escaped("Latino_Hispanic"), escaped("<b>"), escaped("@all"))
    Latino&#95;Hispanic &#60;b&#62; &#64;&#8288;all
    """
    return SPECIAL.sub(_reference, shown(text.replace("\N{NO-BREAK SPACE}", " ")))


def _reference(match: re.Match[str]) -> str:
    found = match.group()
    if match.lastgroup == "markup":
        return f"&#{ord(found)};"
    if match.lastgroup == "start":
        return BREAK + found
    return f"&#{ord(found[0])};{BREAK}{found[1:]}"


def share_table(document: Mapping[str, Any], attribute: str) -> list[str]:
    """Return the table of an attribute's shares in the best grade there is, as lines of Markdown."""
    records = best_grade([record for record in document["shares"] if record["attribute"] == attribute])
    head = [
        ATTRIBUTES[attribute],
        "Share",
        f"{confidence(document)} interval",
        "Target",
        "Grade",
    ]
    rows = [
        [
            escaped(label(record["class"])),
            percent(record["value"]) if record["status"] == "ok" else record["status"],
            interval(record, "share") if record["status"] == "ok" else escaped(record["reason"] or ""),
            percent(record["target"]),
            GRADES[record["grade"]],
        ]
        for record in records
    ]
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---", "---:", "---", "---:", "---"], *rows)]


def _basis(document: Mapping[str, Any]) -> str:
    names = guessed(document)
    if len(names) == len(ATTRIBUTES):
        return "The shares are uncorrected: they count a classifier’s guesses."
    images = checked_images(document["store"]["checked"])
    if not names:
        return f"The shares are verified: they rest on {images} that people checked."
    return f"The shares rest on {images} that people checked; those of {listed(names)} are a classifier’s guesses."


def _short(document: Mapping[str, Any]) -> list[str]:
    if document["store"]["labelled"] == 0:
        return ["Nothing can be said of a store without labels."]
    lines = []
    for attribute in document["options"]["judged"]:
        short = shortfalls(document, attribute)
        lines += [f"- {escaped(_shortage(*pair))}" for pair in short[:NAMED]]
        if len(short) > NAMED:
            lines.append(f"- {ATTRIBUTES[attribute]}: {count(len(short) - NAMED)} more, see the table.")
    return lines or ["No class lies below its target by more than chance would do."]


def _shortage(record: Record, planned: Record | None) -> str:
    sentence = short_sentence(record, planned)
    if planned is None or planned["needed"] == 0:
        return sentence
    return f"{sentence[:-1]}: {with_interval(record)} where {percent(record['target'])} are wanted."


def _footer(document: Mapping[str, Any]) -> str:
    tool, pack = document["tool"], document["pack"]
    made = f"{tool['name']} {tool['version']}, pack {pack['name']} {pack['version']} ({pack['digest'][:12]})"
    return f"*Perceived labels, for judging a data set, never a person. {escaped(made)}*"
