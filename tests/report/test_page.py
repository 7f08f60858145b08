"""The page as text: a pure function of audit.json that hides nothing and adds nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from audit.report import render
from audit.result import to_json
from audit.text import count, decimal, percent, shown
from audit.views import FORMS, interval, number
from tests.audit.tables import HOSTILE
from tests.report.conftest import Page

NUMBER = re.compile(r"(?<![\w.,−-])[−-]?\d[\d,]*(?:\.\d+)?")


class Outline(HTMLParser):
    """What a page is made of: its elements with their attributes, and the text in each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag not in ("meta", "line", "rect", "circle"):
            self._open.append(f"{tag}.{attributes.get('class')}#{attributes.get('id')}")

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "line", "rect", "circle"):
            assert self._open.pop().split(".")[0] == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(self._open), data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


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
    assert len(charts) == len(outline.named("figure")) >= 3
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
    html = render(document)
    assert "<script" not in html
    assert "\u202e" not in html
    assert html.count("&lt;script&gt;") >= 9
    assert not {"script"} & {tag for tag, _ in Outline(html).elements}


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


@pytest.mark.parametrize("section", ["missingness", "shares", "balance", "performance"])
def test_every_estimate_of_the_document_is_on_the_page(page: Page, section: str) -> None:
    texts = {data.strip() for _, data in Outline(page.html).texts}
    for record in page.document[section]:
        form = FORMS[record.get("metric") or record.get("statistic") or "accuracy"]
        if record["status"] == "ok":
            assert number(record["value"], form) in texts
            assert interval(record, form) in texts
        else:
            assert f"{record['status']}: {record['reason']}" in texts


def test_every_bar_lies_in_the_row_of_its_class_even_beside_withheld_ones(page: Page) -> None:
    for chart in re.findall(r'<svg role="img".*?</svg>\n</svg>', page.html, re.DOTALL):
        bars = {float(y) - 6 for y in re.findall(r'class="bar"[^>]* y="([\d.]+)"', chart)}
        shown = {float(y) - 20 for y in re.findall(r'class="value"[^>]* y="([\d.]+)"', chart)}
        assert not bars or bars == shown


def test_an_empty_store_is_said_in_words(page: Page) -> None:
    if page.document["store"]["labelled"] == 0:
        assert "No image of this store was labelled." in page.html
        assert "No image was labelled, so there are no shares." in page.html
