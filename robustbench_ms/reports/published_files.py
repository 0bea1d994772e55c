"""A user's own file of published numbers: a table to stand beside ours, and never to be ranked with them.

Two forms of CSV. The first line begins with `model` and names summaries, each further line is a model. Or as
RobustBench lists accuracies by cell: a line of corruptions, one of severities, in any order, then a line a model.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from robustbench_ms.catalog.published import PublishedTable
from robustbench_ms.errors import BadFile, Incomparable, choose
from robustbench_ms.records.terms import Quantity, Terms
from robustbench_ms.records.values import value_of
from robustbench_ms.specs.metrics import Metric

__all__ = ["read_published"]

Lines = Sequence[tuple[int, list[str]]]
"""The number of each line that says something, and its fields."""
Found = tuple[Sequence[Metric], list[tuple[str, dict[str, float]]]]
"""The columns, and by model their numbers."""


def read_published(path: Path, suite: str, terms: Terms) -> PublishedTable:
    """The table in a file, in the terms of a suite; BadFile, or UnknownName, names the place and the wrong word."""
    lines = _lines(path)
    if len(lines) > 1 and lines[0][1][0].strip().lower() == "model":
        metrics, rows = _by_summary(path, lines, terms)
        about = "as the file has it"
    elif (
        len(lines) > 2
        and lines[0][1][0].strip() in {"", "corruption"}
        and lines[1][1][0].strip() in {"", "severity"}
    ):
        metrics, rows = _by_cell(path, lines, terms)
        about = f"of accuracies by cell, {terms.counted('common')}, of images on disk"
    else:
        raise BadFile(
            f"{path}: no table of published numbers: it begins with 'model' and names of summaries, or with a line of "
            "corruptions and one of severities as RobustBench's do, and has a line a model"
        )
    return PublishedTable(suite, about, path.name, tuple(metrics), tuple(rows))


def _lines(path: Path) -> Lines:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            return [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not a text file in UTF-8") from error
    except csv.Error as error:
        raise BadFile(f"{path}: not a CSV file: {error}") from error


def _by_summary(path: Path, lines: Lines, terms: Terms) -> Found:
    (line, head), *body = lines
    names = [
        choose(field.strip(), terms.rows.summaries, "summary", f"{path}, line {line}") for field in head[1:]
    ]
    _refuse_twice(f"{path}, line {line}", names)
    if not names:
        raise BadFile(f"{path}, line {line}: no summary is named beside 'model'")
    metrics = [terms.rows.summaries[name] for name in names]
    rows = []
    for place, model, fields in _models(path, body, len(head)):
        values = {}
        for metric, field in zip(metrics, fields, strict=True):
            one = terms.rows.measured[metric.of]
            ends = (one.low, one.high) if metric.how in {"mean", "complement"} else (-math.inf, math.inf)
            values[metric.name] = _number(f"{place}: {metric.name}", field, *ends, metric)
        rows.append((model, values))
    return metrics, rows


def _by_cell(path: Path, lines: Lines, terms: Terms) -> Found:
    (line, corruptions), (_, severities), *body = lines
    body = [
        (n, row) for n, row in body if any(field.strip() for field in row[1:])
    ]  # pandas names its index in one
    if len(severities) != len(corruptions):
        raise BadFile(
            f"{path}: {len(corruptions)} fields in its first line and {len(severities)} in its second"
        )
    axes, quantities = terms.axes[:2], list(_of_cells(terms))
    if len(axes) < 2 or not quantities:
        raise BadFile(f"{path}: accuracies by corruption and severity, of which the suite has no mean")
    keys = []
    for at, told in enumerate(zip(corruptions[1:], severities[1:], strict=True), 2):
        parts = [
            f"{axis.name}={choose(word.strip(), map(str, axis.values), axis.name, f'{path}, column {at}')}"
            for axis, word in zip(axes, told, strict=True)
        ]
        keys.append(",".join(parts))
    _refuse_twice(f"{path}, line {line}", keys)
    missing = [key for key in quantities[0].keys if key not in set(keys)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise BadFile(
            f"{path}: the mean over {terms.counted(quantities[0].over)} needs {len(quantities[0].keys)} cells, and "
            f"{len(missing)} are missing: {'; '.join(missing[:3])}{more}"
        )
    one = terms.rows.first
    rows = []
    for place, model, fields in _models(path, body, len(corruptions)):
        cells = {
            key: _number(f"{place}: {key}", field, one.low, one.high, one)
            for key, field in zip(keys, fields, strict=True)
        }
        rows.append((model, {q.row.name: float(value_of(q, cells)) for q in quantities}))
    return [q.row for q in quantities], rows


def _of_cells(terms: Terms) -> Iterator[Quantity]:
    """What follows from the first metric of each corrupted cell: its mean, and over a normaliser's errors."""
    for name, row in terms.rows.summaries.items():
        if row.of == terms.rows.first.name and row.how in {"mean", "normalised"} and row.over != ("clean",):
            try:
                found = terms.quantity(name)
            except Incomparable:
                continue
            if found.keys:
                yield found


def _models(path: Path, body: Lines, fields: int) -> Iterator[tuple[str, str, list[str]]]:
    """Of each line its place, its model and its other fields."""
    seen: dict[str, int] = {}
    for line, (first, *rest) in body:
        model = first.strip()
        place = f"{path}, line {line} ({model})"
        if not model:
            raise BadFile(f"{path}, line {line}: it names no model")
        if 1 + len(rest) != fields:
            raise BadFile(f"{place}: {1 + len(rest)} fields, and the first line has {fields}")
        if model in seen:
            raise BadFile(f"{place}: the model stands in line {seen[model]} already")
        seen[model] = line
        yield place, model, rest


def _number(place: str, field: str, low: float, high: float, metric: Metric) -> float:
    try:
        value = float(field)
    except ValueError:
        raise BadFile(f"{place} is {field.strip()!r}, which is no number") from None
    if not math.isfinite(value):
        raise BadFile(f"{place} is {value}, which is no finite number")
    if not low <= value <= high:
        meant = f"; did you mean {value / metric.scale:.9g}?" if low <= value / metric.scale <= high else ""
        end = (
            f"the largest that it can be is {high:g}"
            if value > high
            else f"the least that it can be is {low:g}"
        )
        raise BadFile(f"{place} is {value:g}, and {end}{meant}")
    return value


def _refuse_twice(place: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadFile(f"{place}: {name} stands twice")
