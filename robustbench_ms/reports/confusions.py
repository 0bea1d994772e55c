"""How often each label was answered with each class: as samples are, and under the worst of what perturbs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.record import Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.markdown import escape, grid

__all__ = ["Confusion", "confusions", "confusions_markdown"]

_COUNTS = "/counts"
"""The end of an array's name beside a record."""


class Confusion(NamedTuple):
    """The counts of some cells together."""

    title: str
    """"clean", or "occlusion, all its levels"."""
    names: tuple[str, ...]
    cells: tuple[str, ...]
    counts: NDArray[np.int64]
    """(classes, classes): rows are labels, columns answers."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of each label's samples (classes, classes); nan where it has none."""
        whole = self.counts.sum(axis=1, keepdims=True)
        return self.counts / np.where(whole == 0, np.nan, whole)


def confusions(record: Record, samples: Samples | None) -> Iterator[Confusion]:
    """Of the clean cell, and of all cells of the worst value of the first axis: of the group that its worst is over.

    Nothing where a record keeps no counts; no worst where a cell of the group is missing.
    """
    kept = [] if samples is None else [t for name, t in samples.tables.items() if name.endswith(_COUNTS)]
    if samples is None or not kept:
        return
    names = tuple(record.suite.get("classes") or (f"class {i}" for i in range(kept[0].shape[1])))
    place = {key: i for i, key in enumerate(samples.keys)}

    def of(title: str, keys: list[str]) -> Confusion:
        return Confusion(title, names, tuple(keys), kept[0][[place[key] for key in keys]].sum(axis=0))

    if place.keys() >= {"clean"}:
        yield of("clean", ["clean"])
    terms = Terms.of(record)
    row = next((one for one in terms.rows.summaries.values() if one.how == "worst"), None)
    keys = () if row is None else terms.needs(row.name)
    if row is None or not keys or any(key not in place for key in keys):
        return
    values = {m.key: m.values.get(row.of, {}).get("mean", np.nan) for m in record.measurements}
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(key.partition(",")[0].partition("=")[2], []).append(key)
    worst = min(found, key=lambda name: row.sign * float(np.mean([values[key] for key in found[name]])))
    others = " and ".join(axis.name for axis in terms.axes[1:])
    yield of(f"{worst.replace('_', ' ')}, all its {others}s, the worst", found[worst])


def confusions_markdown(record: Record, samples: Samples | None) -> list[str]:
    """A table for each: per cent of a label's samples, its rows add up to 100."""
    lines: list[str] = []
    for one in confusions(record, samples):
        head = [escape(f"answered where true: {one.title}, %"), *map(escape, one.names)]
        body = [
            [escape(name), *("-" if np.isnan(share) else f"{100 * share:.1f}" for share in row)]
            for name, row in zip(one.names, one.shares, strict=True)
        ]
        lines += [*grid([head, *body]), ""]
    return lines
