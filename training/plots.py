"""Plots as SVG: ROC curves, and shares of groups side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

COLOURS = ("#0b62a4", "#b5480a", "#2e7d32", "#6a3d9a", "#444444")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2")
SIDE = 320
MARGIN = 48
POINTS = 120
"""Points kept of a ROC curve, evenly spaced along it."""

TRUE_RATE = "true positive rate (0 to 1)"

Curve = npt.NDArray[np.float64]


def roc_curve(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> Curve:
    """Return the ROC curve of scores, shape (m, 2): false and true positive rates from (0, 0) to (1, 1).

    Equal scores are one step, so that the area beneath is the Mann-Whitney statistic.

    Examples
    --------
    >>> roc_curve(np.array([True, False]), np.array([0.9, 0.1])).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), len(order) - 1]
    hits, misses = np.cumsum(truth[order])[ends], np.cumsum(~truth[order])[ends]
    curve = np.stack([misses / max(int(np.sum(~truth)), 1), hits / max(int(np.sum(truth)), 1)], axis=1)
    return np.concatenate([np.zeros((1, 2)), curve])


def roc_svg(curves: Mapping[str, Curve], title: str) -> str:
    """Return an SVG with one ROC curve a name."""
    side = SIDE - 2 * MARGIN
    parts = [
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{side}" height="{side}" fill="none" stroke="#999"/>',
        f'<line x1="{MARGIN}" y1="{SIDE - MARGIN}" x2="{SIDE - MARGIN}" y2="{MARGIN}" stroke="#ccc"/>',
        f'<text x="{SIDE / 2}" y="{SIDE - 14}" text-anchor="middle">false positive rate (0 to 1)</text>',
        f'<text x="14" y="{SIDE / 2}" transform="rotate(-90 14 {SIDE / 2})" text-anchor="middle">{TRUE_RATE}</text>',
    ]
    for number, (name, curve) in enumerate(curves.items()):
        kept = curve[np.unique(np.linspace(0, len(curve) - 1, POINTS).astype(int))]
        points = " ".join(f"{MARGIN + x * side:.1f},{SIDE - MARGIN - y * side:.1f}" for x, y in kept)
        parts.append(f'<polyline points="{points}" fill="none" {_stroke(number)}/>')
        parts.append(_key(number, name, SIDE, MARGIN + 18 * number))
    return _document(SIDE + 170, SIDE, title, parts)


def groups_svg(shares: Mapping[str, Sequence[float]], groups: Sequence[str], title: str) -> str:
    """Return an SVG with one line a name: a share for each group, NaN where there is none."""
    width, height = max(SIDE, 70 * len(groups)), 260
    finite = [value for values in shares.values() for value in values if not np.isnan(value)]
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    step = (width - 2 * MARGIN) / max(1, len(groups) - 1)
    parts = [
        f'<text x="{MARGIN + number * step:.0f}" y="{height - 24}" text-anchor="middle">{escape(group)}</text>'
        for number, group in enumerate(groups)
    ]
    for value, y in ((high, MARGIN), (low, height - MARGIN)):
        parts.append(f'<line x1="{MARGIN}" x2="{width - MARGIN}" y1="{y}" y2="{y}" stroke="#ccc"/>')
        parts.append(f'<text x="{MARGIN - 10}" y="{y + 4}" text-anchor="end">{value:.2f}</text>')
    for number, (name, values) in enumerate(shares.items()):
        places = [
            (MARGIN + place * step, MARGIN + (high - value) / span * (height - 2 * MARGIN))
            for place, value in enumerate(values)
            if not np.isnan(value)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{points}" fill="none" {_stroke(number)}/>')
        parts.append(_key(number, name, width, MARGIN + 18 * number))
    return _document(width + 170, height, title, parts)


def _stroke(number: int) -> str:
    dash = DASHES[number % len(DASHES)]
    return f'stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="2" stroke-dasharray="{dash}"'


def _key(number: int, name: str, x: float, y: float) -> str:
    return (
        f'<line x1="{x}" x2="{x + 24}" y1="{y}" y2="{y}" {_stroke(number)}/>'
        f'<text x="{x + 30}" y="{y + 4}">{escape(name)}</text>'
    )


def _document(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>'
        f'<text x="{MARGIN}" y="22" font-weight="bold">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )
