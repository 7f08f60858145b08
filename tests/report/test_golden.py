"""The page's structure beside a golden one: its landmarks, headings, figures and tables, without the numbers.

A wanted change of structure is taken over by one command, and then seen in review as a change of ``golden.txt``::

    UPDATE_GOLDEN=1 python -m pytest tests/report/test_golden.py
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from tests.report.conftest import VOID, Outline, Page

GOLDEN = Path(__file__).with_name("golden.txt")
KEPT = ("id", "role", "lang", "scope", "aria-labelledby")
SPOKEN = ("h1", "h2", "h3", "h4", "h5", "caption", "summary", "title")
INNER = tuple("a b code dd dl dt em g i label li p small span sub sup tbody td text th thead tr ul var".split()) + VOID


class Skeleton(Outline):
    """The elements of a page as indented lines; what repeats inside a table or a chart is left out."""

    def __init__(self, html: str) -> None:
        self.lines: list[str] = []
        super().__init__(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INNER and (tag != "div" or dict(attrs).get("role")):
            kept = "".join(f" {name}={value}" for name, value in attrs if name in KEPT)
            self.lines.append(f"{'  ' * len(self._open)}{tag}{kept}")
        super().handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        inside = self._open[-1][0].split(".")[0] if self._open else ""
        if inside in SPOKEN or (inside == "th" and any(name.startswith("thead") for name, _ in self._open)):
            words = re.sub(r"\d[\d,.]*", "#", data.strip())
            if words:
                self.lines.append(f"{'  ' * len(self._open)}{words}")
        super().handle_data(data)


def test_the_page_is_built_as_the_golden_one(make_page: Callable[[str], Page]) -> None:
    built = "\n".join(Skeleton(make_page("checked").html).lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(built, encoding="utf-8")
    assert built == GOLDEN.read_text(encoding="utf-8"), "see the top of this test for how to take over a wanted change"
