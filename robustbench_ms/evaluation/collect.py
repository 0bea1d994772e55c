"""From finished cells to a record, in the suite's order, so that it does not matter when each was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, time
from typing import Any

import numpy as np

from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.evaluation.cells import FinishedCell
from robustbench_ms.evaluation.jobs import Conditions
from robustbench_ms.evaluation.store import Report
from robustbench_ms.records.record import Environment, Measurement, Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.upgrades import GROUPS
from robustbench_ms.specs.card import Input
from robustbench_ms.specs.conditions import Condition, key
from robustbench_ms.subjects.identity import digest
from robustbench_ms.subjects.loading import Model

__all__ = ["collect", "described_card"]

Rows = Sequence[tuple[Condition, Mapping[str, Any], FinishedCell | None]]
"""Condition, readable fields of its protocol, and the finished cell if there is one."""


def collect(
    shown: Conditions,
    report: Report,
    rows: Rows,
    failure: tuple[str, str] | None,
    started: str,
) -> tuple[Record, Samples]:
    """The record of one card and its per-sample arrays; a cell that is neither finished nor failed is left out.

    `failure` is the key of the cell at which the card was stopped, and why. No model is loaded.
    """
    shared = {
        name: value
        for name, value in rows[0][1].items()
        if all(name in fields and fields[name] == value for _, fields, _ in rows)
    }
    environments: list[Environment] = []
    measurements = []
    for condition, fields, cell in rows:
        # A cell that failed here and was finished elsewhere, by the same subject, is finished.
        error = None
        if cell is None:
            if failure is None or failure[0] != key(condition):
                continue
            error = failure[1]
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
        assumed = f" (input: {Input(**_tuples(report.card['input'])).describe()})"
        warnings += [doubt + assumed for doubt in shown.task.doubts(clean.values, facts)]
    suite = shown.suite
    record = Record(
        suite={
            "name": suite.label,
            "summary": list(suite.summary),
            "protocol": shared,
            "matrix": {axis: _plain(values) for axis, values in suite.matrix.items()},
            "groups": {name: group for name, group in GROUPS.items() if group["axis"] in suite.matrix},
            "limit": suite.limit,
            "seed": suite.seed,
        },
        card=report.card,
        subject={"digest": report.subject, **report.fields},
        health={"warnings": warnings, "nondeterministic": report.nondeterministic},
        environments=tuple(environments) or (report.environment,),
        started=started,
        measurements=tuple(measurements),
        task=suite.task,
        measures=dict.fromkeys((name for m in measurements for name in (*m.values, *m.absent)), 1),
    )
    return record, _samples(rows)


def _tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}


def described_card(model: Model) -> dict[str, Any]:
    """A card as its record has it, its input completed; plain data."""
    card = model.card
    build = card.build if isinstance(card.build, str) else _spelled(card.build)
    weights = card.weights[0] if card.weights else None
    told = {
        "name": card.name,
        "build": build,
        "args": dict(card.args),
        "input": asdict(card.input),
        "precision": card.precision,
        "memory_format": card.memory_format,
        "untrained": card.untrained,
        "weights": None
        if weights is None
        else {"file": weights.file.rpartition("/")[2], "sha256": model.weights_sha256, "seed": weights.seed},
        "published": [asdict(p) for p in card.published],
        "source": card.source,
        "licence": card.licence,
    }
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


def _samples(rows: Rows) -> Samples:
    """One bit a sample and cell; NLL and Brier score clean, and averaged over the common corruptions' cells."""
    done = [(condition, cell) for condition, _, cell in rows if cell is not None]
    if not done:
        return Samples((), np.zeros((0, 0), dtype=bool), {})
    correct = np.stack([cell.outcomes.samples["correct"] for _, cell in done])
    groups = {
        "clean": [cell for condition, cell in done if not condition],
        "corrupted": [cell for condition, cell in done if dict(condition).get("corruption") in COMMON],
    }
    scores = {}
    for group, cells in groups.items():
        for name in ("nll", "brier") if cells else ():
            total = np.zeros(correct.shape[1])
            for cell in cells:
                total += cell.outcomes.samples[name]
            scores[f"{name}_{group}"] = (total / len(cells)).astype(np.float16)
    return Samples(tuple(key(condition) for condition, _ in done), correct, scores)
