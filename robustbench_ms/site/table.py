"""The table of a page: the cells of `reports`, with what sorts them, what a row links, and why one is empty."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robustbench_ms.records.record import Record
from robustbench_ms.reports.cells import COUNTED, cells, footnotes, has_ends, published_heading, speed_heading
from robustbench_ms.reports.numbers import heading
from robustbench_ms.reports.tables import Row, Table
from robustbench_ms.site.text import link
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval

__all__ = ["rounded", "table_of"]

_SHOWN = 3
"""So many metrics stand in the default view."""
_FACTS = ("date", "version", "device", "measured by", "licence", "n", "record")

_EFFECTIVE = {"key": "effective", "head": "effective robustness, pp ↑", "kind": "higher", "shown": True}
_ABOUT = (
    "Effective robustness: corrupted accuracy less what the line through the other models has at the same clean "
    "accuracy, fitted on probit axes; a model's own point is no part of its line. Its 95 % interval is of draws of the "
    "images' errors, which the models share, of the seeds' where there are several, and of which models the line goes "
    "through."
)
_PLACES = {
    "paper": ("arxiv.org", "doi.org", "openreview.net", "openaccess.thecvf.com"),
    "code": ("github.com", "gitlab.com"),
}


def rounded(metric: Metric, value: Interval, *, ends: bool = False) -> str:
    """One decimal of a share, more where half the interval is smaller; others as always. `ends`: see `number`."""
    half = value.half_width * metric.scale
    digits = metric.digits
    if metric.scale != 1 and digits > 1:
        carried = 1 if not half > 0 else max(1, math.ceil(-math.log10(half)))
        digits = min(digits, carried)
    text = f"{value.mean * metric.scale:.{digits}f}"
    if math.isnan(half):
        return text
    if not ends:
        return f"{text} ± {half:.{digits}f}"
    return f"{text} ({value.low * metric.scale:.{digits}f}-{value.high * metric.scale:.{digits}f})"


def table_of(
    table: Table,
    records: Mapping[Path, Record],
    page: Callable[[str], str],
    shipped: Callable[[str], bool],
    shift: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Plain data of one table. `records` are those of its rows, `page` is a card's page by its row's name.

    With the line of a `shift` (see `shift_of`) the rows' effective robustness is a column.
    """
    lines = cells(table)
    names = [*lines[0]] if lines else []
    columns = [_column(head, table) for head in names if head != "#"]
    columns += [{"key": fact, "head": fact, "kind": "text", "shown": False} for fact in _FACTS]
    rows = [
        _row(table, row, dict(zip(names, line, strict=True)), records, page, shipped)
        for row, line in zip(table.rows, lines[1:], strict=True)
    ]
    notes = footnotes(table) if table.rows else []
    if shift is not None and shift["line"] is not None:
        columns.insert(len(columns) - len(_FACTS), _EFFECTIVE)
        _add_effective(rows, shift)
        notes = [*notes, _ABOUT]
    return {
        "protocol": table.protocol,
        "columns": columns,
        "rows": rows,
        "notes": notes,
        "left_out": list(table.left_out),
    }


def _add_effective(rows: Sequence[dict[str, Any]], shift: Mapping[str, Any]) -> None:
    """The distance of each ranked row from the line through the others, in percentage points, with its interval."""
    line = shift["line"]
    for row in rows:
        row["values"]["effective"] = {"text": "none", "sort": None, "why": "it is of ranked models alone"}
    for at, *one in zip(shift["rows"], line["rho"], line["rho_low"], line["rho_high"], strict=True):
        mean, low, high = (f"{100 * end:+.1f}" for end in one)
        rows[at]["values"]["effective"] = {"text": f"{mean} ({low} to {high})", "sort": one[0]}


def _column(head: str, table: Table) -> dict[str, Any]:
    metrics = {heading(m): m for m in table.metrics}
    if head in metrics:
        place = list(metrics).index(head)
        better = metrics[head].better
        return {"key": metrics[head].name, "head": head, "kind": better, "shown": place < _SHOWN}
    kinds = {"model": "text", "ranks": "lower", **dict.fromkeys(COUNTED, "lower")}
    kinds |= {published_heading(m): m.better for m in table.cited}
    shown = head in {"ranks", "model", COUNTED[0]} or head.startswith(speed_heading(table))
    return {"key": head, "head": head, "kind": kinds.get(head, "higher"), "shown": shown}


def _row(
    table: Table,
    row: Row,
    texts: Mapping[str, str],
    records: Mapping[Path, Record],
    page: Callable[[str], str],
    shipped: Callable[[str], bool],
) -> dict[str, Any]:
    mine = [records[path] for path in row.records]
    values: dict[str, dict[str, Any]] = {}
    for head, text in texts.items():
        values[head] = {"text": text, "sort": _number(text)}
    for metric in table.metrics:
        value = row.values[metric.name]
        if math.isnan(value.mean):
            missing = bool(row.lacks) and metric.name not in row.without
            told = "missing" if missing else "no value"
            known = row.without.get(metric.name, table.valueless[metric.name])
            why = "its cells were not measured" if missing else known
            values[metric.name] = {"text": told, "sort": None, "why": why}
        else:
            values[metric.name] = {
                "text": rounded(metric, value, ends=has_ends(row, metric)),
                "sort": value.mean,
            }
    values["ranks"] = {"text": texts.get("ranks") or texts["#"] or "unranked", "sort": row.rank}
    values["model"] = {"text": row.card, "sort": None}
    first = mine[0] if mine else None
    card: Mapping[str, Any] = first.card if first else {}
    facts = {
        "date": max((one.started[:10] for one in mine), default=""),
        "version": first.made_with("version") if first else "",
        "device": row.device,
        "measured by": "the project" if shipped(str(card.get("name", ""))) else "submitted",
        "licence": str(card.get("licence", "")),
        "n": f"{row.n:,}",
        "record": ", ".join(path.name for path in row.records),
    }
    values |= {
        name: {"text": text, "sort": _number(text) if name == "n" else None} for name, text in facts.items()
    }
    weights = card.get("weights") or {}
    sources = [str(card.get("source", "")), *(source for _, source in row.published.values())]
    return {
        "name": row.card,
        "page": page(row.card),
        "values": values,
        "complete": not row.lacks,
        "ranked": row.rank is not None,
        "warnings": list(row.warnings),
        "command": "; ".join(one.command for one in mine),
        "links": _links(sources, str(weights.get("url", "")), str(card.get("licence", ""))),
        "build": str(card.get("build", "")),
    }


def _links(sources: Iterable[str], weights: str, licence: str) -> list[dict[str, str]]:
    """The first paper, code and weights among a card's sources; what is neither is "source"."""
    found: dict[str, str] = {}
    for to in filter(None, map(link, sources)):
        name = next(
            (name for name, places in _PLACES.items() if any(place in to for place in places)), "source"
        )
        found.setdefault(name, to)
    if link(weights):
        found[f"weights, {licence}" if licence else "weights"] = link(weights)
    return [{"name": name, "to": to} for name, to in found.items()]


def _number(text: str) -> float | None:
    """What a cell of counts or of images a second begins with."""
    try:
        return float(text.split(maxsplit=1)[0].replace(",", ""))
    except (ValueError, IndexError):
        return None
