"""What a model's answers to a data set come to, as arrays: a table of samples, and tables of items that samples own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Absent", "Items", "Outcomes", "merged", "taken", "unsound"]

Columns = Mapping[str, NDArray[Any]]
"""Arrays; before they are merged tensors will do, so that a device need not be waited for at each batch."""


@dataclass(frozen=True)
class Items:
    """A table of things of which a sample has none, one or many (detections, true boxes)."""

    owner: NDArray[np.int64]
    """(m,): the row of the sample that each belongs to, ascending."""
    columns: Columns
    """(m, ...) each."""


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of n samples."""

    samples: Columns
    """(n, ...) each."""
    items: Mapping[str, Items] = field(default_factory=dict)
    """By the table's name."""

    def columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """All columns, those of tables of items as "table/column"."""
        yield from self.samples.items()
        for table, items in self.items.items():
            yield from ((f"{table}/{name}", column) for name, column in items.columns.items())


@dataclass(frozen=True)
class Absent:
    """A measure has no value here."""

    reason: str
    """One phrase: "no small object"."""


def unsound(
    outcomes: Outcomes, infinite: Collection[str] = ()
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The samples (n,) of which something is NaN and nothing infinite, and those of which something is infinite.

    The columns of samples named in `infinite` may be +inf.
    """
    count = len(next(iter(outcomes.samples.values())))
    nan, endless = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    tables: list[tuple[Any, Columns, Collection[str]]] = [(slice(None), outcomes.samples, infinite)]
    tables += [(items.owner, items.columns, ()) for items in outcomes.items.values()]
    for owner, columns, allowed in tables:
        for name, column in columns.items():
            if column.dtype.kind != "f" or bool(np.isfinite(column).all()):
                continue
            rows = column.reshape(len(column), -1)
            for mask, found in (
                (nan, np.isnan(rows)),
                (endless, np.isneginf(rows) if name in allowed else np.isinf(rows)),
            ):
                mask[np.arange(count)[owner][found.any(axis=1)]] = True
    # What is infinite is mostly NaN in another column.
    return nan & ~endless, endless


def taken(outcomes: Outcomes, rows: NDArray[np.int64]) -> Outcomes:
    """The outcomes of some samples, rows (k,) each once, in that order; a column of samples says how many there are."""
    place = np.full(len(next(iter(outcomes.samples.values()))), -1)
    place[rows] = np.arange(len(rows))
    items = {}
    for table, whole in outcomes.items.items():
        at = np.flatnonzero(place[whole.owner] >= 0)
        at = at[np.argsort(place[whole.owner[at]], kind="stable")]
        items[table] = Items(place[whole.owner[at]], {name: c[at] for name, c in whole.columns.items()})
    return Outcomes({name: column[rows] for name, column in outcomes.samples.items()}, items)


def merged(parts: Sequence[tuple[Outcomes, NDArray[np.int64]]]) -> Outcomes:
    """The outcomes of a data set, in its order, of parts with the rows of the data set that each holds.

    `rows` (k,) of all parts together are 0..n-1, each once, in any order; a part's owners count its own samples. Items
    of one sample keep their order.
    """
    parts = [(_arrays(part), rows) for part, rows in parts]
    rows = np.concatenate([np.asarray(rows, dtype=np.int64) for _, rows in parts])
    if not np.array_equal(np.sort(rows), np.arange(rows.size)):
        raise ValueError("the parts are not the rows of one data set, each once")
    order = np.argsort(rows, kind="stable")
    first = parts[0][0]
    samples = {
        name: np.concatenate([part.samples[name] for part, _ in parts])[order] for name in first.samples
    }
    items = {}
    for table, described in first.items.items():
        owner = np.concatenate([where[part.items[table].owner] for part, where in parts])
        by_owner = np.argsort(owner, kind="stable")
        items[table] = Items(
            owner[by_owner],
            {
                name: np.concatenate([part.items[table].columns[name] for part, _ in parts])[by_owner]
                for name in described.columns
            },
        )
    return Outcomes(samples, items)


def _arrays(part: Outcomes) -> Outcomes:
    """The same with arrays where tensors were."""

    def columns(given: Columns) -> Columns:
        return {name: np.asarray(c if isinstance(c, np.ndarray) else c.cpu()) for name, c in given.items()}

    items = {
        name: Items(np.asarray(table.owner), columns(table.columns)) for name, table in part.items.items()
    }
    return Outcomes(columns(part.samples), items)
