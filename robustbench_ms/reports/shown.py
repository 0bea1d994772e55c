"""One record for people and for programs: who answered what, its cells, and what is odd about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Protocol

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.summary import interval_of, summarise
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.confusions import confusions, confusions_markdown
from robustbench_ms.reports.markdown import escape, grid
from robustbench_ms.reports.numbers import heading, number, plain
from robustbench_ms.reports.time_split import time_split
from robustbench_ms.specs.card import windows_told
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval

__all__ = ["cell_title", "parts_json", "parts_markdown", "record_json", "record_markdown"]


class Part(Protocol):
    """Some of the samples, and what is measured on them alone."""

    @property
    def name(self) -> str: ...

    @property
    def n(self) -> int: ...

    @property
    def values(self) -> Mapping[str, Mapping[str, float]]:
        """{cell: {metric: value}}."""


Parts = Mapping[str, Sequence[Part]]
"""By each way in which the data part."""


def record_json(record: Record) -> dict[str, Any]:
    """All of a record that is for reading: its facts, every measured number with its 95 % interval, its summaries."""
    samples, terms = record.samples(), Terms.of(record)
    summaries, missing = _summaries(record)
    return {
        "kind": "record",
        "path": str(record.path),
        "name": record.name,
        "suite": dict(record.suite),
        "task": record.task,
        "card": dict(record.card),
        "subject": dict(record.subject),
        "health": dict(record.health),
        "environments": [dict(vars(one)) for one in record.environments],
        "started": record.started,
        "summaries": {name: _ends(found) for name, found in summaries.items()},
        "not_summarised": missing,
        "cells": [
            {
                "cell": m.key,
                "n": m.n,
                "error": m.error,
                "absent": dict(m.absent),
                "values": {name: _ends(_interval(terms, m, name, samples)) for name in m.values},
            }
            for m in record.measurements
        ],
        "kept": _kept(samples),
        "confusions": [
            {"cells": list(one.cells), "classes": list(one.names), "counts": one.counts.tolist()}
            for one in confusions(record, samples)
        ],
    }


def record_markdown(record: Record) -> str:
    """The same for people: of each cell the number by which its task tells cells."""
    samples, terms = record.samples(), Terms.of(record)
    first = terms.rows.first
    summaries, missing = _summaries(record)
    lines = [f"Record {escape(record.name)} on {escape(str(record.suite['name']))}"]
    for title, told in (
        ("who", _who(record)),
        ("question", _question(record, terms)),
        ("measured", _where(record)),
        ("health", "; ".join(map(str, record.health.get("warnings", ()))) or "no warning"),
        ("kept", _kept_line(samples)),
    ):
        lines.append(f"  {title}: {escape(told)}")
    lines += [f"  time: {escape(line)}" for line in time_split(record)]
    if record.health.get("nondeterministic"):
        lines.append("  health: answers differ from one pass to the next")
    lines.append("")
    if summaries:
        rows = [["", "95 % interval", "what it is"]]
        for name, found in summaries.items():
            row = terms.rows.summaries[name]
            about = (
                row.about.replace("{over}", terms.counted(row.over[-1]))
                if "{over}" in row.about
                else row.about
            )
            rows.append([heading(row), _number(row, found), about])
        lines += [*grid(rows, left={0, 2}), ""]
    lines += [f"{escape(why)}  " for why in missing.values()]
    if missing:
        lines.append("")
    lines.append(f"{heading(first)}, a cell: {first.about}")
    lines += ["", *_cells(record, terms, samples), ""]
    lines += [*confusions_markdown(record, samples), *_footnotes(record, first)]
    return "\n".join(lines) + "\n"


def cell_title(record: Record, key: str) -> tuple[str, str]:
    """A cell as a column of a figure is headed, and what its task tells cells by: "fog, severity 3", "AP 18.3 %"."""
    first, found = Terms.of(record).rows.first, record.cell(key)
    # A word speaks for itself, a number with its axis.
    parts = [part.partition("=")[::2] for part in key.split(",")]
    told = [
        f"{axis} {value}" if value.isdigit() else (value or axis).replace("_", " ") for axis, value in parts
    ]
    value = None if found is None else found.values.get(first.name)
    return ", ".join(told), "" if value is None else f"{first.label} {first.show(value['mean'])}"


def parts_json(parts: Parts) -> dict[str, Any]:
    """The first measure's values by part and cell."""
    return {
        way: {
            one.name: {"n": one.n, "cells": {key: dict(v) for key, v in one.values.items()}} for one in found
        }
        for way, found in parts.items()
    }


def parts_markdown(record: Record, parts: Parts) -> str:
    """A table a way: of each part the first metric, clean and over those of its summaries that are means."""
    terms = Terms.of(record)
    first = terms.rows.first
    named = [terms.rows.summaries.get(name) for name in record.suite["summary"] if name not in terms.partial]
    wanted = [row for row in named if row is not None]
    means = {
        row.label: terms.keys(row.over[0]) for row in wanted if row.of == first.name and row.how == "mean"
    }
    lines: list[str] = []
    for way, found in parts.items():
        shown = {
            label: keys
            for label, keys in means.items()
            if keys and all(first.name in one.values.get(key, {}) for one in found for key in keys)
        }
        body = [
            [
                escape(one.name),
                f"{one.n:,}",
                *(
                    plain(first, fmean(one.values[key][first.name] for key in keys))
                    for keys in shown.values()
                ),
            ]
            for one in found
        ]
        lines += ["", *grid([[way, "n", *(f"{label}, {first.unit}" for label in shown)], *body])]
        told = (
            f"{first.label} of each {way} alone, without intervals. Those above are over these {len(found)}"
        )
        lines += ["", f"{told}, and say nothing of another {way}."]
    return "\n".join(lines) + "\n" if lines else ""


def _ends(found: Interval) -> dict[str, float | None]:
    return {
        name: value if math.isfinite(value) else None
        for name, value in (("mean", found.mean), ("low", found.low), ("high", found.high))
    }


def _interval(terms: Terms, cell: Measurement, name: str, samples: Samples | None) -> Interval:
    quantity = terms.quantity(name, [cell.key])
    return interval_of(quantity, terms.scorers[name], {cell.key: cell.values[name]}, cell.n, samples)


def _summaries(record: Record) -> tuple[dict[str, Interval], dict[str, str]]:
    """The summaries of its suite, and why others have none."""
    found, missing = {}, {}
    for name in record.suite["summary"]:
        try:
            found[name] = summarise(record, (name,))[name]
        except BadFile:
            raise
        except UserError as error:
            missing[name] = str(error)
    return found, missing


def _who(record: Record) -> str:
    card, weights = record.card, record.card.get("weights") or {}
    told = [str(card.get("build")), f"subject {record.subject['digest']}"]
    if weights.get("sha256"):
        told.append(f"weights {weights.get('file')} of SHA-256 {str(weights['sha256'])[:16]}...")
    if card.get("untrained"):
        told.append("untrained")
    if windows := windows_told(card.get("input") or {}):
        told.append(windows)
    if record.subject.get("precision") or card.get("precision"):
        told.append(str(card.get("precision")))
    if card.get("source"):
        told.append(str(card["source"]))
    return ", ".join(told)


def _question(record: Record, terms: Terms) -> str:
    asked = {k: v for k, v in record.suite["protocol"].items() if v is not None and k != "n"}
    told = [f"{name} {str(v)[:16]}..." if name == "data" else f"{name} {v}" for name, v in asked.items()]
    cells = " x ".join(axis.count(len(terms.matrix[axis.name])) for axis in terms.axes if terms.matrix)
    ns = sorted({m.n for m in record.measurements if m.error is None})
    own = {k: v for m in record.measurements for k, v in m.condition.items() if k not in terms.matrix}
    told += [f"{name} {value}" for name, value in own.items() if value is not None]
    return f"{', '.join(told)}; {cells or 'clean alone'}; n = {' or '.join(f'{n:,}' for n in ns)}"


def _where(record: Record) -> str:
    first = record.environment
    threads = {one.threads for one in record.environments} - {None}
    told = [record.made_with("device"), record.made_with("cpu")]
    if threads:
        counts = sorted(count for count in threads if count is not None)
        told.append(f"{' and '.join(map(str, counts))} thread{'s' * (counts != [1])}")
    told += [f"torch {record.made_with('torch')}", f"robustbench_ms {record.made_with('version')}"]
    told += [f"commit {first.commit[:12]}"] if first.commit else []
    return ", ".join([*told, record.started])


def _kept(samples: Samples | None) -> dict[str, list[int]]:
    """The shape of each array beside the record."""
    if samples is None:
        return {}
    found = {"correct": samples.correct} if samples.correct.shape[1] else {}
    arrays = {**found, **samples.tables, **samples.scores}
    return {name: list(map(int, array.shape)) for name, array in arrays.items()}


def _kept_line(samples: Samples | None) -> str:
    kept = _kept(samples)
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, shape in kept.items():
        by_shape.setdefault(tuple(shape), []).append(name.removesuffix("/replicates"))
    told = [f"{', '.join(names)} ({' x '.join(map(str, shape))})" for shape, names in by_shape.items()]
    if not told:
        return "nothing beside the record"
    replicates = any(name.endswith("/replicates") for name in kept)
    return "; ".join(told) + (" replicates" if replicates and len(told) == 1 else "")


def _number(metric: Metric, found: Interval) -> str:
    """With both ends where the interval does not hold its number."""
    return number(metric, found, ends=not found.low <= found.mean <= found.high)


def _cells(record: Record, terms: Terms, samples: Samples | None) -> Iterator[str]:
    """The first metric of every cell: of two axes a row a value of the first, else a row a cell."""
    first = terms.rows.first
    told = {}
    for m in record.measurements:
        if m.error is not None:
            told[m.key] = "failed"
        elif first.name not in m.values:
            told[m.key] = "-"
        else:
            told[m.key] = _number(first, _interval(terms, m, first.name, samples))
    if len(terms.matrix) == 2:
        one, other = terms.matrix
        columns = [str(value) for value in terms.matrix[other]]
        rows = [[one, *(f"{other} {value}" if i == 0 else value for i, value in enumerate(columns))]]
        alone = [key for key in told if "=" not in key]  # the uncorrupted cell
        rows += [[key, told[key], *("" for _ in columns[1:])] for key in alone]
        rows += [
            [str(value), *(told.get(f"{one}={value},{other}={column}", "") for column in columns)]
            for value in terms.matrix[one]
        ]
    else:
        rows = [["cell", first.label], *([key, value] for key, value in told.items())]
    yield from grid([[escape(cell) for cell in row] for row in rows])


def _footnotes(record: Record, first: Metric) -> Iterator[str]:
    yield "± is half a 95 % interval over the test's samples, each cell by itself; all measures: --json."
    for m in record.measurements:
        if m.error is not None:
            yield f"{escape(m.key)} failed: {escape(m.error)}"
    absent = sorted({why for m in record.measurements if (why := m.absent.get(first.name))})
    if absent:
        yield f"- has no value: {escape('; '.join(absent))}."
