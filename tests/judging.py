"""Verdicts for the tests of the gate."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from robustbench_ms.catalog.registry import axes_of, measures_of, rows_of
from robustbench_ms.gating import rules
from robustbench_ms.gating.judge import judge
from tests.simulated import KEYS

TERMS = (
    rows_of("classification"),
    axes_of(["corruption", "severity"]),
    {name: s.untested for s in measures_of("classification") if not s.tested for name in s.names},
)


def parse_rule(text):
    return rules.parse_rule(text, *TERMS)


def parse_rules(texts):
    return rules.parse_rules(texts, *TERMS)


RULES = parse_rules(["clean_accuracy=4pp", "mean_corruption_accuracy=2pp"])
FOG = KEYS.index("corruption=fog,severity=3")


def with_loss(correct, key, turned, back=0):
    """The same answers, but in one cell so many turned wrong and so many turned right."""
    changed = correct.copy()
    row = changed[KEYS.index(key)]
    row[np.flatnonzero(correct[KEYS.index(key)])[:turned]] = False
    row[np.flatnonzero(~correct[KEYS.index(key)])[:back]] = True
    return changed


def only(verdicts):
    (verdict,) = verdicts
    return verdict


def verdict(candidate, reference, rule, **options):
    return only(judge(candidate, reference, [parse_rule(rule)], **options).verdicts)


def planned_detectable(
    n: int, *, changed: float, cells: int = 1, correlation: float = 1.0, alpha: float = 0.05
) -> float:
    """The difference that n samples show with a chance of 80 %, before anything is measured.

    `changed` is the share of answers that differ between two models of equal accuracy, so that an answer's loss has
    that variance. `correlation` is that of the losses of one sample under two of its `cells` conditions: with 1,
    more conditions teach nothing.
    """
    variance = changed * (correlation + (1 - correlation) / cells)
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha) + normal.inv_cdf(0.8)) * math.sqrt(variance / n)
