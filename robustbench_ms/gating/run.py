"""The two ways into the gate: a record as it is, or models that are measured first."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from robustbench_ms.catalog.find import find_suite, suite_names
from robustbench_ms.catalog.registry import axes_of, measures_of, rows_of
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import Event, RecordDone, Trouble
from robustbench_ms.gating.judge import Case, Judgement, check, judge_all, ungated
from robustbench_ms.gating.limits import limited
from robustbench_ms.gating.references import Found, References
from robustbench_ms.gating.rules import Rule, example, parse_rules
from robustbench_ms.gating.speed import speeds
from robustbench_ms.gating.verdict import State, Verdict
from robustbench_ms.records.comparison import Side
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.records.terms import Terms
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite

__all__ = ["gate_models", "gate_record", "rules_of"]

Watch = Callable[[Iterable[Event]], Iterable[Event]]


def rules_of(suite: Suite, texts: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The rules that were given, else the suite's own; UserError where there is neither."""
    if not texts and not suite.gate:
        told = example(rows_of(suite.task)[suite.summary[0]])
        raise UserError(f"suite {suite.name} has no rules of its own; give one, as --rule {told}")
    untested = {name: s.untested for s in measures_of(suite.task) if not s.tested for name in s.names}
    try:
        rules = parse_rules(texts or suite.gate, rows_of(suite.task), axes_of(suite.matrix) or (), untested)
        return rules if texts else tuple(limited(rule, suite) for rule in rules)
    except UserError as error:
        if texts:
            raise
        raise type(error)(f"suite {suite.name}: gate: {error}") from error


def gate_record(
    path: Path,
    against: str | None,
    *,
    rules: Sequence[str] = (),
    alpha: float = 0.05,
    results: Path,
) -> Judgement:
    """Judge a record against a reference; nothing is measured, no torch is loaded."""
    record = read_record(path)
    terms = Terms.of(record)
    chosen = parse_rules(rules, terms.rows, terms.axes, terms.untested) if rules else _shipped_rules(record)
    check(chosen, alpha)
    with References(against, results) as references:
        found = references.find(str(record.suite["name"]), path.stem, path)
        return judge_all([_case(record, found)], chosen, alpha=alpha)[0]


def gate_models(
    suite: Suite,
    cards: Sequence[Card],
    against: str | None,
    places: Places,
    *,
    rules: Sequence[str] = (),
    alpha: float = 0.05,
    settings: Settings | None = None,
    watch: Watch = iter,
) -> list[Judgement]:
    """Load models, measure what the cache lacks, and judge each against its reference; writes no results.

    References are read before anything runs, and a model without one is measured only where a rule is a floor. `watch`
    passes the run's events on, and may draw them.
    """
    chosen = rules_of(suite, rules)
    check(chosen, alpha)
    subjects = [replicate for card in cards for replicate in card.replicates()]
    if not subjects:
        raise UserError("no model given; name one with -m")
    with (
        References(against, places.results) as references,
        tempfile.TemporaryDirectory(prefix="rbms-gate-") as scratch,
    ):
        if references.one_file and len(subjects) > 1:
            names = ", ".join(card.name for card in subjects)
            raise UserError(
                f"--against names one record, and {len(subjects)} are gated ({names}); name a folder"
            )
        found = {card.name: references.find(suite.label, card.file_name) for card in subjects}
        for one in found.values():
            for record in (one.record, one.first):
                if record is not None:
                    Side.of(record)
        floors = any(rule.floor for rule in chosen)
        wanted = [card for card in subjects if floors or found[card.name].record is not None]
        records: dict[str, Record] = {}
        stopped: dict[str, str] = {}
        if wanted:
            from robustbench_ms.evaluation.run import run

            kept = replace(places, results=Path(scratch))
            for event in watch(run(suite, wanted, kept, settings)):
                if isinstance(event, RecordDone):
                    records[event.record.name] = event.record
                elif isinstance(event, Trouble):
                    how = "it was stopped: " if event.stopped else ""
                    stopped[event.card] = f"{how}{event.message}"
        answered = [card for card in wanted if card.name in records]
        timed = speeds(chosen, answered, found, references, places, settings or Settings())
        cases = [
            replace(_case(records[name], one), speeds=timed.get(name, {}))
            for name, one in found.items()
            if name in records
        ]
        judged = {j.name: j for j in judge_all(cases, chosen, alpha=alpha)}
        for name in stopped.keys() & judged.keys():
            judged[name] = replace(judged[name], notes=(*judged[name].notes, stopped[name]))
        return [
            judged.get(name) or _without(name, one, chosen, alpha, stopped.get(name))
            for name, one in found.items()
        ]


def _case(record: Record, found: Found) -> Case:
    return Case(record, found.record, found.first, found.where)


def _without(name: str, found: Found, rules: Sequence[Rule], alpha: float, stopped: str | None) -> Judgement:
    """Of a model that gave no record: stopped it fails, and there is nothing to say of what lacks a reference."""
    state: State = "fail" if stopped else "missing"
    reason = stopped or f"there is nothing to compare with: {found.where}"
    verdicts = tuple(Verdict(rule, state, reason) for rule in rules)
    against = "nothing" if found.record is None else found.where
    return Judgement(name, against, alpha, verdicts, (), ungated(verdicts))


def _shipped_rules(record: Record) -> tuple[Rule, ...]:
    name = re.sub(r"(-limit\d+)?(-seed\d+)?$", "", str(record.suite["name"]))
    if name not in suite_names():
        raise UserError(
            f"suite {name!r} of this record is not shipped, so its rules are not known; give them with --rule"
        )
    return rules_of(find_suite(name).limited(record.suite.get("limit")))
