"""What a reader should take from each chart: one sentence, written from the numbers of audit.json."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from audit.text import count, decimal, percent, plural, shown
from audit.wording import (
    ATTRIBUTES,
    CANT_TELL,
    GROUPINGS,
    NAMES,
    NO_FACE,
    ROUNDING,
    UNIFORM,
    VERDICTS,
    confidence,
    interval,
    label,
)

Record = Mapping[str, Any]

UNCHECKED = "Going by unchecked guesses:"
NAMED = 3
"""Short classes of an attribute that the first screen names in full; it lists the others."""


def best_grade(records: Sequence[Record]) -> list[Record]:
    """Return the records of the verified grade where people gave enough answers for it, else the raw ones."""
    verified = [record for record in records if record["grade"] == "verified"]
    if any(record["status"] != "undefined" for record in verified):
        return verified
    return [record for record in records if record["grade"] == "raw"]


def standing(record: Record) -> str:
    """Say how a share lies beside its target: ``short`` or ``over`` where the whole interval does, else nothing.

    Examples
    --------
    >>> standing({"status": "ok", "low": 0.1, "high": 0.2, "target": 0.25})
    'short'
    """
    if record["status"] != "ok" or record["target"] is None:
        return ""
    if record["high"] < record["target"]:
        return "short"
    return "over" if record["low"] > record["target"] else ""


def shortfalls(document: Record, attribute: str) -> list[tuple[Record, Record | None]]:
    """Return the short classes of an attribute with what the plan says of each, the one that lacks most first."""
    best = best_grade([record for record in document["shares"] if record["attribute"] == attribute])
    planned = {record["class"]: record for record in document["plan"] if record["attribute"] == attribute}
    short = [(record, planned.get(record["class"])) for record in best if _clearly_short(record, best)]
    return sorted(short, key=lambda pair: (-_needed(pair[1]), pair[0]["value"] - pair[0]["target"]))


def _clearly_short(record: Record, best: Sequence[Record]) -> bool:
    """Return whether a class is short among the faces, even if all that people could not tell were of it."""
    if standing(record) != "short":
        return False
    others = {other["class"]: other["value"] or 0.0 for other in best if other["target"] is None}
    faces = 1 - others.get(NO_FACE, 0.0)
    return bool(record["high"] + others.get(CANT_TELL, 0.0) + ROUNDING < record["target"] * faces)


def _needed(planned: Record | None) -> int:
    return 0 if planned is None else int(planned["needed"])


def subject(attribute: str, name: str) -> str:
    """Return the faces of a class as the subject of a sentence.

    Examples
    --------
    >>> subject("ethnicity", "Middle Eastern"), subject("age", "0-2"), subject("gender", "female")
    ('Middle Eastern faces are', 'Age group 0-2 is', 'Female faces are')
    """
    if attribute == "age":
        return f"Age group {label(name)} is"
    return f"{label(name)[:1].upper()}{label(name)[1:]} faces are"


def short_sentence(record: Record, planned: Record | None) -> str:
    """Say that a class is short, by how many images where a plan knows it, else by its share."""
    start = f"{subject(record['attribute'], record['class'])} short"
    if planned is not None and planned["needed"]:
        return (
            f"{start} by about {plural(planned['needed'], 'image')} "
            f"({count(planned['low'])} to {count(planned['high'])})."
        )
    return f"{start}: {with_interval(record)} where {percent(record['target'])} are wanted."


def with_interval(record: Record) -> str:
    """Return a share with its interval in brackets."""
    return f"{percent(record['value'])} ({interval(record, 'share')})"


def with_name(record: Record) -> str:
    """Return a class with its share and interval."""
    return f"{label(record['class'])}: {with_interval(record)}"


def listed(names: Sequence[str], word: str = "and") -> str:
    """Return names as a list in a sentence.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def of_shares(document: Record, attribute: str) -> str:
    """Say which class of an attribute is short, by how many, and which is most and least frequent."""
    best = best_grade([record for record in document["shares"] if record["attribute"] == attribute])
    known = [record for record in best if record["status"] == "ok"]
    found = extremes(best)
    if found is None:
        return _nothing_known(best)
    most, least = found
    if sum(bool(record["value"]) for record in known) == 1:
        alone = len(known) == len(best)
        only = f"Every image was labelled {label(most['class'])}." if alone else f"{with_name(most)}."
        return f"{only} {_of_shortfalls(document, attribute, best)}".rstrip()
    parts = [_of_shortfalls(document, attribute, best)]
    if most is not least:
        parts.append(f"Most often {with_name(most)}; least often {with_name(least)}.")
    empty = [label(record["class"]) for record in known if not record["value"]]
    if empty:
        parts.append(f"No image is {listed(empty, 'or')}.")
    return " ".join(part for part in parts if part)


def _nothing_known(best: Sequence[Record]) -> str:
    if any(record["status"] == "suppressed" for record in best):
        return "Too few images to show."
    undefined = [record["reason"] for record in best if record["n"]]
    return f"Not known: {undefined[0]}." if undefined else "No image was labelled, so there are no shares."


def _of_shortfalls(document: Record, attribute: str, best: Sequence[Record]) -> str:
    short = shortfalls(document, attribute)
    if not short:
        return "" if all(record["target"] is None for record in best) else "No class shown is clearly below its target."
    sentence = short_sentence(*short[0])
    if len(short) > 1:
        sentence += f" Also short: {listed([label(record['class']) for record, _ in short[1:]])}."
    return sentence


def headline(document: Record) -> str:
    """Say in one sentence what matters most: the class that is least of what is wanted, or that none is short."""
    if document["store"]["labelled"] == 0:
        return "No face was labelled, so nothing can be said of any group."
    judged = document["options"]["judged"]
    short = [pair for attribute in judged for pair in shortfalls(document, attribute)[:1]]
    sentence = "No group shown is clearly below its target."
    checked = not set(unchecked(document)) & set(judged)
    if short:
        pair = min(short, key=_least_of_wanted)
        sentence, checked = short_sentence(*pair), pair[0]["grade"] == "verified"
    return sentence if checked else f"{UNCHECKED} {sentence}"


def unchecked(document: Record) -> list[str]:
    """Return the attributes whose shares rest on the classifier's guesses alone."""
    checked = document["store"]["checked"]
    return list(ATTRIBUTES) if checked is None else list(checked["unanswered"])


def guessed(document: Record) -> list[str]:
    """Return the attributes of `unchecked` as the page calls them in a sentence."""
    return [GROUPINGS[attribute] for attribute in unchecked(document)]


def _least_of_wanted(pair: tuple[Record, Record | None]) -> tuple[float, int]:
    record, planned = pair
    return float(record["value"]) / float(record["target"]), -_needed(planned)


def verdict_sentence(document: Record) -> str:
    """Say what the verdict means, in words that need no statistics."""
    verdict = document["verdict"]
    if document["store"]["labelled"] == 0:
        return "There is nothing to judge."
    if verdict["result"] == "none":
        if verdict["basis"] == "verified":
            return "Nobody said how far a share may be from its target, so nothing passes or fails."
        checked = "nobody has" if document["store"]["checked"] is None else "people have not sufficiently"
        return f"These are guesses that {checked} checked, so nothing passes or fails."
    margin = f"± {percent(verdict['margin'])}"
    return {
        "pass": f"Every judged group is within {margin} of its target.",
        "fail": f"At least one group is farther from its target than {margin}.",
        "inconclusive": f"What is known does not settle whether every group is within {margin} of its target.",
    }[verdict["result"]]


def how_sure(document: Record) -> str:
    """Say how far the shares can be trusted."""
    store = document["store"]
    if store["labelled"] == 0:
        return "There is nothing to be sure of."
    checked = store["checked"]
    if document["verdict"]["basis"] == "verified":
        text = (
            f"People checked {checked_images(checked)} drawn at random from this store. Each range "
            f"is a {confidence(document)} interval: it holds the true figure that often."
        )
        names = guessed(document)
        return f"{text} But what is said of {listed(names)} is a classifier’s guess." if names else text
    who = "nobody has" if checked is None else "people have not sufficiently"
    return (
        f"Not sure. A classifier guessed, and {who} checked its guesses here. The ranges show the play of chance; "
        "its mistakes come on top."
    )


def checked_images(checked: Record, noun: str = "image") -> str:
    """Return how many images people checked, and of how many on their sheet where these are more.

    Examples
    --------
    >>> checked_images({"images": 40, "filled": 40}), checked_images({"images": 40, "filled": 3})
    ('40 images', '3 of 40 images')
    >>> checked_images({"images": 40, "filled": 3}, "")
    '3 of 40'
    """
    filled = "" if checked["filled"] == checked["images"] else f"{count(checked['filled'])} of "
    return filled + (plural(checked["images"], noun) if noun else count(checked["images"]))


def next_step(document: Record) -> tuple[str, str]:
    """Return what to do next, and the command for it, with the files of this audit by their own names."""
    store, result, judged = document["store"], document["verdict"]["result"], document["options"]["judged"]
    labels = document["provenance"].get("labels", {}).get("file", "labels.parquet")
    if store["files"] == 0:
        return "Point label-images at a folder that holds images.", command("label-images STORE --out {}", labels)
    if store["labelled"] == 0:
        return "See below what was wrong with the files, mend them, and label the store again.", (
            command("label-images STORE --out {}", labels)
        )
    if store["checked"] is None:
        return "Let people check a random sample. Only then do shares hold, and only then can there be a verdict.", (
            command("audit-labels sample {} --n IMAGES --out sheet.csv", labels)
        )
    sheets, target = store["checked"]["files"], document["options"]["target"]
    given = command(" --checked {}" * len(sheets), *sheets) + (
        "" if target == UNIFORM else command(" --target {}", target)
    )
    answered = min(store["checked"]["answered"][attribute] for attribute in judged)
    if answered < store["checked"]["images"] and (result == "inconclusive" or store["checked"]["unanswered"]):
        return "Fill in the rest of the sheet, by hand or in a browser, and audit again.", (
            command("audit-labels review" + " {}" * len(sheets) + " --store STORE --labels {}", *sheets, labels)
        )
    if result == "inconclusive":
        return "Check more images: that narrows the ranges.", (
            command("audit-labels sample {} --n IMAGES --grow {} --out {}", labels, sheets[0], sheets[0])
        )
    if result == "fail" or any(shortfalls(document, attribute) for attribute in judged):
        return "Collect what is missing, or choose and weight images so that the shares become as wanted.", (
            f"{command('audit-labels plan {}', labels)}{given} --out plan.parquet"
        )
    return "Nothing needs collecting. Audit again when the store has grown.", (
        f"{command('audit-labels report {}', labels)}{given} --out audit.html"
    )


def command(words: str, *names: str) -> str:
    """Return a command line with names of files in the places of ``{}``, quoted where a shell would take them apart.

    Examples
    --------
    >>> print(command("audit-labels sample {} --out {}", "my labels.parquet", "-sheet.csv"))
    audit-labels sample 'my labels.parquet' --out ./-sheet.csv
    """
    safe = (f"./{name}" if name.startswith("-") else name for name in map(shown, names))
    return words.format(*map(shlex.quote, safe))


def extremes(records: Sequence[Record]) -> tuple[Record, Record] | None:
    """Return the most and the least frequent of the classes that occur, None where no such share is shown."""
    seen = [record for record in records if record["status"] == "ok" and record["value"]]
    if not seen:
        return None
    return max(seen, key=lambda r: float(r["value"])), min(seen, key=lambda r: float(r["value"]))


def of_distribution(records: Sequence[Record]) -> str:
    """Say which age groups are most and least frequent."""
    found = extremes(records)
    if found is None:
        return "Too few images to show."
    most, least = found
    text = f"Most faces look {with_name(most)}."
    return text if least is most else f"{text} Fewest look {with_name(least)}."


def of_cells(records: Sequence[Record]) -> str:
    """Say which combination is most and which least frequent among those shown."""
    found = extremes(records)
    if found is None:
        return "Every combination holds too few images to show."
    most, least = found
    text = f"Most frequent: {with_name(most)}."
    if least is not most:
        text += f" Least frequent of those shown: {with_name(least)}."
    if any(record["status"] == "suppressed" for record in records):
        text += " Dots stand for combinations that are too small to show."
    return text


def of_groups(accuracies: Sequence[tuple[str, Record]], spread: Record | None = None) -> str:
    """Say for which group the labels are least and most often right, and whether chance explains the gap."""
    known = [(group, record) for group, record in accuracies if record["status"] == "ok"]
    parts = []
    if len(known) > 1:
        worst, best = (pick(known, key=lambda pair: float(pair[1]["value"])) for pick in (min, max))
        parts.append(
            f"Least often right for {worst[0]}: {with_interval(worst[1])}; "
            f"most often for {best[0]}: {with_interval(best[1])}."
        )
        if spread is not None and spread["status"] == "ok" and spread["chance"] is not None:
            gap, chance = percent(spread["value"]), percent(spread["chance"])
            parts.append(
                f"That gap of {gap} is more than the {chance} that chance alone would show."
                if spread["low"] > spread["chance"]
                else f"Chance alone may explain that gap of {gap}: it shows about {chance} by itself."
            )
    for status, text in (("suppressed", "Too few images to show"), ("absent", "No image of")):
        named = [group for group, record in accuracies if record["status"] == status]
        if named:
            parts.append(f"{text}: {', '.join(named)}.")
    return " ".join(parts) or "One group has enough images to show."


def of_reliability(bins: Sequence[Record], error: Record | None) -> str:
    """Say where the classifier's confidence and its success lie farthest apart."""
    known = [record for record in bins if record["status"] == "ok" and record["confidence"] is not None]
    if not known:
        return "Too few images to show."
    far = max(known, key=lambda record: abs(float(record["value"]) - float(record["confidence"])))
    text = (
        f"Farthest apart where the classifier was {percent(far['confidence'])} sure: "
        f"it was right {with_interval(far)} of the time."
    )
    if error is not None and error["status"] == "ok":
        text += f" {NAMES['expected_calibration_error']}: {decimal(error['value'])}."
    return text


def of_confusion(records: Sequence[Record]) -> str:
    """Say which class is most often taken for which other."""
    wrong = [record for record in records if record["true"] != record["predicted"] and record["count"]]
    if not wrong:
        return "No mistake between two classes is frequent enough to show."
    most = max(wrong, key=lambda record: int(record["count"]))
    return (
        f"The most frequent mistake: {label(most['true'])} labelled {label(most['predicted'])}, "
        f"{plural(most['count'], 'image')}."
    )


def of_plan(records: Sequence[Record]) -> str:
    """Say of which class most images are missing."""
    most = max(records, key=lambda record: int(record["needed"]))
    if not most["needed"]:
        return "No image has to be added."
    return (
        f"Most are missing of {label(most['class'])}: about {plural(most['needed'], 'image')} "
        f"({count(most['low'])} to {count(most['high'])})."
    )


def of_changes(changes: Sequence[Record]) -> str:
    """Say which share changed most beyond chance."""
    clear = [r for r in changes if r["status"] == "ok" and (r["low"] > 0 or r["high"] < 0)]
    if not clear:
        return "No share changed beyond what chance would do."
    most = max(clear, key=lambda record: abs(float(record["value"])))
    word = "rose" if most["value"] > 0 else "fell"
    return (
        f"{label(most['class'])} {word} from {percent(most['old'])} to {percent(most['new'])}: "
        f"a change of {with_interval(most)}."
    )


def opening(document: Record) -> str:
    """Say what was audited."""
    store, pack = document["store"], document["pack"]
    return (
        f"{plural(store['files'], 'image file')}, {count(store['labelled'])} of them labelled with perceived age, "
        f"gender and ethnicity by the model pack {shown(pack['name'])} {shown(pack['version'])}."
    )


def title(document: Record) -> str:
    """Return the verdict in a word or two."""
    return VERDICTS[document["verdict"]["result"]]
