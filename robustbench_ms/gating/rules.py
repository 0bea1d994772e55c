"""Rules of a gate: a tiny grammar for how much of which number may be lost.

clean_accuracy=0.5pp                           half a percentage point
mean_corruption_nll=5%                         of the reference's value
accuracy[corruption=fog,severity=3]=2pp        one cell
accuracy[corruption=fog]=1pp                   the mean over the cells that match
accuracy[clean]=1pp                            the same as clean_accuracy
any:accuracy=10pp                              no cell may lose more; also any:accuracy[corruption=fog]
total:clean_accuracy=1pp                       since the first accepted reference, not the last
floor:clean_accuracy=90pp                      the candidate's own value, whatever the reference has
warn:mean_corruption_nll=5%                    shown with its state, and gates nothing
images_per_second=5%                           of a profile: batch 1, in the card's precision
images_per_second[batch=8]=5%                  another batch

Prefixes stand in this order: warn:, then total: or floor:, then any:.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.axes import Axis
from robustbench_ms.specs.metrics import SPEED, Metric, Rows, Summary

__all__ = ["Rule", "example", "parse_rule", "parse_rules"]

_PREFIXES = ("warn", "total", "floor", "any")
_SHAPE = re.compile(r"((?:[^\[\]=:\s]*:\s*)*)([^\[\]=:\s]+)\s*(?:\[([^\[\]]*)\])?\s*=\s*(\S.*)")
_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(pp|%|nats)?")


@dataclass(frozen=True)
class Rule:
    """How much of one number may be lost, or how good it must be."""

    row: Metric
    tolerance: float
    """In the stored unit (a fraction for accuracies), or a fraction of the reference's value where `relative`."""
    relative: bool = False
    cell: tuple[tuple[str, str], ...] | None = None
    """Axis and value pairs that a cell's key must hold; () is the clean cell; None for a summary, or for all cells."""
    total: bool = False
    """Against the first accepted reference."""
    floor: bool = False
    """The candidate's own value must be at least as good as `tolerance`."""
    any: bool = False
    """Of each cell by itself, instead of their mean."""
    warn: bool = False
    """Shown with its state, and gates no loss."""
    note: str = ""
    """Why it is another than the suite's own."""

    @property
    def target(self) -> str:
        """What is gated, without the tolerance: "accuracy[corruption=fog,severity=3]"."""
        name = self.metric if self.cell is None else f"{self.metric}[{_key(self.cell)}]"
        return "".join(f"{prefix}:" for prefix in _PREFIXES if getattr(self, prefix)) + name

    @property
    def of_speed(self) -> bool:
        """Whether it is about a profile and not about cells."""
        return self.row is SPEED

    @property
    def metric(self) -> str:
        """The number's name."""
        return self.row.name

    def margin(self, reference: float) -> float:
        """The tolerated loss in the stored unit, given the reference's value."""
        return self.tolerance * abs(reference) if self.relative else self.tolerance

    def __str__(self) -> str:
        scale = 100 if self.relative or self.row.apart == "pp" else 1
        return f"{self.target}={self.tolerance * scale:.6g}{'%' if self.relative else self.row.apart}"


def parse_rule(
    text: str, rows: Rows, axes: Sequence[Axis], untested: Mapping[str, str] | None = None
) -> Rule:
    """The rule that a text means; UserError says what is wrong with it, and what would be right.

    `rows` are the numbers of the task, `axes` those of the perturbation's cells, and `untested` the measured metrics
    that no gate may test, each with why ("calibration errors have no test").
    """
    untested = untested or {}
    of_a_cell = [name for name in rows.measured if name not in untested]
    example = ",".join(axis.example for axis in axes) or "clean"
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        told = " or ".join(f"{name}={_amount(rows[name])}" for name in [*rows.summaries][:1])
        cells = "".join(f" or {name}[{example}]={_amount(rows[name])}" for name in of_a_cell[:1])
        raise UserError(f"rule {text!r}: METRIC=TOLERANCE is wanted, as {told}{cells}")
    words, name, cell, amount = shape.groups()
    where = f"rule {text!r}"
    prefixes = _prefixes(words, where)
    if choose(name, (*rows, SPEED.name), "metric", where) == SPEED.name:
        return _of_speed(prefixes, cell, amount, where)
    row = rows[name]
    measured = row.of if isinstance(row, Summary) else name
    if measured in untested:
        raise UserError(f"{where}: {untested[measured]} to gate by; gate one of {', '.join(of_a_cell)}")
    if prefixes["any"] and isinstance(row, Summary):
        raise UserError(f"{where}: any: is about cells, and {name} is over many; write any:{row.of}={amount}")
    if not isinstance(row, Summary) and cell is None and not prefixes["any"]:
        plain = [one.name for one in rows.summaries.values() if (one.of, one.how) == (name, "mean")]
        summary = f"; or gate a summary, as {plain[0]}" if plain else ""
        raise UserError(
            f"{where}: {name} needs its cell, as {name}[{example}], or any:{name} of all{summary}"
        )
    if isinstance(row, Summary) and cell is not None:
        raise UserError(f"{where}: {name} is no number of one cell; known: {', '.join(of_a_cell)}")
    tolerance, relative = _tolerance(amount, row, where)
    if relative and prefixes["floor"]:
        raise UserError(
            f"{where}: a floor is a value of its own, as {_amount(row)}, and no share of a reference's"
        )
    place = None if cell is None else _cell(cell, axes, example, where)
    return Rule(row, tolerance, relative, place, **prefixes)


def _of_speed(prefixes: Mapping[str, bool], cell: str | None, amount: str, where: str) -> Rule:
    """A rule about a profile: a share of the reference's speed, at one batch."""
    if wrong := [name for name, given in prefixes.items() if given and name != "warn"]:
        raise UserError(f"{where}: {SPEED.name} takes no {wrong[0]}:, as a speed is nothing of its own")
    batch = re.fullmatch(r"\s*batch\s*=\s*([1-9]\d*)\s*", "batch=1" if cell is None else cell)
    if batch is None:
        raise UserError(f"{where}: {SPEED.name} takes a batch, as {SPEED.name}[batch=8], and not {cell!r}")
    if not amount.strip().endswith("%"):
        raise UserError(
            f"{where}: a share of the reference's speed is wanted, as {SPEED.name}=5%, not {amount!r}"
        )
    tolerance, _ = _tolerance(amount, SPEED, where)
    return Rule(
        SPEED, tolerance, True, None if batch[1] == "1" else (("batch", batch[1]),), warn=prefixes["warn"]
    )


def _prefixes(words: str, where: str) -> dict[str, Any]:
    given = [word.strip() for word in words.split(":")[:-1]]
    for word in given:
        choose(word, _PREFIXES, "prefix", where)
    order = [_PREFIXES.index(word) for word in given]
    if order != sorted(set(order)) or {"total", "floor"} <= set(given):
        raise UserError(f"{where}: the prefixes are warn:, then total: or floor:, then any:, each once")
    return {prefix: prefix in given for prefix in _PREFIXES}


def parse_rules(
    texts: Iterable[str], rows: Rows, axes: Sequence[Axis], untested: Mapping[str, str] | None = None
) -> tuple[Rule, ...]:
    """Several rules; two about the same number are an error."""
    rules: dict[str, Rule] = {}
    for text in texts:
        rule = parse_rule(text, rows, axes, untested)
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
    if unit != metric.apart:
        given = f"{unit!r} is the wrong unit" if unit else "the unit is missing"
        raise UserError(f"{where}: {given} for {metric.name}; write {_examples(metric)}")
    if unit == "pp" and value > 100 and metric.share:
        raise UserError(f"{where}: a share cannot lose more than 100 percentage points")
    return (value / 100 if unit == "pp" else value), False


def example(row: Metric) -> str:
    """A rule about a summary, as one may be written: "mPC=0.5pp"."""
    return f"{row.name}={_amount(row)}"


def _amount(metric: Metric) -> str:
    """A tolerance as it may stand in a rule."""
    return {"%": "0.5pp", "pp": "0.5pp", "nats": "0.02nats"}.get(metric.unit, "0.01")


def _examples(metric: Metric) -> str:
    told = " (percentage points)" if metric.apart == "pp" else ""
    return f"{_amount(metric)}{told} or 5% (of the reference's value)"


def _cell(text: str, axes: Sequence[Axis], example: str, where: str) -> tuple[tuple[str, str], ...]:
    if text.strip() == "clean":
        return ()
    known = {axis.name: tuple(map(str, axis.values)) for axis in axes}
    pairs: dict[str, str] = {}
    for part in text.split(","):
        axis, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not value:
            raise UserError(f"{where}: a cell is clean, or as {example}, not {text!r}")
        choose(axis, known, "axis", where)
        choose(value, known[axis], axis, where)
        if axis in pairs:
            raise UserError(f"{where}: {axis} stands in it twice")
        pairs[axis] = value
    return tuple(sorted(pairs.items()))


def _key(cell: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f"{axis}={value}" for axis, value in cell) or "clean"
