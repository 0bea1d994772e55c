"""Which samples a card loses: right when clean and wrong under what makes them worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.comparison import Side
from robustbench_ms.records.record import Record
from robustbench_ms.records.terms import Terms
from robustbench_ms.site.text import shown_key

__all__ = ["Lost", "lost_of"]

_MOST = 10


class Lost(NamedTuple):
    """One sample."""

    place: int
    """Its row in the data, from 0."""
    told: str
    cell: str
    """The weakest condition under which an answer is wrong."""


def lost_of(mine: Sequence[Record], terms: Terms) -> list[Lost] | None:
    """Of those right when clean the ones that are wrong most often, ten at most; None where no bits are kept.

    `mine` are seeds of a card, which count together.
    """
    sides = [Side.of(record) for record in mine]
    name = terms.rows.first.name
    keys = [key for key in terms.every if key != "clean" and all(_has(side, key, name) for side in sides)]
    if not keys or not all(_has(side, "clean", name) for side in sides):
        return None
    bits = [side.bits(name, ["clean", *keys]) for side in sides]
    right = [one.astype(bool) for one in bits if one is not None]
    if len(right) < len(sides) or len({one.shape for one in right}) > 1:
        return None
    return _wrong(np.stack(right), keys, terms)


def _has(side: Side, key: str, name: str) -> bool:
    return key in side.cells and name in side.cells[key].values


def _wrong(right: NDArray[np.bool_], keys: Sequence[str], terms: Terms) -> list[Lost]:
    """Of answers (seeds, 1 + cells, n), the clean ones first: those right when clean, by how often they are wrong."""
    wrong = (~right[:, 1:]).sum(axis=0)
    counts = np.where(right[:, 0].all(axis=0), wrong.sum(axis=0), 0)
    levels, of = _levels(keys, terms), len(right) * len(keys)
    found = []
    for place in np.argsort(-counts, kind="stable")[:_MOST].tolist():
        if counts[place] == 0:
            break
        at = wrong[:, place]
        level = min(levels[i] for i in np.flatnonzero(at))
        first = max(np.flatnonzero(levels == level).tolist(), key=lambda i: int(at[i]))
        told = f"{counts[place]:,} of {of:,} answers wrong, first under {shown_key(keys[first])}"
        found.append(Lost(place, told, keys[first]))
    return found


def _levels(keys: Sequence[str], terms: Terms) -> NDArray[np.int64]:
    """The place of each cell's value on the second axis, (cells,): the levels rise; all alike without one."""
    if len(terms.matrix) < 2:
        return np.zeros(len(keys), dtype=np.int64)
    *_, (axis, values) = terms.matrix.items()
    places = {f"{axis}={value}": i for i, value in enumerate(values)}
    return np.array([next(places[part] for part in key.split(",") if part in places) for key in keys])
