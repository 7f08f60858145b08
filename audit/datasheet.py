"""A data sheet of a store: what the audit knows under the usual headings, and what only the owner can say."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from audit import findings, pages
from audit.markdown import escaped, share_table
from audit.text import count, plural, shown
from audit.wording import ATTRIBUTES, GRADES, OUTCOMES, VERDICTS, confidence, interval, label
from labeler.errors import LabelerError, PackError
from labeler.pack import Manifest, models_folder, read_manifest

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "name": "what the data set is called; else the store's name",
        "description": "what it is, in a paragraph",
        "version": "its version, such as 1.0.0",
        "licence": "its licence, as an address or an SPDX identifier",
        "url": "the address of its own page",
        "creator": "the person or organisation that made it",
        "published": "the day it was published, such as 2026-11-22",
        "citation": "how to cite it, best as BibTeX",
        "contact": "who answers questions",
        "motivation": "why it was made, by whom and with whose money",
        "collection": "how and from where the pictures came, who chose them, and who is in them",
        "timeframe": "from when to when they were collected, such as 2025-01-01/2025-06-30",
        "consent": "what the people shown were told and agreed to, and how they can withdraw",
        "preprocessing": "what was done to the pictures before they were labelled",
        "uses": "what it has been and may be used for, and what not",
        "impact": "what its use may do to people",
        "distribution": "who gets it, how, and under which terms",
        "maintenance": "who keeps it, how it is corrected, and how long",
    }
)
"""What only the owner can say; a TOML file with these keys says it."""


class DatasheetError(LabelerError):
    """A file about a data set that cannot be used."""


@dataclass(frozen=True)
class Card:
    """The model card of the pack that labelled the store.

    Parameters
    ----------
    manifest : Manifest
        What the pack says of itself.
    text : str
        Its ``CARD.md``; empty where it has none.
    """

    manifest: Manifest
    text: str

    @property
    def data(self) -> list[str]:
        """What the pack was trained on: names and licences."""
        training = self.manifest.document.get("training") or {}
        return [f"{entry['name']} ({entry['licence']})" for entry in training.get("data") or []]


def read_about(path: str | os.PathLike[str] | None) -> dict[str, str]:
    """Read what the owner says of the data set.

    Parameters
    ----------
    path : path, optional
        A TOML file with some of the keys of `ABOUT`, each a text. Without one, the owner says nothing.

    Raises
    ------
    DatasheetError
        If it is missing, not TOML, or has a key or a value that means nothing here.
    """
    if path is None:
        return {}
    name = f"--about {shown(os.fspath(path))}"
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasheetError(f"{name}: cannot be read ({error.strerror}); give a TOML file") from error
    except ValueError as error:
        raise DatasheetError(f"{name}: is not TOML ({shown(str(error))}); write lines such as licence = '…'") from error
    for key, value in found.items():
        if key not in ABOUT:
            raise DatasheetError(f"{name}: {shown(key)} is no key of it; use some of {', '.join(ABOUT)}")
        if not isinstance(value, str) or not value.strip():
            raise DatasheetError(f"{name}: {key} is not a text; write it between quotes, or leave it out")
    return {key: value.strip() for key, value in found.items()}


def find_card(document: Mapping[str, Any], models: str | os.PathLike[str] | None = None) -> Card | None:
    """Return the model card of the pack that labelled a store, or None where that pack is not at hand.

    Parameters
    ----------
    document : mapping
        The content of audit.json.
    models : path, optional
        The pack's folder; without it, the pack of that name that comes with the package.
    """
    name = document["pack"]["name"]
    if models is None and Path(name).name != name:
        return None
    try:
        manifest = read_manifest(models_folder() / name if models is None else models)
    except PackError:
        return None
    if manifest.digest != document["pack"]["digest"]:
        return None
    try:
        text = (manifest.folder / "CARD.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    return Card(manifest, text)


def render(document: Mapping[str, Any], about: Mapping[str, str], card: Card | None) -> str:
    """Return the data sheet as Markdown, under the headings of Gebru et al. 2021, "Datasheets for Datasets".

    Parameters
    ----------
    document : mapping
        The content of audit.json. Every name in it is taken as hostile.
    about : mapping
        As `read_about` gives it; its texts are the owner's own Markdown.
    card : Card or None
        As `find_card` gives it.
    """
    known = statements(document, card)
    return (
        pages.environment(html=False)
        .get_template("datasheet.md.j2")
        .render(
            d=document,
            about=about,
            meanings=ABOUT,
            known={key: [escaped(text) for text in texts] for key, texts in known.items()},
            name=about.get("name") or escaped(document["store"]["name"]),
            tables=["\n".join(share_table(document, attribute)) for attribute in ATTRIBUTES],
            verdict=VERDICTS[document["verdict"]["result"]],
            reasons=[escaped(reason) for reason in document["verdict"]["reasons"]],
            card=None if card is None else _embedded(card),
            pack=escaped(f"{document['pack']['name']} {document['pack']['version']}"),
            made=escaped(f"{document['tool']['name']} {document['tool']['version']}"),
            sources=[(escaped(source["file"]), source["sha256"]) for source in document["provenance"].values()],
            escaped=escaped,
        )
    )


def _embedded(card: Card) -> str:
    """Return a model card two headings deeper, with no HTML in it."""
    lines = card.text.replace("<", "&lt;").splitlines()
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in lines).strip()


def statements(document: Mapping[str, Any], card: Card | None) -> dict[str, list[str]]:
    """Return what the audit knows, in sentences, by the topics that the data sheet and its JSON-LD share.

    Parameters
    ----------
    document : mapping
        The content of audit.json.
    card : Card or None
        As `find_card` gives it.
    """
    return {
        "instances": _instances(document),
        "missing": _missing(document),
        "labels": _labels(document),
        "people": _people(document),
        "agreement": _agreement(document),
        "tools": _tools(document, card),
        "preprocessing": _preprocessing(document),
        "shares": _shares(document),
        "balance": _balance(document),
        "repeats": _repeats(document),
        "errors": _errors(document),
        "limits": _limits(document),
        "uses": [
            (
                "Describing how perceived age, gender and ethnicity are spread over the whole store, and choosing, "
                "weighting or collecting pictures so that they are spread as wanted."
            ),
            "Not for telling who anybody is, not for a decision about a single person, not for surveillance.",
        ],
        "sensitive": ["Pictures of faces", "Perceived age", "Perceived gender", "Perceived ethnicity"],
    }


def _instances(document: Mapping[str, Any]) -> list[str]:
    store = document["store"]
    found = f"{count(store['labelled'])} of them show a face that was found and labelled, the largest of each picture"
    return [f"{plural(store['files'], 'image file')} in the store {shown(store['name'])}; {found}."]


def _missing(document: Mapping[str, Any]) -> list[str]:
    counted = [
        f"{OUTCOMES[record['outcome']]} {count(record['count'])}"
        for record in document["missingness"]
        if not record["group"] and record["outcome"] != "ok" and record["count"]
    ]
    if not counted:
        return ["Each file was labelled."]
    return [f"{plural(document['store']['not_labelled'], 'file')} without labels: {', '.join(counted)}."]


def _labels(document: Mapping[str, Any]) -> list[str]:
    classes = document["pack"]["classes"]
    whose = (
        "Age group, gender and ethnicity of each face as a classifier perceives them, with every class’s probability"
    )
    return [
        f"{whose}: a view of a picture, not what a person is.",
        *(f"{ATTRIBUTES[name]}: {', '.join(label(cls) for cls in classes[name])}." for name in ATTRIBUTES),
    ]


def _people(document: Mapping[str, Any]) -> list[str]:
    checked, truth = document["store"]["checked"], document["store"]["truth"]
    known = []
    if checked is not None:
        answered = ", ".join(f"{name} {count(checked['answered'][name])}" for name in ATTRIBUTES)
        known.append(
            f"People checked {findings.checked_images(checked)} of a random sample of this store without seeing the "
            f"predictions; answered: {answered}."
        )
    if truth is not None:
        known.append(f"Labels by other means are known of {plural(truth['labelled'], 'labelled image')}.")
    return known or ["No person has checked a label of this store."]


def _agreement(document: Mapping[str, Any]) -> list[str]:
    return [
        f"{ATTRIBUTES[record['attribute']]}: two annotators agree on {plural(record['n'], 'image')} with Cohen’s κ "
        f"{'not defined' if record['kappa'] is None else format(record['kappa'], '.3f')}; "
        f"{plural(len(record['disagreements']), 'image')} undecided."
        for record in document["agreement"]
    ]


def _tools(document: Mapping[str, Any], card: Card | None) -> list[str]:
    tool, pack = document["tool"], document["pack"]
    found = [
        f"{tool['name']} {pack['tool_version']}",
        f"model pack {shown(pack['name'])} {shown(pack['version'])}, digest {pack['digest']}",
    ]
    if card is not None:
        found[1] += f", licence {shown(card.manifest.licence)}"
        found += [f"trained on {shown(data)}" for data in card.data]
    return found


def _preprocessing(document: Mapping[str, Any]) -> list[str]:
    pack = document["pack"]
    options = ", ".join(f"{shown(key)} {shown(value)}" for key, value in pack["options"].items()) or "none"
    return [
        "For labelling, each picture was decoded upright, and its largest face found and cut to what the pack takes.",
        f"Preprocessing {shown(pack['preprocessing_version'])}; options: {options}. The pictures are unchanged.",
    ]


def _shares(document: Mapping[str, Any]) -> list[str]:
    known = []
    for attribute, name in ATTRIBUTES.items():
        records = findings.best_grade([record for record in document["shares"] if record["attribute"] == attribute])
        shares = [
            findings.with_name(record) if record["status"] == "ok" else f"{label(record['class'])}: {record['status']}"
            for record in records
        ]
        grade = GRADES[records[0]["grade"]]
        known.append(f"{name}, {grade} with {confidence(document)} intervals: {'; '.join(shares)}.")
    return known


def _balance(document: Mapping[str, Any]) -> list[str]:
    """Say which classes are short, and how many times the most frequent one outnumbers the rarest."""
    known = []
    for attribute, name in ATTRIBUTES.items():
        known += [findings.short_sentence(*pair) for pair in findings.shortfalls(document, attribute)]
        ratios = {
            record["grade"]: record
            for record in document["balance"]
            if (record["attribute"], record["statistic"], record["status"]) == (attribute, "imbalance_ratio", "ok")
        }
        record = ratios.get("verified") or ratios.get("raw")
        if record is not None:
            known.append(f"{name}: imbalance ratio {interval(record, 'ratio')}, {GRADES[record['grade']]}.")
    return known


def _repeats(document: Mapping[str, Any]) -> list[str]:
    found = document["store"]["near_duplicates"]
    if not found["images"]:
        return ["No image has a near-duplicate."]
    without = f"without repeats there would be {count(found['surplus'])} fewer"
    return [f"{plural(found['images'], 'image')} have a near-duplicate; {without}."]


def _errors(document: Mapping[str, Any]) -> list[str]:
    """Say how often the labels are right, overall and where least."""
    known = []
    for attribute, name in ATTRIBUTES.items():
        records = [
            record
            for record in document["performance"]
            if record["attribute"] == attribute and record["metric"] == "accuracy" and record["class"] is None
        ]
        overall = [record for record in records if not record["group"] and record["status"] == "ok"]
        groups = [record for record in records if len(record["group"]) == 1 and record["status"] == "ok"]
        for record in overall:
            text = f"{name}: right for {findings.with_interval(record)}, measured on {shown(record['basis'])}"
            if groups:
                worst = min(groups, key=lambda group: float(group["value"]))
                ((by, value),) = worst["group"].items()
                text += f"; least often for {by} {label(value)}, {findings.with_interval(worst)}"
            known.append(f"{text}.")
    return known or ["How often the labels are right is not known of this store."]


def _limits(document: Mapping[str, Any]) -> list[str]:
    verdict = document["verdict"]
    reasons = " ".join(shown(reason.replace("\N{NO-BREAK SPACE}", " ")) for reason in verdict["reasons"])
    known = [f"Verdict: {VERDICTS[verdict['result']].lower()}. {reasons}"]
    if verdict["basis"] != "verified":
        known.append("Uncorrected shares count a classifier’s guesses; its errors are not in their intervals.")
    known.append(
        "The classes are those of a data set; they do not cover how people describe themselves. One face a picture is "
        "labelled; a face that the detector misses has no labels, and it may miss some groups more often than others."
    )
    unlike = [ATTRIBUTES[record["attribute"]].lower() for record in document["domain"] if record["warning"]]
    if unlike:
        known.append(f"By {findings.listed(unlike)} the store does not look like the classifier’s evaluation data.")
    return known


def summary(document: Mapping[str, Any], about: Mapping[str, str], card: Card | None) -> list[str]:
    """Return a data sheet in lines: what it speaks of, and what it lacks."""
    lines = [_instances(document)[0]]
    missing = [key for key in ABOUT if key not in about]
    if missing:
        lines.append(f"Not said by the owner (--about): {', '.join(missing)}.")
    if card is None:
        lines.append("The model card is left out, since the pack is not at hand; give its folder with --models.")
    return lines
