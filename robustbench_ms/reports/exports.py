"""Tables as CSV and JSON, for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from robustbench_ms.catalog.published import PublishedTable
from robustbench_ms.reports.costs import Cost
from robustbench_ms.reports.markdown import printable
from robustbench_ms.reports.tables import Row, Table, published_of
from robustbench_ms.statistics.intervals import Interval

__all__ = ["suites_csv", "suites_json", "to_csv", "to_json", "unformulated"]


def unformulated(text: str) -> str:
    """Text that no spreadsheet computes (OWASP, CSV injection): a quote before a sign, and no control characters."""
    text = printable(text)
    return f"'{text}" if text.lstrip()[:1] in {"=", "+", "-", "@"} else text


_ENDS = ("", "_low", "_high")


def suites_csv(suites: Mapping[str, Sequence[Table]]) -> str:
    """All tables of several suites as CSV, of each suite those of others last, whose `protocol` says so."""
    lines: list[list[Any]] = []
    for name, found in suites.items():
        lines += _lines(found)
        for table in published_of(name, found):
            columns = [metric.name for metric in table.metrics]
            lines.append(["suite", "protocol", "card", *columns])
            told = f"published: {table.source}: {table.about}"
            lines += [[name, told, model, *(values[c] for c in columns)] for model, values in table.rows]
    return _written(lines)


def suites_json(suites: Mapping[str, Sequence[Table]]) -> str:
    """The tables of several suites as JSON, {suite: tables}; those of others come last and have "published"."""
    told = {
        name: [*to_json(found), *(_published(name, table) for table in published_of(name, found))]
        for name, found in suites.items()
    }
    return json.dumps(told, indent=1, default=str) + "\n"


def _published(suite: str, table: PublishedTable) -> dict[str, Any]:
    """What others published of a suite, as a table without ranks and intervals."""
    rows = [
        {
            "rank": None,
            "card": model,
            "values": {name: {"mean": value, "low": None, "high": None} for name, value in values.items()},
        }
        for model, values in table.rows
    ]
    return {"suite": suite, "published": table.source, "protocol_difference": table.about, "rows": rows}


def to_csv(found: Sequence[Table]) -> str:
    """One line a card and table: fractions and their interval's ends, not rounded; `protocol` tells tables apart.

    A calibration error's upper end may lie below it. A line of headings comes first, and again only where the columns
    change. What cards cite has its column `..._published`; images a second have one a device, named by it.
    """
    return _written(_lines(found))


def _written(lines: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    safe = ([unformulated(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
    csv.writer(out, lineterminator="\n").writerows(safe)
    return out.getvalue()


def _lines(found: Sequence[Table]) -> Iterator[list[Any]]:
    before: list[str] = []
    for table in found:
        facts = ["suite", "protocol", "rank", "rank_low", "rank_high", "card", "seeds", "n", "device"]
        values = [f"{column}{end}" for column in table.columns for end in _ENDS]
        cited = [f"{metric.name}_published" for metric in table.cited]
        speeds = [f"images_per_second{end} on {device}" for device in table.devices for end in _ENDS]
        costs = ["parameters", "macs"] if any(row.cost != Cost() for row in table.rows) else []
        head = [*facts, *values, *cited, *costs, *speeds, "lacks", "warnings"]
        if head != before and table.rows:
            yield head
            before = head
        for row in table.rows:
            rank = [row.rank, *(row.ranks or (None, None))]
            told = [table.suite, table.protocol, *rank, row.card, row.seeds, row.n, row.device]
            told += [x for c in table.columns for x in row.values[c]]
            told += [row.published.get(metric.name, (None, ""))[0] for metric in table.cited]
            told += [row.cost.parameters, row.cost.macs] if costs else []
            for device in table.devices:
                speed = row.cost.speeds.get(device)
                told += [None] * 3 if speed is None else list(speed.interval)
            lacks = [*row.lacks, *dict.fromkeys(row.without.values())]
            yield [*told, "; ".join(lacks), "; ".join(row.warnings)]


def to_json(found: Sequence[Table]) -> list[dict[str, Any]]:
    """Plain data: fractions, not rounded; an interval that is not known is null."""
    return [
        {
            "suite": table.suite,
            "protocol_difference": table.protocol or None,
            "left_out": list(table.left_out),
            "apart": list(table.apart),
            "rows": [_row(table, row) for row in table.rows],
        }
        for table in found
    ]


def _row(table: Table, row: Row) -> dict[str, Any]:
    return {
        "rank": row.rank,
        "ranks": None if row.ranks is None else list(row.ranks),
        "card": row.card,
        "seeds": row.seeds,
        "n": row.n,
        "device": row.device,
        "warnings": list(row.warnings),
        "lacks": list(row.lacks),
        "without": dict(row.without),
        "values": {c: _interval(row.values[c]) for c in table.columns},
        "published": {
            name: {"value": value, "source": source} for name, (value, source) in row.published.items()
        },
        "parameters": row.cost.parameters,
        "macs": row.cost.macs,
        "images_per_second": {
            device: _interval(one.interval) | {"precision": one.precision, "doubts": list(one.doubts)}
            for device, one in row.cost.speeds.items()
        },
    }


def _interval(value: Interval) -> dict[str, Any]:
    return {name: None if math.isnan(x) else x for name, x in value._asdict().items()}
