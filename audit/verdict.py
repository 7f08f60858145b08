"""The verdict: pass, fail or inconclusive, by rules that are fixed before anybody looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audit.estimate import effective_wilson
from audit.text import percent, plural, shown
from audit.wording import ROUNDING

UNCORRECTED = (
    "The shares are raw: they count a classifier's guesses, and its errors are not in their intervals. "
    "A verdict needs a sample of this store checked by people."
)
NO_MARGIN = "No margin was set, so there is nothing to pass or to fail. Fix one with --margin before you look."
GROW = "Check more images; audit-labels sample --grow adds some."
FILL_IN = "Fill in the rest of the sheet: {} of it lack a label."
ENOUGH = 30.0
"""Effective images below which no verdict is given."""
EXIT_CODES = {"pass": 0, "none": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Verdict:
    """What can be said about reaching the target.

    Parameters
    ----------
    result : str
        ``pass``, ``fail``, ``inconclusive``, or ``none`` where no margin was set.
    basis : str
        The grade of the shares that it rests on.
    reasons : tuple of str
        Why, in whole sentences.
    """

    result: str
    basis: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """The verified share of one class beside its target.

    Parameters
    ----------
    name : str
        The attribute and class in words.
    share, target : float
        0 to 1.
    n_eff : float
        Effective number of images, infinite where everything was seen.
    unknown : float
        Share of the images of which people could not tell the class; as much may be of this one.
    small : bool
        The share is withheld, and not to be named.
    """

    name: str
    share: float
    target: float
    n_eff: float
    unknown: float = 0.0
    small: bool = False

    @property
    def most(self) -> float:
        """The share if all that people could not tell were of this class."""
        return min(self.share + self.unknown, 1.0)


def of_raw_shares(labelled: int, margin: float | None = None, unanswered: Sequence[str] = ()) -> Verdict:
    """Return the verdict that raw and model-based shares allow: none, or inconclusive where one was asked for.

    Parameters
    ----------
    labelled : int
        Images with labels.
    margin : float, optional
        The margin asked for.
    unanswered : sequence of str
        Judged attributes of which a checked sheet says too little.

    Examples
    --------
    >>> of_raw_shares(0).reasons[0]
    'No image of this store was labelled.'
    >>> of_raw_shares(100, 0.05).result
    'inconclusive'
    """
    empty = () if labelled else ("No image of this store was labelled.",)
    return Verdict("none" if margin is None else "inconclusive", "raw", (*empty, UNCORRECTED, *_unanswered(unanswered)))


def of_verified_shares(
    claims: Sequence[Claim],
    margin: float | None,
    confidence: float,
    *,
    unanswered: Sequence[str] = (),
    unfilled: int = 0,
) -> Verdict:
    """Return the verdict on verified shares.

    *Pass*: every class's interval lies inside target ± margin, which is two one-sided tests for each, and all have to
    hold (intersection–union, Berger 1982, Technometrics 24:295), so that no correction is needed. *Fail*: an interval
    adjusted by Holm's steps lies wholly outside. Otherwise *inconclusive*; so it is where fewer than 30 effective
    images carry a share.

    Parameters
    ----------
    claims : sequence of Claim
        Every class of every judged attribute that was answered.
    margin : float or None
        Shares within it of their target are as wanted.
    confidence : float
        Strictly between 0 and 1.
    unanswered : sequence of str
        Judged attributes of which the sheet says too little for verified shares.
    unfilled : int
        Rows of the sheet that lack a label of a judged attribute.

    Examples
    --------
    >>> of_verified_shares([Claim("a", 0.5, 0.5, 1e6)], 0.05, 0.95).result
    'pass'
    >>> of_verified_shares([Claim("a", 0.9, 0.5, 1e6)], 0.05, 0.95).result
    'fail'
    >>> of_verified_shares([Claim("a", 0.5, 0.5, 40)], 0.05, 0.95).result
    'inconclusive'
    """
    if margin is None:
        return Verdict("none", "verified", (NO_MARGIN, *_unanswered(unanswered)))
    outside = _outside(claims, margin, confidence)
    if outside:
        return Verdict("fail", "verified", (f"Outside the margin of ± {percent(margin)}: {_listed(outside)}.",))
    remedy = FILL_IN.format(plural(unfilled, "row")) if unfilled else GROW
    thin = [claim for claim in claims if claim.n_eff < ENOUGH]
    if thin:
        reason = f"Too few checked images to judge: {_listed(thin)}."
        return Verdict("inconclusive", "verified", (reason, *_unanswered(unanswered), remedy))
    if unanswered:
        return Verdict("inconclusive", "verified", (*_unanswered(unanswered), remedy))
    open_claims = [claim for claim in claims if not _inside(claim, margin, confidence)]
    if open_claims:
        reason = f"The interval reaches beyond the margin of ± {percent(margin)}: {_listed(open_claims)}."
        return Verdict("inconclusive", "verified", (reason, remedy))
    reason = (
        f"With {percent(confidence)} confidence every audited group is within ± {percent(margin)} of its target, for "
        "perceived labels, under this sampling design."
    )
    return Verdict("pass", "verified", (reason,))


def _unanswered(attributes: Sequence[str]) -> tuple[str, ...]:
    names = ", ".join(attributes)
    return (f"Too few rows of the sheet are filled in for verified shares of {names}.",) if attributes else ()


def _inside(claim: Claim, margin: float, confidence: float) -> bool:
    low, high = _ends(claim, confidence)
    return claim.target - margin <= low + ROUNDING and high - ROUNDING <= claim.target + margin


def _ends(claim: Claim, confidence: float) -> tuple[float, float]:
    """Return the ends of a claim's interval, the upper one with all that people could not tell."""
    low, high = (effective_wilson(share, claim.n_eff, confidence) for share in (claim.share, claim.most))
    return low[0], high[1]


def _outside(claims: Sequence[Claim], margin: float, confidence: float) -> list[Claim]:
    """Return the claims that Holm's steps reject: each interval at 1 − α/(m − j + 1), from the surest on."""
    claims = [claim for claim in claims if claim.n_eff >= ENOUGH]
    order = sorted(range(len(claims)), key=lambda j: -_distance(claims[j], margin))
    rejected = []
    for step, j in enumerate(order):
        low, high = _ends(claims[j], 1 - (1 - confidence) / (len(claims) - step))
        beyond = low - ROUNDING > claims[j].target + margin or high + ROUNDING < claims[j].target - margin
        if not beyond:
            break
        rejected.append(claims[j])
    return rejected


def _distance(claim: Claim, margin: float) -> float:
    """Return by how many standard errors of the nearer bound a claim lies beyond it, 0 where it may lie inside."""
    bound = claim.target + margin if claim.share > claim.target + margin else claim.target - margin
    gap = max(claim.share - (claim.target + margin), claim.target - margin - claim.most, 0.0)
    if gap == 0:
        return 0.0
    spread = (bound * (1 - bound) / claim.n_eff) ** 0.5
    return gap / spread if spread > 0 else float("inf")


def _listed(claims: Sequence[Claim]) -> str:
    return ", ".join(f"{shown(claim.name)} ({_share(claim)}, target {percent(claim.target)})" for claim in claims)


def _share(claim: Claim) -> str:
    if claim.small:
        return "withheld"
    return percent(claim.share) + (f" to {percent(claim.most)}" if claim.unknown else "")
