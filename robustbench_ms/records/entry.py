"""What a leaderboard takes of a record: so little that 500 of them are read at once, when it was worked out before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.registry import measures_of
from robustbench_ms.errors import BadFile
from robustbench_ms.records.comparison import Side
from robustbench_ms.records.evidence import Evidence, judged_by
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.records.samples import samples_path
from robustbench_ms.records.summary import absent_in, by_chance, summarise, told_absent
from robustbench_ms.statistics.intervals import Interval

__all__ = ["Entry", "bytes_digest", "entry_of"]

_OF_CARD = ("name", "build", "args", "input", "precision", "untrained", "published")


@dataclass(frozen=True)
class Entry:
    """A record's place in tables."""

    digest: str
    """Of its files' bytes, the arrays' too; "" of a record in no file."""
    columns: tuple[str, ...]
    """The summaries that its suite shows."""
    values: Mapping[str, Interval]
    """Of all columns but those `without` one; of those alone whose cells are all there where it `lacks` some."""
    by_chance: Mapping[str, float]
    """See `records.summary.by_chance`."""
    protocols: Mapping[str, str]
    """{cell: digest of its question}, of the cells that it has and a column needs."""
    lacks: tuple[str, ...]
    """The cells that a column needs and it has not."""
    judged: str
    """By what its first column is told from another's: "images", "seeds", "" by nothing."""
    task: str
    measures: Mapping[str, int]
    """The numbers of the task's measures that made all this."""
    card: Mapping[str, Any]
    """What tells it from another card, and what was published for it."""
    subject: Mapping[str, Any]
    warnings: tuple[str, ...]
    devices: tuple[str, ...]
    n: int
    """Samples of the cell that has fewest."""
    source: Record | Path
    """Where the rest is to be read."""
    without: Mapping[str, str] = field(default_factory=dict)
    """{column: in which of its cells its measure has no value, and why}, of columns after the first, which ranks."""
    evidence: Evidence | None = field(default=None, compare=False)
    """What its first column is told from another's by; None where it was not worked out just now."""

    @property
    def name(self) -> str:
        """The card's, with its seed."""
        return str(self.card["name"])

    @property
    def group(self) -> str:
        """The card whose replicate it is."""
        return self.name.partition("@")[0]

    @property
    def question(self) -> tuple[Any, ...]:
        """What is equal of records that stand in one table."""
        return self.columns, tuple(sorted(self.protocols.items()))

    def record(self) -> Record:
        """The whole of it."""
        return read_record(self.source) if isinstance(self.source, Path) else self.source

    def found(self) -> Evidence:
        """Its evidence, read where it is not at hand."""
        return self.evidence or Evidence.of(Side.of(self.record()), self.columns[0])


def bytes_digest(path: Path) -> str:
    """SHA-256 of a record's file and of the arrays beside it; BadFile where it cannot be read."""
    found = hashlib.sha256()
    try:
        for one in (path, samples_path(path)):
            if one == path or one.exists():
                content = one.read_bytes()
                found.update(len(content).to_bytes(8, "little") + content)
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    return found.hexdigest()[:32]


def entry_of(record: Record, digest: str = "") -> Entry:
    """Of a record and the arrays beside it, read once.

    BadFile where they are damaged; another UserError where a column has no meaning for it, or the first no value.
    """
    side = Side.of(record)
    columns = tuple(str(column) for column in record.suite["summary"])
    needs = {column: side.terms.needs(column) for column in columns}
    done = {m.key: m for m in record.measurements if m.error is None}
    cells = tuple(dict.fromkeys(key for keys in needs.values() for key in keys))
    lacks = tuple(key for key in cells if key not in done)
    whole = tuple(c for c in columns if needs[c] and all(key in done for key in needs[c]))
    for column in columns:
        side.terms.quantity(column)  # refuses what has no meaning here, however few cells there are
    if not lacks:
        whole = columns
    first = columns[0] in whole
    without = {c: why for c in whole if c != columns[0] and (why := _without(side, c))}
    whole = tuple(c for c in whole if c not in without)
    return Entry(
        digest,
        columns,
        summarise(record, whole, side.samples),
        by_chance(record, whole, side.samples),
        {key: done[key].protocol for key in cells if key in done},
        lacks,
        judged_by(side, columns[0]) if first else "",
        record.task,
        {name: scorer.number for scorer in measures_of(record.task) for name in scorer.names},
        {key: record.card[key] for key in _OF_CARD if key in record.card},
        {name: record.subject.get(name) for name in ("digest", "weights", "cells")},
        tuple(map(str, record.health.get("warnings", ()))),
        tuple(dict.fromkeys(one.device for one in record.environments)),
        min((m.n for m in done.values()), default=0),
        record,
        without,
        Evidence.of(side, columns[0]) if first else None,
    )


def _without(side: Side, column: str) -> str:
    """Why a column has no value, of cells that are all there: "nll has no value in clean (a label has ...)"; or ""."""
    quantity = side.terms.quantity(column)
    absent = absent_in(quantity, {key: side.cells[key].values for key in quantity.cells})
    if not absent:
        return ""
    why = side.cells[absent[0]].absent.get(quantity.of)
    return told_absent(quantity, absent) + (f" ({why})" if why else "")
