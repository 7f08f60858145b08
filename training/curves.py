"""The curves of a training run as an SVG picture: loss above, accuracy below, against epochs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

WIDTH, HEIGHT = 640, 240
MARGIN = 56
COLOURS = ("#0b62a4", "#b5480a", "#2e7d32")
DASHES = ("", "6 3", "2 3")


def write_curves(history: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the curves of a run.

    Parameters
    ----------
    history : pandas.DataFrame
        One row an epoch, with ``epoch``, ``training_loss``, ``validation_loss`` and columns ``…_accuracy``.
    path : path
        The SVG file to write.
    """
    accuracies = [str(name) for name in history.columns if str(name).endswith("_accuracy")]
    panels = [
        _panel(history, ["training_loss", "validation_loss"], "loss", 0),
        _panel(history, accuracies, "accuracy on validation", HEIGHT),
    ]
    document = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {2 * HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12"><title>Loss and accuracy against epochs</title>'
        f'<rect width="{WIDTH}" height="{2 * HEIGHT}" fill="white"/>{"".join(panels)}</svg>\n'
    )
    Path(path).write_text(document, encoding="utf-8")


def _panel(history: pd.DataFrame, columns: Sequence[str], title: str, top: int) -> str:
    epochs = history["epoch"].to_numpy(float)
    values = history[list(columns)].to_numpy(float)
    low, high = float(np.min(values)), float(np.max(values))
    span = (high - low) or 1.0
    across = max(1.0, float(epochs[-1] - epochs[0]))
    x = MARGIN + (epochs - epochs[0]) / across * (WIDTH - 2 * MARGIN)
    parts = [
        f'<text x="{MARGIN}" y="{top + 20}" font-weight="bold">{escape(title)}</text>',
        *(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ccc"/>'
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>'
            for value, y in ((high, top + MARGIN), (low, top + HEIGHT - MARGIN))
        ),
        f'<text x="{MARGIN}" y="{top + HEIGHT - 34}">{epochs[0]:.0f}</text>',
        f'<text x="{WIDTH - MARGIN}" y="{top + HEIGHT - 34}" text-anchor="end">epoch {epochs[-1]:.0f}</text>',
    ]
    for number, name in enumerate(columns):
        y = top + MARGIN + (high - values[:, number]) / span * (HEIGHT - 2 * MARGIN)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            f'<text x="{MARGIN + 130 * number}" y="{top + HEIGHT - 12}" fill="{colour}">'
            f"{escape(name.replace('_', ' '))}</text>"
        )
    return "".join(parts)
