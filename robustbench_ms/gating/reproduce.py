"""Measure again, and say for each number whether it came out the same."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Literal

import numpy as np

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import RecordDone, Trouble
from robustbench_ms.gating.answering import card_of, pairs_of
from robustbench_ms.gating.run import Watch
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.records.record import Measurement, Record, read_record
from robustbench_ms.records.suites import suite_of
from robustbench_ms.records.summary import interval_of, summarise
from robustbench_ms.specs.card import Card, Published
from robustbench_ms.specs.conditions import conditions, key
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from robustbench_ms.statistics.intervals import Interval, Z

__all__ = ["Number", "Reproduction", "compare_published", "compare_records", "describe", "reproduce"]

State = Literal["equal", "within interval", "outside", "missing", "incomparable"]
GOOD = ("equal", "within interval")


@dataclass(frozen=True)
class Number:
    """One number, then and now."""

    where: str
    """The cell, or the source that published it."""
    metric: str
    then: float
    now: float | None
    interval: Interval | None
    """The 95 % interval that it is held to: of the record's number, or of ours where a bare number was published."""
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Reproduction:
    """What became of one model's numbers."""

    name: str
    numbers: tuple[Number, ...]
    changed: tuple[int, int] | None = None
    """Answers that are right in one and wrong in the other, and answers in all; None where bits are missing."""
    notes: tuple[str, ...] = ()
    rows: Mapping[str, Metric] = field(default_factory=dict)
    """How its numbers are read, by name."""

    @property
    def counts(self) -> dict[str, int]:
        """How many numbers came to each state."""
        return dict(Counter(number.state for number in self.numbers))

    @property
    def reproduced(self) -> bool:
        """Whether every number is equal or within its interval."""
        return bool(self.numbers) and all(number.state in GOOD for number in self.numbers)


def reproduce(
    target: str,
    places: Places,
    *,
    models: Sequence[str] = (),
    weights: Path | None = None,
    suite: str | None = None,
    annotations: str | None = None,
    corruptions: str | None = None,
    labels: str | None = None,
    white: float | None = None,
    published: bool = False,
    limit: int | None = None,
    seed: int | None = None,
    cells: int | None = None,
    settings: Settings | None = None,
    watch: Watch = iter,
) -> list[Reproduction]:
    """Measure a record, or all the records of a suite, again from nothing: no finished cell is reused.

    `cells` measures so many cells of each record, which its digest chooses: who wrote it could not know which.
    `models` names the cards where the records' names do not, or picks some of a suite's; `weights` is the file of a
    record's model that was measured with weights of its own. `suite` names the suite of a record whose own is not
    shipped; a folder is shown as the record says. `annotations`, `corruptions`, `labels` and `white` are a folder's, as
    `find_suite` takes them. `published` compares with the figures that the cards cite, not with records. A card that
    only a record names runs no stranger's code, unless `settings` trust it: UserError.
    """
    if cells is not None and (published or cells < 1):
        raise UserError("--cells is a number of a record's cells, 1 or more; --published has no record")
    trust = settings is not None and settings.trust
    pairs: list[tuple[Card, Record | None]]
    if target.endswith(".json"):
        record = read_record(Path(target))
        if not (limit is None and seed is None and corruptions is None):
            raise UserError("--limit, --seed and --corruptions are those of the record")
        chosen = suite_of(record, suite, annotations=annotations, labels=labels, white=white, places=places)
        if len(models) > 1:
            raise UserError(f"one record is one model, and {len(models)} are given with -m")
        pairs = [(card_of(record, models[0] if models else None, weights, trust=trust), record)]
    else:
        if suite is not None:
            raise UserError("--suite is for a record; the suite is named already")
        if weights is not None:
            raise UserError("--weights is for one record; name its file")
        chosen = find_suite(
            target,
            annotations=annotations,
            corruptions=corruptions,
            labels=labels,
            white=white,
            places=places,
        ).limited(limit, seed)
        pairs = pairs_of(models, places.results / chosen.label, published=published, trust=trust)
    if cells is not None:
        return [
            _some(record, card, chosen, cells, places, settings, watch)
            for card, record in pairs
            if record is not None
        ]
    if published:
        return _published(chosen, [card for card, _ in pairs], places, settings, watch)
    with tempfile.TemporaryDirectory(prefix="rbms-reproduce-") as scratch:
        again, stopped = _measure(chosen, [card for card, _ in pairs], places, scratch, settings, watch)
        return [
            compare_records(record, again[card.name])
            if record is not None and card.name in again
            else Reproduction(
                card.name, (), notes=(f"it was stopped: {stopped.get(card.name, 'no record')}",)
            )
            for card, record in pairs
        ]


def _some(
    record: Record,
    card: Card,
    suite: Suite,
    cells: int,
    places: Places,
    settings: Settings | None,
    watch: Watch,
) -> Reproduction:
    """So many of a record's cells, each measured by itself."""

    def place(one: Measurement) -> str:
        return hashlib.sha256(f"{record.digest}:{one.key}".encode()).hexdigest()

    found: list[Reproduction] = []
    for one in sorted((m for m in record.measurements if m.error is None), key=place)[:cells]:
        condition = next((c for c in conditions(suite) if key(c) == one.key), None)
        if condition is None:
            raise UserError(
                f"the record of {record.name} has the cell {one.key}, and suite {suite.name} has none such"
            )
        only = replace(
            suite, matrix={axis: (value,) for axis, value in condition}, also=() if condition else ("clean",)
        )
        with tempfile.TemporaryDirectory(prefix="rbms-reproduce-") as scratch:
            again, stopped = _measure(only, [card], places, scratch, settings, watch)
            if card.name not in again:
                return Reproduction(
                    card.name, (), notes=(f"it was stopped: {stopped.get(card.name, 'no record')}",)
                )
            found.append(compare_records(record, again[card.name], [one.key]))
    changes = [one.changed for one in found if one.changed is not None]
    return Reproduction(
        record.name,
        tuple(number for one in found for number in one.numbers),
        (sum(c for c, _ in changes), sum(n for _, n in changes)) if len(changes) == len(found) else None,
        tuple(dict.fromkeys(note for one in found for note in one.notes)),
        found[0].rows if found else {},
    )


def compare_records(then: Record, now: Record, cells: Sequence[str] | None = None) -> Reproduction:
    """Each number of a record, or of some of its cells, against the same number measured again."""
    pair = Comparison.of(now, then)
    measured = [m for m in then.measurements if m.error is None and (cells is None or m.key in cells)]
    numbers = [number for m in measured for number in _cell(m, pair)]
    first = pair.terms.rows.first.name
    mine, theirs = (side.bits(first, [m.key for m in measured]) for side in (pair.candidate, pair.reference))
    changed = None
    if mine is not None and theirs is not None and mine.shape == theirs.shape:
        changed = (int(np.count_nonzero(mine != theirs)), mine.size)
    notes = []
    if then.subject["digest"] != now.subject["digest"]:
        same = then.subject.get("weights") == now.subject.get("weights")
        notes.append("the same weights give other raw answers here" if same else "the weights are others")
    for name in ("torch", "device", "cpu"):
        before, after = then.made_with(name), now.made_with(name)
        if before != after:
            notes.append(f"{name} is {after}, then {before}")
    return Reproduction(then.name, tuple(numbers), changed, tuple(notes), pair.reference.terms.rows)


def _cell(then: Measurement, pair: Comparison) -> list[Number]:
    now = pair.candidate.cells.get(then.key)
    state: State | None = None
    reason = ""
    if now is None or now.error is not None:
        state, reason = "missing", "no such cell" if now is None else str(now.error)
    elif differing := pair.differing([then.key]):
        state, reason = "incomparable", "; ".join(differing)
    numbers = []
    for metric, value in then.values.items():
        before = value["mean"]
        if state is not None or now is None:
            numbers.append(Number(then.key, metric, before, None, None, state or "missing", reason))
            continue
        scorer = pair.reference.terms.scorers.get(metric)
        if metric not in now.values or scorer is None:
            numbers.append(Number(then.key, metric, before, None, None, "missing", "no such metric"))
            continue
        quantity = pair.reference.terms.quantity(metric, [then.key])
        if scorer.kept == "sums":  # its interval is of the model's own error, and these are the same images
            half = Z * value["stderr"]
            interval = Interval(before, before - half, before + half)
        else:
            interval = interval_of(quantity, scorer, {then.key: value}, then.n, pair.reference.samples)
        numbers.append(_number(then.key, metric, before, now.values[metric]["mean"], interval))
    return numbers


def _number(where: str, metric: str, then: float, now: float, interval: Interval) -> Number:
    inside = interval.low <= now <= interval.high
    state: State = "equal" if now == then else "within interval" if inside else "outside"
    return Number(where, metric, then, now, interval, state)


def compare_published(figures: Sequence[Published], now: Record) -> Reproduction:
    """The figures that a card cites against our own: equal where ours rounds to theirs, else by our 95 % interval."""
    numbers = []
    for figure in figures:
        try:
            interval = summarise(now, (figure.metric,))[figure.metric]
        except UserError as error:
            numbers.append(
                Number(figure.source, figure.metric, figure.value, None, None, "missing", str(error))
            )
            continue
        # 0.9 may have been 0.900: what ends in zeros is held to three digits.
        digits = max(3, -int(Decimal(repr(figure.value)).as_tuple().exponent))
        rounded = math.isclose(round(interval.mean, digits), figure.value, abs_tol=1e-12)
        state: State = (
            "equal"
            if rounded
            else "within interval"
            if interval.low <= figure.value <= interval.high
            else "outside"
        )
        numbers.append(Number(figure.source, figure.metric, figure.value, interval.mean, interval, state))
    return Reproduction(now.name, tuple(numbers), rows=rows_of(now.task))


def _published(
    suite: Suite,
    cards: Sequence[Card],
    places: Places,
    settings: Settings | None,
    watch: Watch,
) -> list[Reproduction]:
    told = {card.name: [p for p in card.published if p.on in {suite.name, suite.dataset}] for card in cards}
    summaries = rows_of(suite.task).summaries
    told = {
        name: [
            p
            for p in figures
            if p.metric in summaries and (suite.matrix or {*summaries[p.metric].over} <= {*suite.also})
        ]
        for name, figures in told.items()
    }
    wanted = [card for card in cards if told[card.name]]
    if not wanted:
        names = ", ".join(card.name for card in cards)
        raise UserError(f"{names}: no published figure is about suite {suite.name}")
    with tempfile.TemporaryDirectory(prefix="rbms-reproduce-") as scratch:
        again, stopped = _measure(suite, wanted, places, scratch, settings, watch)
        return [
            compare_published(told[card.name], again[card.name])
            if card.name in again
            else Reproduction(card.name, (), notes=(f"it was stopped: {stopped.get(card.name)}",))
            for card in wanted
        ]


def _measure(
    suite: Suite,
    cards: Sequence[Card],
    places: Places,
    scratch: str,
    settings: Settings | None,
    watch: Watch,
) -> tuple[dict[str, Record], dict[str, str]]:
    from robustbench_ms.evaluation.run import run

    empty = replace(places, results=Path(scratch) / "results", cache=Path(scratch) / "cache")
    records, stopped = {}, {}
    for event in watch(run(suite, cards, empty, settings)):
        if isinstance(event, RecordDone):
            records[event.record.name] = event.record
        elif isinstance(event, Trouble):
            stopped[event.card] = event.message
    return records, stopped


def describe(one: Reproduction, *, most: int = 10) -> str:
    """A few lines for people: how many came to each state, and those that did not come out."""
    total = len(one.numbers)
    told = ", ".join(f"{one.counts[state]:,} {state}" for state in _ORDER if state in one.counts)
    lines = [f"{one.name}: {total:,} numbers{f': {told}' if told else ''}"]
    if one.changed is not None:
        lines[0] += f"; {one.changed[0]:,} of {one.changed[1]:,} answers changed"
    bad = [number for number in one.numbers if number.state not in GOOD]
    lines += [f"  {_line(number, one.rows)}" for number in bad[:most]]
    if len(bad) > most:
        lines.append(f"  and {len(bad) - most:,} more")
    if total <= most:
        lines += [f"  {_line(number, one.rows)}" for number in one.numbers if number.state in GOOD]
    lines += [f"  note: {note}" for note in one.notes]
    return "\n".join(lines)


_ORDER: tuple[State, ...] = ("equal", "within interval", "outside", "missing", "incomparable")


def _line(number: Number, rows: Mapping[str, Metric]) -> str:
    name = number.metric
    metric = rows[name] if name in rows else Metric(name, name, "", "higher", 3, "of another version")
    head = f"{number.where}: {metric.name} {metric.show(number.then)}"
    if number.now is None:
        return f"{head}: {number.state} ({number.reason})"
    shown = ""
    if number.interval is not None:
        low, high = (f"{end * metric.scale:.{metric.digits}f}" for end in number.interval[1:])
        shown = f" ({low} to {high})"
    return f"{head}, now {metric.show(number.now)}: {number.state}{shown}"
