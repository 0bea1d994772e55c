"""A card's page: where its numbers come from, its cells, what it is worst at and what it loses first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robustbench_ms.records.record import Record
from robustbench_ms.records.terms import Terms
from robustbench_ms.site.seeds import means
from robustbench_ms.site.text import link
from robustbench_ms.specs.metrics import Metric

__all__ = ["card_of"]

_WORST = 5
_LOST = 10
_HALF = 0.5


def card_of(suite: str, mine: Sequence[Record]) -> dict[str, Any]:
    """Plain data of one card on one suite, its records being seeds of it; cells are means over the seeds."""
    first = mine[0]
    terms = Terms.of(first)
    metric = terms.rows.first
    values = means(mine, metric.name)
    clean = values.get("clean")
    keys = [key for key in (terms.every or tuple(values)) if key != "clean"]
    keys += [key for key in values if key not in keys and key != "clean"]
    return {
        "suite": suite,
        "metric": metric.title,
        "unit": metric.unit,
        "clean": None if clean is None else _shown(metric, clean),
        "grid": _grid(terms, metric, values),
        "worst": [
            {"cell": key, "value": _shown(metric, values[key])}
            for key in sorted((k for k in keys if k in values), key=lambda k: metric.sign * values[k])[
                :_WORST
            ]
        ],
        "first": _first_lost(terms, metric, values),
        "missing": [key for key in keys if key not in values],
        "errors": [
            f"{m.key}: {m.error}" for record in mine for m in record.measurements if m.error is not None
        ],
        "lost": [one for record in mine for one in [_lost(record, terms)] if one is not None],
        "records": [_provenance(record) for record in mine],
    }


def _shown(metric: Metric, value: float) -> str:
    return f"{value * metric.scale:.{min(metric.digits, 1) if metric.scale != 1 else metric.digits}f}"


def _grid(terms: Terms, metric: Metric, values: dict[str, float]) -> dict[str, Any] | None:
    """The cells of a matrix of two axes: a line a value of the first, a column a value of the second."""
    if len(terms.matrix) != 2:
        return None
    (one, lines), (two, columns) = terms.matrix.items()
    body = []
    for line in lines:
        found = [values.get(f"{one}={line},{two}={column}") for column in columns]
        if any(value is not None for value in found):
            body.append([str(line), *("missing" if v is None else _shown(metric, v) for v in found)])
    return {"head": [one, *(f"{two} {column}" for column in columns)], "body": body}


def _first_lost(terms: Terms, metric: Metric, values: dict[str, float]) -> list[str]:
    """Where half of the clean number is gone, at the earliest step of the second axis; [] where that has no meaning."""
    clean = values.get("clean")
    if len(terms.matrix) != 2 or clean is None or metric.sign < 0:
        return []
    (one, lines), (two, columns) = terms.matrix.items()
    for column in columns:
        found = [
            (value, f"{line} ({_shown(metric, value)} {metric.unit} at {two} {column})")
            for line in lines
            if (value := values.get(f"{one}={line},{two}={column}")) is not None and value < _HALF * clean
        ]
        if found:
            return [told for _, told in sorted(found)]
    return []


def _lost(record: Record, terms: Terms) -> dict[str, Any] | None:
    """The samples that are right when clean and wrong in most cells, by their place; None where no bits are kept."""
    samples = record.samples()
    if samples is None or record.cell("clean") is None or terms.scorers[terms.rows.first.name].kept != "bits":
        return None
    keys = [key for key in samples.keys if key != "clean"]
    if not keys or not samples.correct.size:
        return None
    wrong = np.array([~samples.row(key) for key in keys]).sum(axis=0)
    wrong = np.where(samples.row("clean"), wrong, -1)
    order = np.argsort(-wrong, kind="stable")[:_LOST]
    return {
        "name": record.name,
        "cells": len(keys),
        "samples": [{"place": int(i), "wrong": int(wrong[i])} for i in order if wrong[i] > 0],
    }


def _provenance(record: Record) -> dict[str, Any]:
    weights = record.card.get("weights") or {}
    told = {
        "record": record.path.name if record.path else "",
        "measured": record.started,
        "harness": record.made_with("version"),
        "commit": record.made_with("commit"),
        "PyTorch": record.made_with("torch"),
        "device": record.made_with("device"),
        "processor": record.made_with("cpu"),
        "digest": record.digest or "none (an older format)",
        "weights' SHA-256": str(weights.get("sha256") or ""),
        "weights": str(weights.get("file") or ""),
        "built by": str(record.card.get("build", "")),
        "source": str(record.card.get("source", "")),
        "licence": str(record.card.get("licence", "")),
    }
    return {
        "name": record.name,
        "facts": [{"name": name, "text": text} for name, text in told.items() if text],
        "command": record.command,
        "source": link(str(record.card.get("source", ""))),
        "warnings": [str(one) for one in record.health.get("warnings", ())],
    }
