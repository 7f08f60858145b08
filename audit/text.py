"""How names and numbers are written: hostile names as visible text, numbers as a reader expects them."""

from __future__ import annotations

import re

FORMULA = r"[=+\-@\t\r\n]"
"""What a spreadsheet takes for the beginning of a formula."""
TO_CELL, OF_CELL = (f"^({FORMULA})", r"./\1"), (rf"^\./({FORMULA})", r"\1")
"""What `cell` and `of_cell` replace and by what, for a whole column at once."""


def cell(path: str) -> str:
    """Return a relative path as a cell of a CSV file, which no spreadsheet takes for a formula: the same file's name.

    Examples
    --------
    >>> cell("=1+1.jpg"), cell("a=1.jpg")
    ('./=1+1.jpg', 'a=1.jpg')
    """
    return re.sub(*TO_CELL, path)


def of_cell(text: str) -> str:
    """Return the path that `cell` wrote.

    Examples
    --------
    >>> of_cell("./=1+1.jpg"), of_cell("./a.jpg")
    ('=1+1.jpg', './a.jpg')
    """
    return re.sub(*OF_CELL, text)


def shown(text: str) -> str:
    r"""Return a name on one line, with every character that has no shape of its own written as an escape.

    Control characters, line ends, direction marks and lone surrogates come out as ``\n``, ``\x1b`` or ``\u202e``.

    Examples
    --------
    >>> print(shown("a\nb\u202e.jpg"))
    a\nb\u202e.jpg
    """
    return "".join(char if char.isprintable() or char == "\N{NO-BREAK SPACE}" else repr(char)[1:-1] for char in text)


def percent(value: float | None) -> str:
    """Return a share of 0 to 1 as a percentage with one decimal, after a space that does not break.

    Examples
    --------
    >>> percent(0.1234).split(), percent(-0.05).split(), percent(None)
    (['12.3', '%'], ['−5.0', '%'], '–')
    """
    return "–" if value is None else f"{decimal(100 * value, 1)}\N{NO-BREAK SPACE}%"


def decimal(value: float | None, places: int = 3) -> str:
    """Return a number with a fixed count of decimals and a real minus sign.

    Examples
    --------
    >>> decimal(-1.25, 2), decimal(-0.0001), decimal(None)
    ('−1.25', '0.000', '–')
    """
    if value is None:
        return "–"
    written = f"{value:,.{places}f}"
    if float(written.replace(",", "")) == 0:
        written = written.removeprefix("-")
    return written.replace("-", "\N{MINUS SIGN}")


def count(value: int | None) -> str:
    """Return a count with separators of thousands.

    Examples
    --------
    >>> count(1234567), count(None)
    ('1,234,567', '–')
    """
    return "–" if value is None else f"{value:,}"


def plural(value: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> plural(1, "image"), plural(2500, "image"), plural(0, "class", "classes")
    ('1 image', '2,500 images', '0 classes')
    """
    return f"{count(value)} {one if value == 1 else many or one + 's'}"
