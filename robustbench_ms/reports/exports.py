"""Tables as CSV and JSON, for programs."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from robustbench_ms.catalog.published import published_table
from robustbench_ms.reports.markdown import printable
from robustbench_ms.reports.tables import Table

__all__ = ["suites_csv", "suites_json", "to_csv", "to_json", "unformulated"]


def unformulated(text: str) -> str:
    """Text that no spreadsheet computes (OWASP, CSV injection): a quote before a sign, and no control characters."""
    text = printable(text)
    return f"'{text}" if text.lstrip()[:1] in {"=", "+", "-", "@"} else text


def suites_csv(suites: Mapping[str, Sequence[Table]]) -> str:
    """All tables of several suites as CSV."""
    return to_csv([table for found in suites.values() for table in found])


def suites_json(suites: Mapping[str, Sequence[Table]]) -> str:
    """The tables of several suites as JSON, {suite: tables}; a table of others comes last and has "published"."""
    told = {name: [*to_json(found), *_published(name)] for name, found in suites.items()}
    return json.dumps(told, indent=1, default=str) + "\n"


def _published(suite: str) -> list[dict[str, Any]]:
    """What others published of a suite, as a table without ranks and intervals."""
    table = published_table(suite)
    if table is None:
        return []
    rows = [
        {
            "rank": None,
            "card": model,
            "values": {name: {"mean": value, "low": None, "high": None} for name, value in values.items()},
        }
        for model, values in table.rows
    ]
    return [{"suite": suite, "published": table.source, "protocol_difference": table.about, "rows": rows}]


def to_csv(found: Sequence[Table]) -> str:
    """One line a card and table: fractions and their interval's ends, not rounded; `protocol` tells tables apart.

    A calibration error's upper end may lie below it. A line of headings comes first, and again only where the columns
    change.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    before: tuple[str, ...] = ()
    for table in found:
        ends = [f"{column}{end}" for column in table.columns for end in ("", "_low", "_high")]
        if table.columns != before:
            writer.writerow(
                ["suite", "protocol", "rank", "rank_low", "rank_high", "card", "seeds", "n", "device", *ends]
            )
            before = table.columns
        for row in table.rows:
            numbers = [x for c in table.columns for x in row.values[c]]
            rank = [row.rank, *(row.ranks or (None, None))]
            suite, protocol, card, device = map(
                unformulated, (table.suite, table.protocol, row.card, row.device)
            )
            facts = [suite, protocol, *rank, card, row.seeds, row.n, device]
            writer.writerow([*facts, *numbers])
    return out.getvalue()


def to_json(found: Sequence[Table]) -> list[dict[str, Any]]:
    """Plain data: fractions, not rounded; an interval that is not known is null."""
    return [
        {
            "suite": table.suite,
            "protocol_difference": table.protocol or None,
            "left_out": list(table.left_out),
            "apart": list(table.apart),
            "rows": [
                {
                    "rank": row.rank,
                    "ranks": None if row.ranks is None else list(row.ranks),
                    "card": row.card,
                    "seeds": row.seeds,
                    "n": row.n,
                    "device": row.device,
                    "warnings": list(row.warnings),
                    "values": {
                        c: {
                            k: None if math.isnan(x) else x
                            for k, x in zip(("mean", "low", "high"), v, strict=True)
                        }
                        for c, v in row.values.items()
                    },
                }
                for row in table.rows
            ],
        }
        for table in found
    ]
