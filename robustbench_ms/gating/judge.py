"""The gate: does a candidate lose more than a rule tolerates, does it not, or can these samples not tell?

A rule fails where the lower one-sided 1 - alpha bound of the loss exceeds what is tolerated, and passes where the upper
bound is below, or where no answer changed. Else it is unsure, and says how large a loss these samples would have shown
and how many would settle it. Failing is Holm-adjusted over all rules of one run, so that a run whose true losses are
all tolerated fails with probability alpha at most; passing needs no adjustment, because a gate passes only where
every rule does. Cells tell where accuracy was lost and decide nothing unless a rule names them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.errors import UserError
from robustbench_ms.gating.references import relation
from robustbench_ms.gating.rules import Rule
from robustbench_ms.records.comparison import CellLoss, Comparison, Loss, Side
from robustbench_ms.records.record import Record
from robustbench_ms.records.terms import Quantity
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval, holm

__all__ = ["Case", "Judgement", "State", "Verdict", "amount", "check", "judge", "judge_all"]

State = Literal["pass", "fail", "unsure", "missing", "incomparable"]

_GRAVITY: tuple[State, ...] = ("pass", "unsure", "missing", "incomparable", "fail")


@dataclass(frozen=True)
class Verdict:
    """What became of one rule."""

    rule: Rule
    state: State
    reason: str
    """One sentence."""
    reference: float | None = None
    """The metric's value, a fraction for accuracies; None where it could not be compared."""
    candidate: float | None = None
    loss: float | None = None
    """Above 0 is worse, whatever the metric's direction."""
    interval: Interval | None = None
    """The loss with its one-sided bounds, the lower one at the level that Holm's adjustment leaves."""
    margin: float | None = None
    """The tolerated loss in the metric's stored unit."""
    method: str = ""
    n: int | None = None
    changed: int | None = None
    """Answers that are right in one record and wrong in the other."""
    detectable: float | None = None
    """A true loss so far beyond the margin is noticed with a chance of 80 %."""
    needed: int | None = None
    """Samples that would settle an unsure rule, were the loss what it seems."""


@dataclass(frozen=True)
class Case:
    """What is judged: a candidate and what it is held against."""

    candidate: Record
    reference: Record | None
    first: Record | None = None
    """The first accepted reference, for rules of the total drift."""
    against: str = "the reference"
    """What people call the reference, and where it was looked for."""


@dataclass(frozen=True)
class Judgement:
    """All the rules on one candidate."""

    name: str
    against: str
    alpha: float
    verdicts: tuple[Verdict, ...]
    cells: tuple[CellLoss, ...]
    notes: tuple[str, ...]
    first: Metric | None = None
    """What the cells are told by; None where nothing was compared."""
    relation: tuple[str, ...] = ()
    """Who the reference is, where it is this very model or another card: said before all else."""

    @property
    def state(self) -> State:
        """The gravest of the verdicts."""
        return max((v.state for v in self.verdicts), key=_GRAVITY.index)

    def passed(self, *, lenient: bool = False) -> bool:
        """Whether the change may get in; `lenient` lets in what is unsure."""
        return self.state == "pass" or (lenient and self.state == "unsure")

    @property
    def worse_cells(self) -> tuple[CellLoss, ...]:
        """The cells that lost accuracy beyond chance, the largest loss first."""
        found = [cell for cell in self.cells if cell.p_lost <= self.alpha]
        return tuple(sorted(found, key=lambda cell: -cell.difference.mean))


def judge(
    candidate: Record,
    reference: Record | None,
    rules: Sequence[Rule],
    *,
    alpha: float = 0.05,
    first: Record | None = None,
) -> Judgement:
    """Judge one candidate; UserError for an alpha out of range or no rules. Reads records, and loads no torch."""
    return judge_all([Case(candidate, reference, first)], rules, alpha=alpha)[0]


@dataclass(frozen=True)
class _Finding:
    rule: Rule
    reference: float
    candidate: float
    loss: Loss
    unchanged: bool
    p_fail: float

    @property
    def margin(self) -> float:
        return self.rule.margin(self.reference)


def judge_all(cases: Iterable[Case], rules: Sequence[Rule], *, alpha: float = 0.05) -> list[Judgement]:
    """Judge the candidates of one run, whose rules share one alpha."""
    check(rules, alpha)
    cases = list(cases)
    examined = [_examine(case, rules) for case in cases]
    findings = [found for _, _, row in examined for found in row if isinstance(found, _Finding)]
    levels = _levels([f.p_fail for f in findings], alpha)
    level_of = {id(f): level for f, level in zip(findings, levels, strict=True)}
    judged = []
    for case, (cells, notes, row) in zip(cases, examined, strict=True):
        verdicts = tuple(f if isinstance(f, Verdict) else _decide(f, alpha, *level_of[id(f)]) for f in row)
        against = "nothing" if case.reference is None else case.against
        first = rows_of(case.candidate.task).first
        who = () if case.reference is None else relation(case.candidate, case.reference)
        judged.append(Judgement(case.candidate.name, against, alpha, verdicts, cells, notes, first, who))
    return judged


def check(rules: Sequence[Rule], alpha: float) -> None:
    """UserError for an alpha out of range or no rules, before anything is measured."""
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha must be above 0 and below 0.5, not {alpha:g}; 0.05 is usual")
    if not rules:
        raise UserError("a gate needs a rule, as --rule clean_accuracy=0.5pp")


def _levels(p_values: Sequence[float], alpha: float) -> list[tuple[float, bool]]:
    """For each hypothesis the level at which Holm's procedure tests it, and whether it is rejected there."""
    adjusted = holm(p_values)
    rejected = [p <= alpha for p in adjusted]
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    stop = sum(rejected)
    levels = [0.0] * len(p_values)
    for rank, i in enumerate(order):
        levels[i] = alpha / (len(order) - min(rank, stop))
    return list(zip(levels, rejected, strict=True))


def _examine(
    case: Case, rules: Sequence[Rule]
) -> tuple[tuple[CellLoss, ...], tuple[str, ...], list[_Finding | Verdict]]:
    candidate = Side.of(case.candidate)
    last = None if case.reference is None else Comparison(candidate, Side.of(case.reference))
    total = None
    if case.first is not None and any(rule.total for rule in rules):
        total = Comparison(candidate, Side.of(case.first))
    row: list[_Finding | Verdict] = []
    for rule in rules:
        pair = total if rule.total else last
        if pair is None:
            what = "no first reference, which rbms accept keeps" if rule.total and last else "nothing"
            row.append(Verdict(rule, "missing", f"there is {what} to compare with: {case.against}"))
        else:
            row.append(_find(rule, pair))
    cells = () if last is None else tuple(last.cells())
    return cells, _notes(last, candidate.record), row


def _find(rule: Rule, pair: Comparison) -> _Finding | Verdict:
    quantity = _quantity(rule, pair)
    if not quantity.keys:
        return Verdict(rule, "missing", f"neither record has a cell of {rule.target}")
    if missing := pair.missing(quantity.cells):
        return Verdict(rule, "missing", _and_more(missing))
    if differing := pair.differing(quantity.cells):
        told = "the reference answers another question: in the candidate "
        return Verdict(rule, "incomparable", told + _and_more(differing))
    if absent := pair.absent(quantity):
        return Verdict(rule, "missing", _and_more(absent))
    reference, candidate = (side.value(quantity) for side in (pair.reference, pair.candidate))
    if not (math.isfinite(reference) and math.isfinite(candidate)):
        return Verdict(rule, "missing", f"{rule.target} has no value where no answer is right")
    if pair.candidate.cells[quantity.cells[0]].n < 2:
        return Verdict(rule, "missing", "one sample says nothing of a difference")
    loss = pair.loss(quantity)
    unchanged = loss.changed == 0
    p_fail = 1.0 if unchanged else loss.difference.p_above(rule.margin(reference))
    return _Finding(rule, reference, candidate, loss, unchanged, p_fail)


def _decide(found: _Finding, alpha: float, level: float, rejected: bool) -> Verdict:
    difference, margin, rule = found.loss.difference, found.margin, found.rule
    interval = Interval(difference.mean, difference.lower(level), difference.upper(alpha))
    verdict = Verdict(
        rule, "pass", "", found.reference, found.candidate, difference.mean, interval, margin,
        difference.method, difference.n, found.loss.changed, difference.detectable(level, margin),
    )  # fmt: skip

    def say(value: float) -> str:
        return amount(rule, value)

    tolerated = f"{_tolerated(found)} is tolerated"
    if found.unchanged:
        return replace(verdict, reason="no answer changed")
    if rejected:
        reason = f"it loses {say(difference.mean)}, at least {say(interval.low)}, and {tolerated}"
        return replace(verdict, state="fail", reason=reason)
    if difference.p_below(margin) <= alpha:
        return replace(verdict, reason=f"it loses at most {say(interval.high)}, and {tolerated}")
    needed = difference.needed(margin, alpha)
    settle = (
        "no number of samples settles a loss that sits on the tolerance"
        if needed is None
        else f"some {needed:,} samples would settle it"
    )
    reason = (
        f"the loss lies between {say(interval.low)} and {say(interval.high)}, and {tolerated}; "
        f"{difference.n:,} samples show what lies {say(verdict.detectable or 0.0)} beyond that, "
        f"four times in five; {settle}"
    )
    return replace(verdict, state="unsure", reason=reason, needed=needed)


def amount(rule: Rule, value: float) -> str:
    """A difference in the rule's unit: "0.35 pp"."""
    return rule.row.show_apart(value)


def _tolerated(found: _Finding) -> str:
    rule = found.rule
    if rule.relative:
        return f"{amount(rule, found.margin)} ({100 * rule.tolerance:g} % of the reference)"
    return f"{rule.tolerance * rule.row.scale:g} {rule.row.apart}".rstrip()


def _quantity(rule: Rule, pair: Comparison) -> Quantity:
    """What a rule is about: a summary, or what is measured over the cells that match."""
    if rule.cell is None:
        return pair.quantity(rule.metric)
    if rule.cell == ():
        return pair.quantity(rule.metric, ["clean"])
    wanted = set(rule.cell)
    known = dict.fromkeys([*pair.reference.cells, *pair.candidate.cells])
    return pair.quantity(
        rule.metric,
        [key for key in known if wanted <= {tuple(part.split("=", 1)) for part in key.split(",")}],
    )


def _sides(pair: Comparison) -> tuple[Side, Side]:
    return pair.candidate, pair.reference


def _notes(pair: Comparison | None, candidate: Record) -> tuple[str, ...]:
    notes = [f"the candidate: {warning}" for warning in candidate.health.get("warnings", ())]
    if pair is None:
        return tuple(notes)
    reference = pair.reference.record
    if candidate.subject["digest"] == reference.subject["digest"]:
        notes.append("the same weights give the same raw answers as in the reference")
    apart = [
        f"{name} {candidate.made_with(name)} instead of {reference.made_with(name)}"
        for name in ("torch", "device")
        if candidate.made_with(name) != reference.made_with(name)
    ]
    if apart:
        notes.append(f"measured with {' and '.join(apart)}: what that changes counts as loss")
    lacking = [
        who for who, side in zip(("candidate", "reference"), _sides(pair), strict=True) if not side.samples
    ]
    if lacking:
        notes.append(
            f"no bits beside the {' and the '.join(lacking)}: means are compared as of different samples, "
            "a weaker test than of the same"
        )
    return tuple(notes)


def _and_more(told: Sequence[str]) -> str:
    return "; ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
