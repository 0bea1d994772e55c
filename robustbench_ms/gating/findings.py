"""What two records say of a rule before the level is known at which it is tested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from robustbench_ms.errors import Incomparable
from robustbench_ms.gating.rules import Rule
from robustbench_ms.gating.verdict import GRAVITY, Verdict, amount
from robustbench_ms.records.comparison import Comparison, Lack, Side
from robustbench_ms.records.summary import shortfall
from robustbench_ms.records.terms import Quantity
from robustbench_ms.statistics.bounded import Bounded
from robustbench_ms.statistics.differences import Difference
from robustbench_ms.statistics.intervals import Interval

if TYPE_CHECKING:
    from robustbench_ms.tasks.measure import Scorer

__all__ = ["Finding", "find"]

_EQUAL = "it is the same network, and nothing that makes up this number changed"


class Finding(Protocol):
    """A rule that can be tested."""

    @property
    def rule(self) -> Rule:
        """Whose it is."""

    @property
    def p_fail(self) -> float:
        """Against "no more is lost than is tolerated"."""

    def decide(self, alpha: float, level: float, rejected: bool) -> Verdict:
        """The verdict: passing is tested at `alpha`, failing at `level`, at which it was `rejected` or not."""


@dataclass(frozen=True)
class OneLoss:
    """A loss in one number against what is tolerated of it."""

    rule: Rule
    candidate: float
    difference: Difference
    reference: float | None = None
    """None of a floor, whose loss is what is lacking to it."""
    changed: int | None = None
    same: bool = False
    """The same network gave the same answers."""
    equal: bool = False
    """The same network gave all that the number is told by alike, whatever else differs."""
    about: str = ""
    """What a floor's value is of, where that is no mean over samples."""

    @property
    def margin(self) -> float:
        """The tolerated loss."""
        return 0.0 if self.reference is None else self.rule.margin(self.reference)

    @property
    def p_fail(self) -> float:
        return self.difference.p_above(self.margin)

    def decide(self, alpha: float, level: float, rejected: bool) -> Verdict:
        difference, margin, row = self.difference, self.margin, self.rule.row
        interval = Interval(difference.mean, difference.lower(level), difference.upper(alpha))
        verdict = Verdict(
            self.rule, "pass", "", self.reference, self.candidate, difference.mean, interval, margin,
            difference.method, difference.n, self.changed, difference.detectable(level, margin), each=difference.each,
        )  # fmt: skip
        if rejected:
            return replace(verdict, state="fail", reason=self.lost(interval.low))
        if self.same and difference.mean <= margin:
            return replace(verdict, reason="the same network gives the same raw answers")
        if difference.p_below(margin) <= alpha:
            return replace(verdict, reason=self._kept(interval.high))
        if self.equal and difference.mean <= margin:
            return replace(verdict, reason=_EQUAL)
        needed = difference.needed(margin, alpha)
        settle = (
            f"no number of {self._many} settles what sits on the line"
            if needed is None
            else f"some {needed:,} {self._many} would settle it"
        )
        shown = (
            "no loss is noticed by so few"
            if verdict.detectable is None
            else f"{difference.n:,} {self._many} show what lies {amount(row, verdict.detectable)} beyond that, "
            "four times in five"
        )
        reason = f"{self.between(interval)}; {shown}; {settle}"
        return replace(verdict, state="unsure", reason=reason, needed=needed)

    def lost(self, least: float) -> str:
        """What a failed rule says, without its cell."""
        row = self.rule.row
        if self.reference is None:
            return (
                f"it has {row.show(self.candidate)}, at least {amount(row, least)} short of the {self.asked}"
            )
        lost = self.difference.mean
        return f"it loses {amount(row, lost)}, at least {amount(row, least)}, and {tolerated(self.rule, self.margin)}"

    @property
    def _many(self) -> str:
        return "samples" if self.difference.each == "image" else f"{self.difference.each}s of samples"

    def _kept(self, most: float) -> str:
        row, found = self.rule.row, self.difference
        if self.reference is None:
            told = f"it has {row.show(self.candidate)}, at least {amount(row, -most)} better than the {self.asked}"
        else:
            told = (
                f"it gains at least {amount(row, -most)}"
                if most < 0
                else f"it loses at most {amount(row, most)}"
            )
            told = f"{told}, and {tolerated(self.rule, self.margin)}"
        if not isinstance(found, Bounded) or not found.supposed:
            return told
        if self.reference is None:
            return f"{told}, if no {found.each} is worse than {row.show(self.rule.tolerance - row.sign * found.high)}"
        return f"{told}, if no {found.each} loses more than {amount(row, found.high)}"

    def between(self, interval: Interval) -> str:
        """What an unsure one says."""
        low, high = (amount(self.rule.row, value) for value in (interval.low, interval.high))
        if self.reference is None:
            row = self.rule.row
            low, high = (
                row.show(self.candidate - row.sign * (end - interval.mean)) for end in interval[:0:-1]
            )
            return f"its value lies between {low} and {high}, with {self.asked}"
        return f"the loss lies between {low} and {high}, and {tolerated(self.rule, self.margin)}"

    @property
    def asked(self) -> str:
        """What a floor asks for."""
        return f"{self.rule.row.show(self.rule.tolerance)} asked for{self.about}"


@dataclass(frozen=True)
class AnyLoss:
    """The losses of several cells, of which none may be beyond what is tolerated."""

    rule: Rule
    cells: Sequence[tuple[str, OneLoss]]
    same: bool

    @property
    def p_fail(self) -> float:
        """Of all cells together, by Bonferroni: each rule is one to Holm."""
        return min(1.0, len(self.cells) * min(self._ps))

    @cached_property
    def _ps(self) -> list[float]:
        """Of each cell; one that loses no more than is tolerated is not asked, as it can fail nothing."""
        return [cell.p_fail if cell.difference.mean > cell.margin else 1.0 for _, cell in self.cells]

    def decide(self, alpha: float, level: float, rejected: bool) -> Verdict:
        each = level / len(self.cells)
        ps = self._ps
        order = sorted(range(len(ps)), key=lambda i: (ps[i], -self.cells[i][1].difference.mean))
        key, worst = self.cells[order[0]]
        most = self._most(alpha)
        failed = tuple(self.cells[i][0] for i in order if ps[i] <= each) if rejected else ()
        difference, row = worst.difference, self.rule.row
        interval = Interval(difference.mean, difference.lower(each), most)
        verdict = Verdict(
            self.rule, "pass", "", worst.reference, worst.candidate, difference.mean, interval, worst.margin,
            difference.method, difference.n, worst.changed, difference.detectable(each, worst.margin),
            cell=key, failed=failed, each=difference.each,
        )  # fmt: skip
        whole = f"of {len(self.cells)} cells"
        if rejected:
            reason = f"in {key} {worst.lost(interval.low)}; {len(failed)} {whole} fail"
            return replace(verdict, state="fail", reason=reason)
        if self.same and difference.mean <= worst.margin:
            return replace(verdict, reason="the same network gives the same raw answers")
        beyond = sum(
            most > cell.margin and cell.difference.p_below(cell.margin) > alpha for _, cell in self.cells
        )
        if not beyond:
            told = (
                f"all {whole} are at least {amount(row, -most)} better than the {worst.asked}"
                if self.rule.floor
                else f"none {whole} loses more than {amount(row, most)}, and {tolerated(self.rule, worst.margin)}"
            )
            return replace(verdict, reason=told)
        if all(cell.equal for _, cell in self.cells) and difference.mean <= worst.margin:
            return replace(verdict, reason=_EQUAL)
        between = worst.between(interval._replace(high=difference.upper(alpha)))
        return replace(verdict, state="unsure", reason=f"{beyond} {whole} are unsure; in {key} {between}")

    def _most(self, alpha: float) -> float:
        """The largest of the cells' upper bounds; a cell whose bound is below the largest so far need not find it."""
        most = -math.inf
        for _, cell in sorted(self.cells, key=lambda named: -named[1].difference.mean):
            if most == -math.inf or cell.difference.p_below(most) > alpha:
                most = max(most, cell.difference.upper(alpha))
        return most


def find(rule: Rule, pair: Comparison) -> Finding | Verdict:
    """What a comparison says of a rule, of a floor its candidate alone; a verdict where it cannot be tested."""
    one = _floor if rule.floor else _one
    try:
        if not rule.any:
            keys = (
                [] if rule.cell is None else _matching(rule, [*pair.reference.cells, *pair.candidate.cells])
            )
            return one(rule, pair, pair.quantity(rule.metric, keys))
        keys = _matching(rule, [*pair.reference.named, *pair.candidate.named])
        found = [(key, one(rule, pair, pair.quantity(rule.metric, [key]))) for key in keys]
    except Incomparable as error:  # a number that nobody can have on these data
        return Verdict(rule, "missing", str(error))
    if not found:
        return Verdict(rule, "missing", f"neither record has a cell of {rule.target}")
    told = [verdict for _, verdict in found if isinstance(verdict, Verdict)]
    if told:
        gravest = max((verdict.state for verdict in told), key=GRAVITY.index)
        reasons = dict.fromkeys(verdict.reason for verdict in told if verdict.state == gravest)
        return Verdict(rule, gravest, _and_more(list(reasons)))
    cells = [(key, loss) for key, loss in found if isinstance(loss, OneLoss)]
    return AnyLoss(rule, cells, pair.same and not rule.floor)


def _floor(rule: Rule, pair: Comparison, quantity: Quantity) -> OneLoss | Verdict:
    candidate = pair.candidate
    if not quantity.keys:
        return Verdict(rule, "missing", f"the record has no cell of {rule.target}")
    for lacks in (pair.missing(quantity.cells), pair.absent(quantity)):
        if fault := [lack.told for lack in lacks if lack.who == "candidate"]:
            return Verdict(rule, "fail", _and_more(fault))
    value = candidate.value(quantity)
    if not math.isfinite(value):
        return Verdict(rule, "fail", f"{rule.target} has no value {quantity.valueless}")
    cells = {key: candidate.cells[key].values[quantity.of] for key in quantity.cells}
    n = candidate.cells[quantity.cells[0]].n
    scorer = candidate.terms.scorers[quantity.of]
    if untested := _untested(rule, scorer, n, candidate):
        return untested
    found = shortfall(quantity, scorer, cells, n, candidate.samples, rule.tolerance)
    if found is None:
        why = [told for told in pair.unkept(quantity) if "reference" not in told]
        return Verdict(rule, "missing", "; ".join(why) or "what is kept tells no interval of it")
    return OneLoss(
        rule,
        value,
        found,
        about=f", on average over sets of {n:,} such {candidate.terms.rows.sample}s"
        if scorer.kind == "set"
        else "",
    )


def _untested(rule: Rule, scorer: Scorer, n: int, side: Side) -> Verdict | None:
    """Why a number has no test: too few samples or runs, or it is not known which of them are alike."""
    samples, told, sample = side.samples, "", side.terms.rows.sample
    fewest = getattr(scorer, "fewest", 0)
    if n < fewest:
        told = f"{n} {sample}s say nothing certain of {scorer.names[0]}; {fewest} are the fewest that a gate takes"
    elif samples is None:
        if alike := side.record.suite.get("alike"):
            told = (
                f"{sample}s are alike in {alike}, and the arrays that say in which are not beside the record"
            )
    elif scorer.kind != "mean" and samples.groups is None and samples.runs is not None:
        told = f"{sample}s of one run are alike, and no groups (subjects) are known by which {scorer.names[0]} is told"
    return Verdict(rule, "missing", told) if told else None


def _one(rule: Rule, pair: Comparison, quantity: Quantity) -> OneLoss | Verdict:
    if not quantity.keys:
        return Verdict(rule, "missing", f"neither record has a cell of {rule.target}")
    lacks = pair.missing(quantity.cells)
    if not lacks:
        if differing := pair.differing(quantity.cells):
            return _incomparable(rule, differing)
        lacks = pair.absent(quantity)
    if lacks:
        return _lacking(rule, pair, lacks)
    reference, candidate = (side.value(quantity) for side in (pair.reference, pair.candidate))
    if not math.isfinite(candidate) or not math.isfinite(reference):
        alone = math.isfinite(reference)
        told = f"{rule.target} has no value {quantity.valueless}"
        return Verdict(rule, "fail" if alone else "missing", told)
    n = pair.candidate.cells[quantity.cells[0]].n
    if n < 2:
        return Verdict(rule, "missing", "one sample says nothing of a difference")
    if untested := _untested(rule, pair.terms.scorers[quantity.of], n, pair.candidate):
        return untested
    if unkept := pair.unkept(quantity):
        return Verdict(rule, "missing", "; ".join(unkept))
    loss = pair.loss(quantity)
    return OneLoss(
        rule,
        candidate,
        loss.difference,
        reference,
        loss.changed,
        pair.same,
        pair.same or pair.equal(quantity),
    )


def _incomparable(rule: Rule, differing: Sequence[str]) -> Verdict:
    told = "the reference answers another question: in the candidate "
    return Verdict(rule, "incomparable", told + _and_more(differing))


def _lacking(rule: Rule, pair: Comparison, lacks: Sequence[Lack]) -> Verdict:
    """What the candidate alone lacks is its fault; of what the reference lacks nobody can tell here.

    Where the reference answers another question, only the candidate's errors count.
    """
    theirs = {lack.key for lack in lacks if lack.who == "reference"}
    fault = [lack.told for lack in lacks if lack.key not in theirs]
    broken = any(lack.who == "candidate" and lack.key in pair.candidate.cells for lack in lacks)
    if pair.apart and not broken:
        return _incomparable(rule, pair.apart)
    return Verdict(rule, "fail" if fault else "missing", _and_more(fault or [lack.told for lack in lacks]))


def _matching(rule: Rule, keys: Sequence[str]) -> list[str]:
    """The keys, each once, of the cells that a rule names."""
    found = list(dict.fromkeys(keys))
    if rule.cell is None:
        return found
    if rule.cell == ():
        return ["clean"]
    wanted = set(rule.cell)
    return [key for key in found if wanted <= {tuple(part.split("=", 1)) for part in key.split(",")}]


def tolerated(rule: Rule, margin: float) -> str:
    """What may be lost, for people: "0.5 pp is tolerated"."""
    if rule.relative:
        return f"{amount(rule.row, margin)} ({100 * rule.tolerance:g} % of the reference) is tolerated"
    return f"{f'{rule.tolerance * rule.row.scale:g} {rule.row.apart}'.rstrip()} is tolerated"


def _and_more(told: Sequence[str]) -> str:
    return "; ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
