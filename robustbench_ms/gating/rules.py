"""Rules of a gate: a tiny grammar for how much of which number may be lost.

clean_accuracy=0.5pp                           half a percentage point
mean_corruption_nll=5%                         of the reference's value
accuracy[corruption=fog,severity=3]=2pp        one cell
accuracy[corruption=fog]=1pp                   the mean over the cells that match
accuracy[clean]=1pp                            the same as clean_accuracy
total:clean_accuracy=1pp                       since the first accepted reference, not the last
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from robustbench_ms.corruptions.table import NAMES, SEVERITIES
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.metrics import METRICS, Metric

__all__ = ["OF_A_CELL", "Rule", "parse_rule", "parse_rules"]

OF_A_CELL = ("accuracy", "top5_accuracy", "nll", "brier")
"""Metrics that a rule names together with the cell."""

_UNTESTED = {"ece", "clean_ece", "mean_corruption_ece"}
_SHAPE = re.compile(r"(total:)?\s*([^\[\]=:\s]+)\s*(?:\[([^\[\]]*)\])?\s*=\s*(\S.*)")
_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(pp|%|nats)?")


@dataclass(frozen=True)
class Rule:
    """How much of one number may be lost."""

    metric: str
    tolerance: float
    """In the stored unit (a fraction for accuracies), or a fraction of the reference's value where `relative`."""
    relative: bool = False
    cell: tuple[tuple[str, str], ...] | None = None
    """Axis and value pairs that a cell's key must hold; () is the clean cell; None for a summary."""
    total: bool = False
    """Against the first accepted reference."""

    @property
    def target(self) -> str:
        """What is gated, without the tolerance: "accuracy[corruption=fog,severity=3]"."""
        name = self.metric if self.cell is None else f"{self.metric}[{_key(self.cell)}]"
        return f"total:{name}" if self.total else name

    @property
    def unit(self) -> str:
        """The unit of an absolute tolerance: pp, nats, or none."""
        return "pp" if METRICS[self.metric].unit == "%" else METRICS[self.metric].unit

    def margin(self, reference: float) -> float:
        """The tolerated loss in the stored unit, given the reference's value."""
        return self.tolerance * abs(reference) if self.relative else self.tolerance

    def __str__(self) -> str:
        scale = 100 if self.relative or self.unit == "pp" else 1
        return f"{self.target}={self.tolerance * scale:.6g}{'%' if self.relative else self.unit}"


def parse_rule(text: str) -> Rule:
    """The rule that a text means; UserError says what is wrong with it, and what would be right."""
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        raise UserError(
            f"rule {text!r}: METRIC=TOLERANCE is wanted, as clean_accuracy=0.5pp or "
            "accuracy[corruption=fog,severity=3]=2pp"
        )
    total, name, cell, amount = shape.groups()
    where = f"rule {text!r}"
    metric = METRICS[choose(name, METRICS, "metric", where)]
    if name in _UNTESTED:
        raise UserError(f"{where}: a calibration error has no test to gate by; gate NLL or the Brier score")
    if name in OF_A_CELL and cell is None:
        summary = "clean_accuracy" if "accuracy" in name else f"clean_{name}"
        raise UserError(
            f"{where}: {name} needs its cell, as {name}[corruption=fog,severity=3]; "
            f"or gate a summary, as {summary}"
        )
    if name not in OF_A_CELL and cell is not None:
        raise UserError(f"{where}: {name} is no number of one cell; known: {', '.join(OF_A_CELL)}")
    tolerance, relative = _tolerance(amount, metric, where)
    return Rule(name, tolerance, relative, None if cell is None else _cell(cell, where), total is not None)


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Several rules; two about the same number are an error."""
    rules: dict[str, Rule] = {}
    for text in texts:
        rule = parse_rule(text)
        if rule.target in rules:
            raise UserError(f"two rules about {rule.target}: {rules[rule.target]} and {rule}")
        rules[rule.target] = rule
    return tuple(rules.values())


def _tolerance(text: str, metric: Metric, where: str) -> tuple[float, bool]:
    shape = _AMOUNT.fullmatch(text.strip())
    if shape is None:
        raise UserError(f"{where}: a tolerance of 0 or more is wanted, as {_examples(metric)}, not {text!r}")
    value, unit = float(shape[1]), shape[2] or ""
    if not math.isfinite(value):
        raise UserError(f"{where}: the tolerance {text!r} is no number that can be lost")
    if unit == "%":
        if value > 100:
            raise UserError(f"{where}: more than 100 % of a number cannot be tolerated")
        return value / 100, True
    wanted = "pp" if metric.unit == "%" else metric.unit
    if unit != wanted:
        given = f"{unit!r} is the wrong unit" if unit else "the unit is missing"
        raise UserError(f"{where}: {given} for {metric.name}; write {_examples(metric)}")
    if unit == "pp" and value > 100 and "mce" not in metric.name:
        raise UserError(f"{where}: a share cannot lose more than 100 percentage points")
    return (value / 100 if unit == "pp" else value), False


def _examples(metric: Metric) -> str:
    absolute = {"%": "0.5pp (percentage points)", "nats": "0.02nats"}.get(metric.unit, "0.01")
    return f"{absolute} or 5% (of the reference's value)"


def _cell(text: str, where: str) -> tuple[tuple[str, str], ...]:
    if text.strip() == "clean":
        return ()
    pairs: dict[str, str] = {}
    for part in text.split(","):
        axis, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value:
            raise UserError(f"{where}: a cell is clean, or as corruption=fog,severity=3, not {text!r}")
        choose(axis, ("corruption", "severity"), "axis", where)
        known = NAMES if axis == "corruption" else tuple(map(str, SEVERITIES))
        choose(value, known, axis, where)
        if axis in pairs:
            raise UserError(f"{where}: {axis} stands in it twice")
        pairs[axis] = value
    return tuple(sorted(pairs.items()))


def _key(cell: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{axis}={value}" for axis, value in cell) or "clean"
