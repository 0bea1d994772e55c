"""From finished cells to a record, in the suite's order, so that it does not matter when each was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import axes_of, measures_of, rows_of
from robustbench_ms.datasets.protocol import DataFacts
from robustbench_ms.evaluation.cells import FinishedCell, load_truth
from robustbench_ms.evaluation.jobs import Conditions
from robustbench_ms.evaluation.store import Report
from robustbench_ms.records.record import Environment, Measurement, Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.specs.card import Input, Output, of_record
from robustbench_ms.specs.conditions import Condition, key
from robustbench_ms.subjects.identity import digest
from robustbench_ms.subjects.loading import Model
from robustbench_ms.tasks.measure import Counts, Mean, Scorer, Whole, cell_values, numbers_of

__all__ = ["collect", "described_card"]

Rows = Sequence[tuple[Condition, Mapping[str, Any], FinishedCell | None]]
"""Condition, readable fields of its protocol, and the finished cell if there is one."""


def collect(
    shown: Conditions,
    report: Report,
    rows: Rows,
    errors: Mapping[str, str],
    started: str,
) -> tuple[Record, Samples]:
    """The record of one card and its per-sample arrays; a cell that is neither finished nor failed is left out.

    `errors` say of cells that came to nothing, by key, why. No model is loaded.
    """
    rows = [(asked, fields, cell and _of_today(shown, asked, cell)) for asked, fields, cell in rows]
    shared = {
        name: value
        for name, value in rows[0][1].items()
        if all(name in fields and fields[name] == value for _, fields, _ in rows)
    }
    environments: list[Environment] = []
    measurements = []
    for condition, fields, cell in rows:
        # A cell that failed here and was finished elsewhere, by the same subject, is finished.
        error: str | None = None
        if cell is None:
            error = errors.get(key(condition))
            if error is None:
                continue
        environment = report.environment if cell is None or cell.environment is None else cell.environment
        if environment not in environments:
            environments.append(environment)
        measurements.append(
            Measurement(
                key=key(condition),
                protocol=digest(fields),
                condition={name: value for name, value in fields.items() if name not in shared},
                values=cell.values if cell else {},
                n=cell.n if cell else 0,
                seconds=cell.seconds if cell else {},
                error=error,
                absent=cell.absent if cell else {},
                environment=environments.index(environment),
            )
        )
    warnings = list(report.warnings)
    clean = next((cell for condition, _, cell in rows if not condition and cell), None)
    if clean is not None:
        facts = shown.data(shown.conditions[0]).facts
        assumed = f" (input: {Input(**of_record(report.card['input'])).describe()})"
        warnings += [doubt + assumed for doubt in shown.task.doubts(clean.values, facts)]
        warnings += _of_truth(shown, facts.digest)
        warnings += _of_output(shown, Output(**of_record(report.card.get("output", {}))))
    suite = shown.suite
    record = Record(
        suite={
            "name": suite.label,
            "summary": list(suite.summary),
            "protocol": shared,
            "matrix": {axis: _plain(values) for axis, values in suite.matrix.items()},
            "groups": {
                group: {"axis": axis.name, "values": list(values)}
                for axis in (axes_of(suite.matrix) or () if suite.matrix else ())
                for group, values in axis.groups.items()
            },
            "limit": suite.limit,
            "seed": suite.seed,
            **_of_samples(shown),
        },
        card=report.card,
        subject={
            "digest": report.subject,
            **report.fields,
            **({} if report.cells == report.subject else {"cells": report.cells}),
        },
        health={"warnings": warnings, "nondeterministic": report.nondeterministic},
        environments=tuple(environments) or (report.environment,),
        started=started,
        measurements=tuple(measurements),
        task=suite.task,
        measures=numbers_of(measures_of(suite.task)),
    )
    return record, _samples(shown, rows)


def _of_samples(shown: Conditions) -> dict[str, Any]:
    """By what differences are told where samples are alike, and the classes by which answers are counted."""
    facts = shown.data(shown.conditions[0]).facts
    told: dict[str, Any] = {}
    if facts.runs is not None:
        told["alike"] = f"runs of one {'class' if facts.groups is None else 'group and class'}"
    elif facts.groups is not None:
        told["alike"] = "groups"
    if facts.names and any(_counting(measures_of(shown.suite.task))):
        told["classes"] = list(facts.names)
    return told


def _of_truth(shown: Conditions, data: str) -> list[str]:
    """What the scorers find odd about what is true of the data, of those that look at it."""
    asking = [one.doubts for one in measures_of(shown.suite.task) if hasattr(one, "doubts")]
    truth = load_truth(shown.places.cache / "truths", data, len(shown.first.ids)) if asking else None
    return [] if truth is None else [doubt for doubts in asking for doubt in doubts(truth)]


def _of_output(shown: Conditions, output: Output) -> list[str]:
    """What the scorers miss in what a card gives them, of those that look at it."""
    asking = [one.lacks for one in measures_of(shown.suite.task) if hasattr(one, "lacks")]
    return [lack for lacks in asking for lack in lacks(output)]


def _of_today(shown: Conditions, condition: Condition, cell: FinishedCell) -> FinishedCell:
    """The cell with the values of today's measures, made again of its outcomes where a measure's number was raised.

    A measure is absent where what it needs beside the outcomes is not in the cache.
    """
    scorers = measures_of(shown.suite.task)
    today = numbers_of(scorers)
    raised = [one for one in scorers if any(cell.measures.get(name) != one.number for name in one.names)]
    if not raised:
        return cell
    facts = shown.data(condition).facts
    truth = load_truth(shown.places.cache / "truths", facts.digest, facts.n)
    other = {name for scorer in raised for name in scorer.names} | {*cell.measures} - {*today}
    values = {name: value for name, value in cell.values.items() if name not in other}
    absent = {name: why for name, why in cell.absent.items() if name not in other}
    kept = {name: rows for name, rows in cell.kept.items() if name.partition("/")[0] not in other}
    for scorer in raised:
        try:
            found = cell_values([scorer], cell.outcomes, truth, facts.ids, facts.groups)
        except Exception:  # noqa: BLE001 - whatever a measure does without what it needs
            why = "its measure has changed, and its cell does not hold what that needs"
            absent |= dict.fromkeys(scorer.names, why)
            continue
        values, absent, kept = values | found[0], absent | found[1], kept | found[2]
    return replace(cell, values=values, absent=absent, kept=kept, measures=today)


def described_card(model: Model) -> dict[str, Any]:
    """A card as its record has it, its input completed; plain data."""
    card = model.card
    build = card.build if isinstance(card.build, str) else _spelled(card.build)
    weights = card.weights[0] if card.weights else None
    told = {
        "name": card.name,
        "build": build,
        "args": dict(card.args),
        "input": card.input.described,
        "precision": card.precision,
        "memory_format": card.memory_format,
        "untrained": card.untrained,
        "weights": None
        if weights is None
        else {"file": weights.file.rpartition("/")[2], "sha256": model.weights_sha256, "seed": weights.seed}
        | ({} if model.weights_key is None else {"key": model.weights_key}),
        "published": [asdict(p) for p in card.published],
        "source": card.source,
        "licence": card.licence,
    }
    if card.output != Output():
        told["output"] = card.output.described
    plain: dict[str, Any] = _plain(told)
    return plain


def _spelled(build: Any) -> str:
    kind = build if hasattr(build, "__qualname__") else type(build)
    return f"{kind.__module__}:{kind.__qualname__}"


def _plain(value: Any) -> Any:
    """As JSON will have it, so that a record equals itself after a round trip; what JSON has no word for is spelled.

    Arguments may be anything: a date from TOML, a class or a function from Python. None may stop a run at its end.
    """
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value) if isinstance(value, (float, date, time)) else _spelled(value)


def _samples(shown: Conditions, rows: Rows) -> Samples:
    """What the task's measures keep: bits a sample and cell, scores clean and over cells, replicates, sums."""
    done = [(condition, cell) for condition, _, cell in rows if cell is not None]
    if not done:
        return Samples((), np.zeros((0, 0), dtype=bool), {})
    scorers = measures_of(shown.suite.task)
    correct = np.zeros((len(done), 0), dtype=bool)
    scores: dict[str, NDArray[np.floating[Any]]] = {}
    tables: dict[str, NDArray[Any]] = {}
    for scorer in scorers:
        # A cell of before a measure's number was raised may lack what the measure is of now.
        whole = isinstance(scorer, Mean) and all(scorer.column in cell.outcomes.samples for _, cell in done)
        if isinstance(scorer, Mean) and scorer.kept == "bits" and whole:
            name = scorer.array("bits")
            bits = np.stack([cell.outcomes.samples[scorer.column].astype(bool) for _, cell in done])
            if name == "correct":
                correct = bits
            else:
                tables[name] = bits
    groups = {"clean": [cell for condition, cell in done if not condition]}
    for axis in axes_of(shown.suite.matrix) or ():
        for group, values in axis.groups.items():
            groups[group] = [cell for condition, cell in done if dict(condition).get(axis.name) in values]
    for group, cells in groups.items():
        for scorer in scorers if cells else ():
            if not isinstance(scorer, Mean) or any(
                scorer.column not in c.outcomes.samples or scorer.name in c.absent for c in cells
            ):
                continue
            if scorer.kept == "scores" and _asked(shown, scorer.name, group):
                total = np.zeros(cells[0].n)
                for cell in cells:
                    total += cell.outcomes.samples[scorer.column]
                scores[scorer.array(group)] = _short(total / len(cells))
    facts = shown.data(shown.conditions[0]).facts
    tables |= _of_cells(shown, done) | _counts(shown, done, facts)
    return Samples(
        tuple(key(condition) for condition, _ in done), correct, scores, tables, facts.groups, facts.runs
    )


def _counting(scorers: Sequence[Scorer]) -> Iterator[tuple[str, Counts]]:
    """The measures that count answers, with how they do."""
    for scorer in scorers:
        if isinstance(scorer, Whole) and scorer.counts is not None:
            yield scorer.names[0], scorer.counts


def _counts(
    shown: Conditions, done: Sequence[tuple[Condition, FinishedCell]], facts: DataFacts
) -> dict[str, NDArray[Any]]:
    """{"<measure>/counts": int64 (cells, classes, classes)}; {} where what is true of the data is not in the cache."""
    counting = dict(_counting(measures_of(shown.suite.task)))
    truth = load_truth(shown.places.cache / "truths", facts.digest, facts.n) if counting else None
    if truth is None:
        return {}
    return {
        f"{name}/counts": np.stack([counts(cell.outcomes, truth, facts.classes) for _, cell in done])
        for name, counts in counting.items()
    }


def _short(scores: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
    """In float16; as they are where one is too large for it: logits of 1e30 give such scores."""
    return scores if (np.abs(scores) > np.finfo(np.float16).max).any() else scores.astype(np.float16)


def _asked(shown: Conditions, measure: str, group: str) -> bool:
    """Whether a summary of the task is over that group's values of the measure."""
    rows = rows_of(shown.suite.task).summaries.values()
    return any(row.of == measure and group in row.over for row in rows)


def _of_cells(shown: Conditions, done: Sequence[tuple[Condition, FinishedCell]]) -> dict[str, NDArray[Any]]:
    """{"<measure>/replicates": (cells, R)} and {"<measure>/sums": (cells, ...)}; NaN where a cell has none."""
    names = [
        f"{name}/{scorer.kept}"
        for scorer in measures_of(shown.suite.task)
        if scorer.kept in {"replicates", "sums"}
        for name in scorer.names
    ]
    none = {
        name: np.full_like(cell.kept[name], np.nan) for _, cell in done for name in names if name in cell.kept
    }
    return {name: np.stack([cell.kept.get(name, nan) for _, cell in done]) for name, nan in none.items()}
