"""From folders of results to a folder of pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robustbench_ms.catalog.find import card_names
from robustbench_ms.records.profile import profiles_of
from robustbench_ms.records.ranking import Progress, silent
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.boards import boards
from robustbench_ms.reports.exports import suites_csv
from robustbench_ms.reports.tables import Table
from robustbench_ms.site.cards import card_of
from robustbench_ms.site.examples import SEVERITIES, examples
from robustbench_ms.site.folder import Names, check_folder, write_files
from robustbench_ms.site.pages import page, plotly, static
from robustbench_ms.site.pictures import pictures_of
from robustbench_ms.site.profiled import HEAD, profiled
from robustbench_ms.site.samples import AtHand
from robustbench_ms.site.shift import shift_of
from robustbench_ms.site.table import table_of
from robustbench_ms.specs.places import Places

__all__ = ["build_site"]

_PROFILES = "profiles.html"


class _Board(NamedTuple):
    """A suite's tables in one folder of results."""

    title: str
    suite: str
    tables: list[Table]


def build_site(
    results: Sequence[Path], output: Path, places: Places | None = None, progress: Progress = silent
) -> int:
    """Write the pages, and say how many. UserError says what to run without records, or what is in the way.

    With `places` what tables are made of is kept in the cache, and samples are drawn whose data lie there.
    """
    check_folder(output)
    drawn = plotly()  # what is missing is said before anything is worked out
    found = [
        _Board(name if len(results) == 1 else f"{name} ({folder.name})", name, tables)
        for folder in results
        for name, tables in boards(folder, None, None if places is None else places.cache, progress).items()
    ]
    records = {
        path: read_record(path)
        for board in found
        for table in board.tables
        for row in table.rows
        for path in row.records
    }
    names, cards = Names(), dict[str, list[tuple[str, str, list[Record]]]]()
    files: dict[str, bytes] = {**static(), "plotly.min.js": drawn}
    shown = sorted({value for one in records.values() for value in _corruptions(one)})
    pictures = examples(shown, progress)
    files |= pictures
    index: list[dict[str, Any]] = []
    timed = [one for folder in results for one in profiles_of(folder)]
    site = {"profiles": _PROFILES if timed else ""}
    if timed:
        settings = profiled(timed)
        data = {"tables": [{"pictures": part["pictures"]} for part in settings]}
        files[_PROFILES] = page(
            "profiles.html", title="Profiles", parts=settings, head=HEAD, data=data, site=site
        )
    for board in found:
        name = names.of("suite", board.title)
        for table in board.tables:
            for row in table.rows:
                if row.records:
                    told = board.title + (" (another protocol)" if table.protocol else "")
                    cards.setdefault(row.card, []).append(
                        (told, name, [records[path] for path in row.records])
                    )
        csv = f"{name.removesuffix('.html')}.csv"
        files[csv] = suites_csv({board.suite: board.tables}).encode()
        content = _suite(board, records, names, csv, pictures)
        files[name] = page("suite.html", **content, site=site)
        index.append(_indexed(board, name, content, records))
    at_hand = None if places is None else AtHand(places)
    for done, (card, parts) in enumerate(cards.items()):
        progress("pages of cards", done, len(cards))
        files[names.of("card", card)] = page(
            "card.html", title=card, suites=[card_of(*part, at_hand) for part in parts], site=site
        )
    files |= {} if at_hand is None else at_hand.files
    files["index.html"] = page(
        "index.html",
        title="Robustness under corruption",
        suites=index,
        timed=len({one.name for one in timed}),
        devices=sorted({one.device for one in timed}),
        site=site,
    )
    write_files(output, files)
    return sum(name.endswith(".html") for name in files)


def _suite(
    board: _Board, records: dict[Path, Record], names: Names, csv: str, pictures: dict[str, bytes]
) -> dict[str, Any]:
    shifts = [shift_of(table, records) for table in board.tables]
    tables = [
        table_of(table, records, lambda card: names.of("card", card), _shipped, shift)
        for table, shift in zip(board.tables, shifts, strict=True)
    ]
    data = {
        "suite": board.title,
        "tables": [
            {"columns": told["columns"], "pictures": pictures_of(table, records, shift)}
            for told, table, shift in zip(tables, board.tables, shifts, strict=True)
        ],
    }
    mine = {
        v
        for table in board.tables
        for row in table.rows
        for p in row.records
        for v in _corruptions(records[p])
    }
    rows = [
        {"name": name, "files": [f"example-{name}-{s}.jpg" for s in SEVERITIES]}
        for name in sorted(mine)
        if f"example-{name}-{SEVERITIES[0]}.jpg" in pictures
    ]
    first = next(
        (records[path] for table in board.tables for row in table.rows for path in row.records), None
    )
    return {
        "title": board.title,
        "about": "" if first is None else _about(first),
        "tables": tables,
        "csv": csv,
        "data": data,
        "examples": rows,
        "severities": SEVERITIES,
    }


def _about(record: Record) -> str:
    """What a suite asks, as "classification on digits: 597 images, clean and under 19 corruptions x 5 severities"."""
    terms = Terms.of(record)
    n = max((m.n for m in record.measurements), default=0)
    axes = {axis.name: axis for axis in terms.axes}
    made_worse = " x ".join(
        axes[name].count(len(values)) for name, values in terms.matrix.items() if name in axes
    )
    shown = "clean and under " if record.cell("clean") else "under "
    told = f", {shown}{made_worse}" if made_worse else ""
    dataset = record.suite["protocol"].get("dataset", "")
    return f"{record.task} on {dataset}: {n:,} {terms.rows.sample}s{told}"


def _indexed(
    board: _Board, name: str, content: dict[str, Any], records: dict[Path, Record]
) -> dict[str, Any]:
    rows = [row for told in content["tables"] for row in told["rows"]]
    first = next(
        (records[path] for table in board.tables for row in table.rows for path in row.records), None
    )
    metric = next((table.metrics[0] for table in board.tables if table.metrics), None)
    best = rows[0] if rows and rows[0]["ranked"] else None
    return {
        "title": board.title,
        "page": name,
        "task": first.task if first else "",
        "dataset": str(first.suite["protocol"].get("dataset", "")) if first else "",
        "models": len(rows),
        "metric": f"{metric.label}, {metric.unit}".rstrip(", ") if metric else "",
        "best": best["name"] if best else "",
        "value": best["values"][metric.name]["text"] if best and metric else "",
        "date": max((row["values"]["date"]["text"] for row in rows), default=""),
    }


def _corruptions(record: Record) -> set[str]:
    """The corruptions of its matrix, of which there are pictures."""
    return set(map(str, (record.suite.get("matrix") or {}).get("corruption", ())))


def _shipped(card: str) -> bool:
    """Whether the project's own cards have one of that name, which it measures itself."""
    return card.partition("@")[0] in card_names()
