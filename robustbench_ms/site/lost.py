"""Which samples a card loses: right when clean and wrong under what makes them worse, or scored lower there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.comparison import Side
from robustbench_ms.records.record import Record
from robustbench_ms.records.summary import sample_means
from robustbench_ms.records.terms import Terms
from robustbench_ms.site.text import capital, shown_key
from robustbench_ms.specs.metrics import Metric

__all__ = ["Losses", "Lost", "lost_of"]

_MOST = 10


class Lost(NamedTuple):
    """One sample."""

    place: int
    """Its row in the data, from 0."""
    told: str
    cell: str
    """The condition that shows how it is lost."""


class Losses(NamedTuple):
    """Those of a card."""

    about: str
    """What they are, a sentence."""
    drawn: str
    """What their pictures show."""
    samples: list[Lost]


def lost_of(mine: Sequence[Record], terms: Terms, worst: str) -> Losses | None:
    """The samples that are lost most, ten at most; None where no record keeps single samples.

    `mine` are seeds of a card, which count together. `worst` is the cell in which its first metric is worst: where a
    record keeps scores, and these as means over cells alone, it shows what became of a sample.
    """
    sides = [Side.of(record) for record in mine]
    metric, scorer = terms.rows.first, terms.scorers[terms.rows.first.name]
    keys = [
        key for key in terms.every if key != "clean" and all(_has(side, key, metric.name) for side in sides)
    ]
    if not keys or not all(_has(side, "clean", metric.name) for side in sides):
        return None
    if scorer.kept == "bits":
        bits = [side.bits(metric.name, ["clean", *keys]) for side in sides]
        whole = [one.astype(bool) for one in bits if one is not None]
        if len(whole) < len(sides) or len({one.shape for one in whole}) > 1:
            return None
        return _wrong(np.stack(whole), keys, terms)
    return _fallen(sides, metric, worst, terms)


def _has(side: Side, key: str, name: str) -> bool:
    return key in side.cells and name in side.cells[key].values


def _wrong(right: NDArray[np.bool_], keys: Sequence[str], terms: Terms) -> Losses:
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
    seeds = f" in all {len(right)} seeds" if len(right) > 1 else ""
    return Losses(
        f"Right when clean{seeds}, and wrong most often over {len(keys)} conditions.",
        "clean, and under the weakest condition under which an answer is wrong",
        found,
    )


def _levels(keys: Sequence[str], terms: Terms) -> NDArray[np.int64]:
    """The place of each cell's value on the second axis, (cells,): the levels rise; all alike without one."""
    if len(terms.matrix) < 2:
        return np.zeros(len(keys), dtype=np.int64)
    *_, (axis, values) = terms.matrix.items()
    places = {f"{axis}={value}": i for i, value in enumerate(values)}
    return np.array([next(places[part] for part in key.split(",") if part in places) for key in keys])


def _fallen(sides: Sequence[Side], metric: Metric, worst: str, terms: Terms) -> Losses | None:
    """Of scores of the clean cell and their means over others: those that fall furthest."""
    over = next(
        (
            row
            for row in terms.rows.summaries.values()
            if (row.of, row.how) == (metric.name, "mean") and row.over[0] != "clean"
        ),
        None,
    )
    if over is None or not (keys := terms.keys(over.over[0])):
        return None
    scorer, pairs = terms.scorers[metric.name], []
    for side in sides:
        clean = sample_means(side.samples, scorer, "clean", ["clean"])
        under = sample_means(side.samples, scorer, over.over[0], keys)
        if clean is None or under is None:
            return None
        pairs.append(np.stack([clean, under]))
    clean, under = np.mean(np.stack(pairs), axis=0)
    fall = metric.sign * (clean - under)
    order = [i for i in np.argsort(-fall, kind="stable")[:_MOST].tolist() if fall[i] > 0]
    found = [Lost(i, f"{metric.show(clean[i])} to {metric.show(under[i])}", worst) for i in order]
    label, under_what = capital(metric.label), terms.counted(over.over[0])
    about = f"{label} when clean, and as a mean over {under_what}: those that fall furthest."
    return Losses(about, f"clean, and under {shown_key(worst)}", found)
