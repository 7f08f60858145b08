"""How numbers and estimates are written into audit.json: flat fields with fixed rounding."""

from __future__ import annotations

from typing import Any

from audit.estimate import Estimate

Document = dict[str, Any]


def rounded(value: float | None) -> float | None:
    """Return a number with at most 12 decimals, None as it is.

    Examples
    --------
    >>> rounded(-0.0), rounded(1 / 3)
    (0.0, 0.333333333333)
    """
    # Beyond 12 decimals two builds of a maths library may differ; + 0.0 turns -0.0 into 0.0.
    return None if value is None else round(float(value), 12) + 0.0


def fields(estimate: Estimate, *, n_eff: bool = False) -> Document:
    """Return an estimate as the fields that every record has.

    Examples
    --------
    >>> fields(Estimate.absent())["status"]
    'absent'
    """
    found: Document = {
        "value": rounded(estimate.value),
        "low": rounded(estimate.low),
        "high": rounded(estimate.high),
        "n": estimate.n,
    }
    if n_eff:
        found["n_eff"] = rounded(estimate.n_eff)
    return found | {"status": estimate.status, "reason": estimate.reason}
