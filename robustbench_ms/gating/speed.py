"""The gate on speed: images/s over resnet18's in the same turns, the candidate's against its reference's.

Where the reference is another network than the candidate, both are timed here in one set of turns. Where it is the same
card, what can be built here is the candidate itself, so its committed profile of this device counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from robustbench_ms.catalog.trust import refuse_code
from robustbench_ms.errors import UserError
from robustbench_ms.gating.findings import Finding
from robustbench_ms.gating.references import Found, References
from robustbench_ms.gating.rules import Rule
from robustbench_ms.gating.verdict import Verdict
from robustbench_ms.records.profile import Row, slug
from robustbench_ms.records.record import Record
from robustbench_ms.specs.card import Card, Input, of_record
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.statistics.differences import Student
from robustbench_ms.statistics.intervals import Interval
from robustbench_ms.statistics.timings import slower

if TYPE_CHECKING:
    from robustbench_ms.profiling.run import Bench
    from robustbench_ms.profiling.subject import Subject

__all__ = ["BLOCKS", "Slowdown", "compare", "speeds"]

BLOCKS = 20
"""Turns of each model: half as many let a loss of a few per cent stay unsure."""
_NETWORK = ("build", "args", "input", "precision", "memory_format")
"""What of a card makes it another network, weights apart."""


@dataclass(frozen=True)
class Slowdown:
    """How much slower a candidate is, as a finding of its rule."""

    rule: Rule
    reference: float
    """Images/s over the yardstick's."""
    difference: Student
    """The log of how many times as slow the candidate is."""
    where: str
    """Whence the reference's times are, a clause."""

    @property
    def _tolerated(self) -> float:
        return math.inf if self.rule.tolerance >= 1 else -math.log1p(-self.rule.tolerance)

    @property
    def p_fail(self) -> float:
        """Against "no more is lost than is tolerated"."""
        return self.difference.p_above(self._tolerated)

    def decide(self, alpha: float, level: float, rejected: bool) -> Verdict:
        """The verdict: passing is tested at `alpha`, failing at `level`, at which it was `rejected` or not."""
        found = self.difference
        ends = (found.mean, found.lower(level), found.upper(alpha))
        interval = Interval(*(self.reference * -math.expm1(-end) for end in ends))
        verdict = Verdict(
            self.rule, "pass", "", self.reference, self.reference * math.exp(-found.mean), interval.mean, interval,
            self.rule.margin(self.reference), found.method,
        )  # fmt: skip
        mean, low, high = (-math.expm1(-end) for end in ends)
        told = f"and {self.rule.tolerance:.3g} of the reference's speed is tolerated ({self.where})"
        if rejected:
            return replace(verdict, state="fail", reason=f"it loses {mean:.1%}, at least {low:.1%}, {told}")
        if found.p_below(self._tolerated) <= alpha:
            kept = f"gains at least {-high:.1%}" if high < 0 else f"loses at most {high:.1%}"
            return replace(verdict, reason=f"it {kept}, {told}")
        return replace(
            verdict, state="unsure", reason=f"the loss lies between {low:.1%} and {high:.1%}, {told}"
        )


def compare(rule: Rule, candidate: Row, reference: Row, *, together: bool) -> Finding | Verdict:
    """What two rows say; `together` where they are of the same turns. Unsure where one of them may not decide."""
    where = (
        f"both timed here in {len(candidate.slowness)} blocks"
        if together
        else f"timed here in {len(candidate.slowness)} blocks, and {len(reference.slowness)} of the committed profile"
    )
    doubts = [
        f"the {who}: {doubt}"
        for who, row in (("candidate", candidate), ("reference", reference))
        for doubt in row.doubts
    ]
    old, new = (math.exp(-float(np.mean(row.slowness))) for row in (reference, candidate))
    if doubts:
        return Verdict(rule, "unsure", f"{'; '.join(doubts)} ({where})", old, new)
    difference = slower(candidate.slowness, reference.slowness, paired=together)
    return Slowdown(rule, old, difference, where)


def speeds(
    rules: Sequence[Rule],
    cards: Sequence[Card],
    found: Mapping[str, Found],
    references: References,
    places: Places,
    settings: Settings,
) -> dict[str, dict[str, Finding | Verdict]]:
    """{card: {target of a rule of speed: what its times say}}; {} of rules that ask for none. Writes nothing."""
    asked = [rule for rule in rules if rule.of_speed]
    if not asked:
        return {}
    from robustbench_ms.profiling.run import Bench
    from robustbench_ms.subjects.devices import find_device

    with Bench(find_device(settings.device), places, settings.threads) as bench:
        return {
            card.name: {
                rule.target: _found(rule, card, found[card.name], references, bench, trust=settings.trust)
                for rule in asked
            }
            for card in cards
        }


def _found(
    rule: Rule, card: Card, found: Found, references: References, bench: Bench, *, trust: bool
) -> Finding | Verdict:
    from robustbench_ms.evaluation.collect import described_card

    subject = bench.load(card)
    mine = described_card(subject.model)
    batch = int(dict(rule.cell or ()).get("batch", 1))
    if found.record is not None and any(found.record.card.get(name) != mine[name] for name in _NETWORK):
        reference = _card(found.record)
        try:
            # Who names the candidate trusts its code, under whatever arguments.
            refuse_code(reference, "the reference's record", trust=trust or reference.build == card.build)
        except UserError as error:
            kept = _committed(rule, subject, batch, references, bench)
            if isinstance(kept, Verdict) and kept.state == "missing":
                return replace(kept, reason=f"{kept.reason}; {error}")
            return kept
        try:
            other = bench.load(reference)
        except UserError:  # it cannot be built here, as of a callable in Python: its profile may be there
            pass
        else:
            return _together(rule, subject, other, batch, bench)
    return _committed(rule, subject, batch, references, bench)


def _card(record: Record) -> Card:
    """A record's card, without its weights."""
    told = record.card
    return Card(
        record.name, told["build"], args=told["args"], input=Input(**of_record(told["input"])),
        precision=told["precision"], memory_format=told["memory_format"], untrained=True,
    )  # fmt: skip


def _together(
    rule: Rule, candidate: Subject, reference: Subject, batch: int, bench: Bench
) -> Finding | Verdict:
    sides = [replace(candidate, name="candidate"), replace(reference, name="reference")]
    rows = _timed(sides, batch, None, bench)
    for who, row in rows.items():
        if (state := _unfit(rule, who, row, batch)) is not None:
            return state
    return compare(rule, rows["candidate"], rows["reference"], together=True)


def _committed(
    rule: Rule, subject: Subject, batch: int, references: References, bench: Bench
) -> Finding | Verdict:
    from robustbench_ms.profiling.machine import device_name

    device, precision = device_name(bench.environment), subject.model.card.precision
    again = f"rbms profile {subject.name} --batch {batch} on the reference"
    kept = references.profiles(subject.name)
    here = next((one for one in kept if slug(one.device) == slug(device)), None)
    if here is None:
        if kept:
            told = f"device {device} instead of {' and '.join(one.device for one in kept)}"
            return Verdict(rule, "incomparable", f"the committed profile is another machine's: {told}")
        return Verdict(rule, "missing", f"{subject.name} has no committed profile; make one by {again}")
    old = here.row((batch, precision, False, bench.environment.threads, False))
    if old is None or old.error is not None:
        others = [r.threads for r in here.rows if r.key[:3] == (batch, precision, False) and not r.train]
        if others and old is None:
            told = f"threads {bench.environment.threads} instead of {' and '.join(map(str, others))}"
            return Verdict(rule, "incomparable", f"the committed profile is of another setting: {told}")
        told = f"the committed profile has no times of batch {batch} in {precision}; make them by {again}"
        return Verdict(rule, "missing", told)
    rows = _timed([replace(subject, name="candidate")], batch, precision, bench)
    row = rows["candidate"]
    return _unfit(rule, "candidate", row, batch) or compare(rule, row, old, together=False)


def _timed(subjects: Sequence[Subject], batch: int, precision: str | None, bench: Bench) -> dict[str, Row]:
    from robustbench_ms.profiling.run import Timed
    from robustbench_ms.profiling.subject import Setting

    events: list[Any] = list(bench.time(subjects, Setting(batch, precision), BLOCKS, whole=False))
    return {event.name: event.row for event in events if isinstance(event, Timed)}


def _unfit(rule: Rule, who: str, row: Row, batch: int) -> Verdict | None:
    """Of a model that could not be called with the batch: a candidate fails, and of a reference nothing is known."""
    why = row.error or (None if row.batch == batch else f"memory is too small for a batch of {batch}")
    if why is None:
        return None
    return Verdict(rule, "fail" if who == "candidate" else "missing", f"the {who}: {why}")
