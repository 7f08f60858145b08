"""The page as text: a pure function of audit.json that hides nothing and adds nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from audit.report import render
from audit.result import to_json
from audit.text import count, decimal, percent, shown
from audit.wording import FORMS, STANDINGS, interval, number
from tests.audit.tables import HOSTILE
from tests.report.conftest import Outline, Page

NUMBER = re.compile(r"(?<![\w.,−-])[−-]?\d+(?:,\d{3})*(?:\.\d+)?")


def test_the_same_document_gives_the_same_bytes_even_after_a_round_trip(page: Page) -> None:
    assert render(page.document) == page.html == render(json.loads(to_json(page.document)))


def test_the_page_is_small_and_alone(page: Page) -> None:
    assert len(page.html.encode()) <= 500_000
    outline = Outline(page.html)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in outline.elements}
    for tag, attributes in outline.elements:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#")


def test_the_policy_names_the_style_by_its_hash(page: Page) -> None:
    style = page.html.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(m for m in Outline(page.html).named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    content = policy["content"] or ""
    assert content.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}';" in content
    assert "unsafe" not in content
    assert "http" not in style


def test_the_page_has_an_outline(page: Page) -> None:
    outline = Outline(page.html)
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert outline.named("html") == [{"lang": "en"}]
    assert len(outline.named("main")) == 1
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [(a["href"] or "")[1:] for a in outline.named("a")]
    assert set(links) <= set(ids)


def test_each_chart_has_a_title_and_a_finding_and_each_table_a_caption_and_scopes(page: Page) -> None:
    outline = Outline(page.html)
    charts = [svg for svg in outline.named("svg") if svg.get("role") == "img"]
    assert len(charts) == len(outline.named("figure"))
    assert bool(charts) == bool(page.document["store"]["files"])
    for chart in charts:
        for part in (chart["aria-labelledby"] or "").split():
            assert re.search(rf'id="{part}">[^<]+<', page.html), part
    assert len(outline.named("caption")) == len(outline.named("table"))
    assert all(heading.get("scope") in ("row", "col") for heading in outline.named("th"))


def test_hostile_names_are_shown_as_text(page: Page) -> None:
    texts = " ".join(data for _, data in Outline(page.html).texts)
    for example in page.document["store"]["examples"]:
        assert shown(example["path"]) in texts
    assert "<script" not in page.html
    assert "\u202e" not in page.html
    assert page.document["store"]["not_labelled"] in (0, len(HOSTILE))


def test_hostile_names_of_stores_classes_and_packs_are_shown_as_text(page: Page) -> None:
    evil = '"><script>alert(1)</script>\u202e'
    document = json.loads(to_json(page.document).replace("White", json.dumps(evil)[1:-1]))
    document["store"]["name"] = document["pack"]["name"] = evil
    document["provenance"]["labels"]["file"] = evil
    document["pack"]["options"] = {evil: evil}
    made = render(document)
    assert "<script" not in made
    assert "\u202e" not in made
    assert made.count("&lt;script&gt;") >= 9
    assert not {"script"} & {tag for tag, _ in Outline(made).elements}


def test_every_number_on_the_page_is_in_the_document(page: Page) -> None:
    known = set(written(page.document)) | {"95"}
    for place, data in Outline(page.html).texts:
        if any(re.match(r"style|text\.tick|section\.None#methods", part) for part in place):
            continue
        for found in NUMBER.findall(data):
            assert found in known, (found, data)


def written(part: Any) -> Iterator[str]:
    """Yield each number of a document in every way in which the page may write it."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from NUMBER.findall(shown(key))
            yield from written(value)
    elif isinstance(part, list):
        for value in part:
            yield from written(value)
    elif isinstance(part, str):
        yield from NUMBER.findall(shown(part))
        yield from NUMBER.findall(shown(part.replace("_", " ")))
    elif isinstance(part, int | float):
        yield from (decimal(part, 2), decimal(part, 3), percent(part).split()[0])
        if isinstance(part, int):
            yield from (count(part), str(part))


def test_every_estimate_of_the_document_is_on_the_page_and_no_other(page: Page) -> None:
    outline = Outline(page.html)
    reasons = dict(re.findall(r"<dt>([a-z]+)</dt><dd>(.*?)</dd>", page.html))
    found = dict(estimates(page.document))
    assert set(outline.cells) == set(found)
    for place, record in found.items():
        form = FORMS[record.get("metric") or record.get("statistic") or "accuracy"]
        for text in outline.cells[place]:
            if record["status"] == "ok":
                assert text.startswith(number(record["value"], form)), (place, text)
                assert text.endswith(interval(record, form)), (place, text)
            else:
                words, letter = text[: len(STANDINGS[record["status"]])], text[len(STANDINGS[record["status"]]) :]
                assert words == STANDINGS[record["status"]], (place, text)
                assert html.unescape(reasons[letter]) == f"{words}: {record['reason']}"


def estimates(part: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each record with a standing and an interval, wherever it is, with its place."""
    if isinstance(part, dict):
        if {"status", "reason", "low", "high"} <= set(part):
            yield place, part
        for key, value in part.items():
            yield from estimates(value, f"{place}/{key}".lstrip("/"))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from estimates(value, f"{place}/{index}")


def test_every_count_of_a_mistake_and_of_images_to_add_is_on_the_page(page: Page) -> None:
    texts = {data.strip() for _, data in Outline(page.html).texts}
    for record in page.document["confusion"]:
        assert ("withheld" if record["count"] is None else count(record["count"])) in texts
    for record in page.document["plan"]:
        assert {count(record["needed"]), f"{count(record['low'])} to {count(record['high'])}"} <= texts


def test_every_bar_lies_in_the_row_of_its_class_even_beside_withheld_ones(page: Page) -> None:
    for chart in re.findall(r'<svg role="img".*?</svg>\n</svg>', page.html, re.DOTALL):
        bars = {float(y) - 6 for y in re.findall(r'class="bar(?: short)?"[^>]* y="([\d.]+)"', chart)}
        shown = {float(y) - 20 for y in re.findall(r'class="value(?: short)?"[^>]* y="([\d.]+)"', chart)}
        assert not bars or bars == shown


SAID = {
    "no files": (
        "The label table holds no file, so there is nothing to say of this store.",
        "No face was labelled, so nothing can be said of any group.",
        "Point label-images at a folder that holds images.",
    ),
    "all failed": (
        "No image of this store was labelled.",
        "No image was labelled, so there are no shares.",
        "See below what was wrong with the files",
    ),
    "one image": ("The only file was labelled.", "Too few images to show."),
    "one class": ("Every image was labelled male.", "Female faces are short by about 60 images"),
}


@pytest.mark.parametrize("name", SAID)
def test_an_empty_a_tiny_and_a_one_sided_store_are_said_in_words(make_page: Callable[[str], Page], name: str) -> None:
    for sentence in SAID[name]:
        assert sentence in make_page(name).html


def test_the_first_card_says_who_is_short_by_how_many_how_sure_and_what_next(make_page: Callable[[str], Page]) -> None:
    page = make_page("checked")
    card = page.html.split('<section id="verdict"')[1].split("</section>")[0]
    best = [record for record in page.document["shares"] if record["grade"] == "verified" and record["target"]]
    worst = min(best, key=lambda record: record["value"] / record["target"])
    planned = next(
        r for r in page.document["plan"] if (r["attribute"], r["class"]) == (worst["attribute"], worst["class"])
    )
    expected = f"short by about {count(planned['needed'])} images"
    assert expected in card
    assert f"({count(planned['low'])} to {count(planned['high'])})" in card
    assert "People checked 400 images drawn at random from this store." in card
    assert "What to do next" in card
    assert "<code>audit-labels " in card


def test_unchecked_guesses_are_called_so_on_the_first_card(make_page: Callable[[str], Page]) -> None:
    card = make_page("full").html.split('<section id="verdict"')[1].split("</section>")[0]
    assert "Going by unchecked guesses:" in card
    assert "Not sure. A classifier guessed" in card


def test_a_page_with_126_intersections_is_light(make_page: Callable[[str], Page]) -> None:
    page = make_page("checked")
    cells = {record["class"] for record in page.document["shares"] if record["attribute"].count("×") == 2}
    assert len(cells) >= 126
    assert len(Outline(page.html).elements) <= 15_000
    assert len(page.html.encode()) <= 500_000
