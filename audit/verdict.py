"""The verdict on a label table, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

UNCORRECTED = (
    "The shares are raw: they count a classifier's guesses, and its errors are not in their intervals. "
    "A verdict needs a sample of this store checked by people."
)


@dataclass(frozen=True)
class Verdict:
    """What can be said about reaching the target.

    Parameters
    ----------
    result : str
        ``none`` where nothing that carries a verdict was given.
    basis : str
        The grade of the shares that it rests on.
    reasons : tuple of str
        Why, in whole sentences.
    """

    result: str
    basis: str
    reasons: tuple[str, ...]


def of_raw_shares(labelled: int) -> Verdict:
    """Return the verdict that raw shares allow, which is none.

    Parameters
    ----------
    labelled : int
        Images with labels.

    Examples
    --------
    >>> of_raw_shares(0).reasons[0]
    'No image of this store was labelled.'
    """
    empty = () if labelled else ("No image of this store was labelled.",)
    return Verdict("none", "raw", (*empty, UNCORRECTED))
