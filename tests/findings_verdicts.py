"""The rule of decision: what differences and numbers say of a claim; `tests.findings` asks."""

from __future__ import annotations

LEVEL = 0.05
NOTHING = 0.005
"""Half a point: a gain that is surely smaller is none."""
UNKNOWN = "cannot be told here"
UNMEASURED = "not measured yet"


def verdict(differences, adjusted, claimed=(), among=0):
    """One of three, or that not all is measured. `claimed` are the gains of the article, one a difference, or none.

    `among` is over how many pairs `adjusted` is corrected, where those are more than these.
    """
    if len(differences) < len(adjusted) or not adjusted or any(p is None for p in adjusted):
        return UNMEASURED
    above = [p <= LEVEL and d.mean > 0 for d, p in zip(differences, adjusted, strict=True)]
    share = LEVEL / max(len(adjusted), among)  # of an interval that all have together
    below = [
        (p <= LEVEL and d.mean < 0) or d.upper(share / 2) < min(NOTHING, least)
        for d, p, least in zip(differences, adjusted, claimed or [NOTHING] * len(differences), strict=True)
    ]
    return "holds" if all(above) else "does not hold" if any(below) else UNKNOWN


def verdict_on(number, interval):
    """Of a number that is claimed, higher is better, and the interval of ours."""
    if interval.low >= number - NOTHING:
        return "holds"
    return "does not hold" if interval.high < number else UNKNOWN
