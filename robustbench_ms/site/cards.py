"""A card's page: where its numbers come from, its cells, what it is worst at and what it loses first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from robustbench_ms.records.record import Record
from robustbench_ms.records.terms import Terms
from robustbench_ms.site.lost import lost_of
from robustbench_ms.site.samples import AtHand
from robustbench_ms.site.seeds import means
from robustbench_ms.site.text import capital, link, shown_key
from robustbench_ms.specs.metrics import Metric

__all__ = ["card_of"]

_WORST = 5
_DRAWN = 6
"""So many of the lost samples are drawn."""
_HALF = 0.5


def card_of(suite: str, page: str, mine: Sequence[Record], at_hand: AtHand | None) -> dict[str, Any]:
    """Plain data of one card on one suite, its records being seeds of it; cells are means over the seeds.

    `page` is the suite's. `at_hand` gives ids and pictures of samples; None where none are wanted.
    """
    first = mine[0]
    terms = Terms.of(first)
    metric = terms.rows.first
    values = means(mine, metric.name)
    clean = values.get("clean")
    keys = [key for key in (terms.every or tuple(values)) if key != "clean"]
    keys += [key for key in values if key not in keys and key != "clean"]
    least = math.inf if clean is None else metric.sign * clean
    worse = [key for key in keys if key in values and metric.sign * values[key] < least]
    worst = sorted(worse, key=lambda k: metric.sign * values[k])[:_WORST]
    return {
        "suite": suite,
        "page": page,
        "metric": capital(metric.label),
        "unit": metric.unit,
        "clean": None if clean is None else _shown(metric, clean),
        "grid": _grid(terms, metric, values),
        "worst": [{"cell": shown_key(key), "value": _shown(metric, values[key])} for key in worst],
        "first": _first_lost(terms, metric, values),
        "missing": [key for key in keys if key not in values],
        "errors": [
            f"{m.key}: {m.error}" for record in mine for m in record.measurements if m.error is not None
        ],
        "lost": _lost(mine, terms, at_hand),
        "records": [_provenance(record) for record in mine],
    }


def _shown(metric: Metric, value: float) -> str:
    return f"{value * metric.scale:.{min(metric.digits, 1) if metric.scale != 1 else metric.digits}f}"


def _grid(terms: Terms, metric: Metric, values: dict[str, float]) -> dict[str, Any] | None:
    """The cells of a matrix of two axes: a line a value of the first, a column a value of the second.

    Each has the part of the clean number that it has lost, 0 to 1, by which it is shaded; 0 where that has no meaning.
    """
    if len(terms.matrix) != 2:
        return None
    (one, lines), (two, columns) = terms.matrix.items()
    clean = values.get("clean", 0.0) if metric.sign > 0 else 0.0
    body: list[dict[str, Any]] = []
    for line in lines:
        found = [values.get(f"{one}={line},{two}={column}") for column in columns]
        if any(value is not None for value in found):
            cells = [
                {"text": "missing", "lost": 0}
                if v is None
                else {"text": _shown(metric, v), "lost": round(max(0, 1 - v / clean), 2) if clean > 0 else 0}
                for v in found
            ]
            body.append({"name": str(line), "cells": cells})
    return {
        "head": [one, *(f"{two} {column}" for column in columns)],
        "body": body,
        "shaded": any(one["lost"] for line in body for one in line["cells"]),
    }


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


def _lost(mine: Sequence[Record], terms: Terms, at_hand: AtHand | None) -> dict[str, Any]:
    """The samples that are lost most, by id where their data are here and else by row, the first few drawn."""
    found = lost_of(mine, terms)
    if found is None:
        return {"about": "", "drawn": [], "others": []}
    samples, first = [], mine[0]
    for i, one in enumerate(found):
        number = None if at_hand is None else at_hand.id_of(first, one.place)
        name = f"row {one.place}" if number is None else f"id {number}"
        pictures = []
        for key in ("clean", one.cell) if number is not None and i < _DRAWN else ():
            file = None if at_hand is None else at_hand.picture(first, one.place, key)
            if file is not None:
                pictures.append({"file": file, "told": f"{name}, {shown_key(key)}"})
        samples.append({"name": name, "told": one.told, "pictures": pictures})
    seeds = f" in all {len(mine)} seeds" if len(mine) > 1 else ""
    drawn = [one for one in samples if one["pictures"]]
    shown = " Drawn: clean, and under the weakest condition under which an answer is wrong." if drawn else ""
    return {
        "about": f"Right when clean{seeds}, and wrong most often under what makes them worse.{shown}",
        "drawn": drawn,
        "others": [one for one in samples if not one["pictures"]],
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
