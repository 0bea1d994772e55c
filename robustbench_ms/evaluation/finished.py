"""What the cache keeps of a record: its finished cells, and what readers make of them without asking a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import DATASETS, axes_of, index_of, measures_of, task_of
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import BadFile, Incomparable, UserError, choose, suggest
from robustbench_ms.evaluation.cells import FinishedCell, cell_path, load_truth, read_cell
from robustbench_ms.evaluation.jobs import Conditions
from robustbench_ms.files import replacing
from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.specs.conditions import CLEAN, Condition, conditions, file_name, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.measure import Mean, cell_values
from robustbench_ms.tasks.outcomes import Items, Outcomes, taken

__all__ = ["Finished", "Part"]

DETECTIONS = "detections"
"""The table of items that COCO's results are written of."""


@dataclass(frozen=True)
class Part:
    """The samples of a part, and what is measured on them alone."""

    name: str
    n: int
    values: Mapping[str, Mapping[str, float]]
    """{cell: {metric: value}}, those that have a value."""


class Finished:
    """A record's finished cells in the cache, its suite and the index of its data.

    UserError where the suite is not known, or is another task's.
    """

    def __init__(self, record: Record, places: Places, suite: Suite) -> None:
        self.record, self.places, self.suite = record, places, suite
        if suite.task != record.task:
            raise UserError(
                f"{record.name} is a record of {record.task}, and suite {suite.name} is of {suite.task}"
            )
        self.task = task_of(suite)
        self.conditions = {file_name(condition): condition for condition in conditions(suite)}

    @cached_property
    def index(self) -> Index:
        """Of the uncorrupted data; decodes nothing."""
        return index_of(self.suite.source(self.task.wants), self.places, CLEAN)

    @cached_property
    def shown(self) -> Conditions:
        """The conditions with their data."""
        return Conditions(self.suite, self.task, self.places)

    def few(self) -> list[str]:
        """Names of four cells at most: the first, and of kinds of perturbation the first at a middle strength."""
        axes = axes_of(self.suite.matrix) or ()
        kinds = [part[0] for axis in axes[:1] for part in axis.parts.values()] or [
            a.values[0] for a in axes[:1]
        ]
        middle = [(axis.name, self.suite.matrix[axis.name]) for axis in axes[1:]]
        wanted = [
            file_name(((axes[0].name, kind), *((name, values[len(values) // 2]) for name, values in middle)))
            for kind in kinds
        ]
        first = next(iter(self.conditions))
        found = [first, *(name for name in wanted if name in self.conditions)]
        return (found if len(found) > 1 else list(self.conditions))[:4]

    def middling(self) -> list[str]:
        """Names of the first cell, and of each value of the first axis at a middle one of the others."""
        of: dict[object, list[str]] = {}
        for name, condition in self.conditions.items():
            of.setdefault(condition[0][1] if condition else None, []).append(name)
        return [some[len(some) // 2] for some in of.values()]

    def named(self, name: str) -> Condition:
        """The condition of a name as people give it, "clean" or "fog-3"; UnknownName with the nearest."""
        return self.conditions[choose(name, self.conditions, "cell", f"suite {self.suite.name}")]

    def measured(self, condition: Condition) -> Measurement:
        """What the record has of a condition; UserError where it is no finished cell of it."""
        found = self.record.cell(key(condition))
        if found is None:
            raise UserError(
                f"{self.record.name} has no finished cell {key(condition)}; this makes it: {self.record.command}"
            )
        return found

    def _finished(self) -> list[Condition]:
        """The suite's conditions of which the record has a finished cell."""
        return [c for c in self.conditions.values() if self.record.cell(key(c)) is not None]

    def cell(self, condition: Condition) -> FinishedCell:
        """The finished cell; UserError names the command that makes it where the cache has none."""
        measured, folder = self.measured(condition), self.places.cache / "cells"
        subject = self.record.subject
        path = cell_path(folder, measured.protocol, str(subject.get("cells", subject["digest"])))
        try:
            return read_cell(path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder} has no finished cell {key(condition)} of {self.record.name} (another cache? --cache); "
                f"this makes it: {self.record.command}"
            ) from None
        except BadFile as error:
            raise BadFile(f"{error}; this makes it again: {self.record.command}") from error

    def outcomes(self, condition: Condition) -> Outcomes:
        """Those of the finished cell, or of the bits beside the record where the cache has none."""
        try:
            return self.cell(condition).outcomes
        except UserError:
            samples = self.record.samples()
            kept = [s for s in measures_of(self.record.task) if isinstance(s, Mean) and s.kept == "bits"]
            found = (
                {s.column: samples.bits(s.array("bits"), [key(condition)]) for s in kept} if samples else {}
            )
            columns = {name: bits[0] for name, bits in found.items() if bits is not None}
            if not columns:
                raise
            return Outcomes(columns)

    def check_data(self, condition: Condition) -> None:
        """Incomparable where the data are shown otherwise here than when the cell was measured."""
        asked, measured = self.shown.question(condition), self.measured(condition)
        if asked.protocol == measured.protocol:
            return
        then = {**self.record.suite["protocol"], **measured.condition}
        here = json.loads(json.dumps(dict(asked.fields), default=list))
        apart = [
            f"{name} is {here.get(name)} here and {then.get(name)} in the record"
            for name in dict.fromkeys([*then, *here])
            if then.get(name) != here.get(name)
        ]
        raise Incomparable(f"{self.record.name}: {key(condition)} asks another question: {'; '.join(apart)}")

    def rows(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """Where samples of these ids stand, (k,); UserError names one that is not shown."""
        known = {number: row for row, number in enumerate(self.index.ids.tolist())}
        for number in ids:
            if number not in known:
                near = suggest(str(number), map(str, known))
                raise UserError(f"suite {self.suite.label} shows no sample of id {number}{near}")
        return np.array([known[number] for number in ids], dtype=np.int64)

    def parts(self) -> Iterator[tuple[str, list[Part]]]:
        """By each way in which the data part, ("ground", its parts): the first measure's values on each part alone.

        Over the cells that are measured. UserError where the cache lacks one.
        """
        every = self._finished()
        if not every or not DATASETS[self.suite.dataset].parts:
            return
        cells = {key(condition): self.cell(condition) for condition in every}
        self.check_data(every[0])
        first = next(iter(cells.values()))
        truth = load_truth(self.places.cache / "truths", str(self.record.suite["protocol"]["data"]), first.n)
        for name, of in self.index.parts.items():
            found = []
            for part in np.unique(of):
                rows = np.flatnonzero(of == part)
                values = {cell: self._values(one, truth, rows) for cell, one in cells.items()}
                found.append(Part(str(part), len(rows), values))
            yield name, found

    def _values(
        self, cell: FinishedCell, truth: Outcomes | None, rows: NDArray[np.int64]
    ) -> Mapping[str, float]:
        """What is measured first on some samples of a cell, {metric: value}."""
        scorer = measures_of(self.record.task)[0]
        # As one group they have no replicates, which are not wanted and cost more than the values.
        one = np.zeros(len(rows), dtype=np.int64)
        true = None if truth is None else taken(truth, rows)
        try:
            values, _, _ = cell_values([scorer], taken(cell.outcomes, rows), true, self.index.ids[rows], one)
        except ValueError as error:
            if truth is not None:
                raise
            raise UserError(f"{self.places.cache / 'truths'} lacks what is true of the data") from error
        return {name: value["mean"] for name, value in values.items()}

    def write_detections(self, folder: Path) -> Iterator[tuple[Path, int]]:
        """Write each cell's detections as COCO's results, `clean.json` and `fog-3.json`, as `-m results:FOLDER` reads.

        Yields (file, detections). UserError before anything is written where the task keeps none, or a cell is missing.
        """
        wanted = self._finished()
        if not wanted:
            raise UserError(f"{self.record.name} has no finished cell of suite {self.suite.label}")
        for condition in wanted:  # all of them first, without their arrays in memory
            if DETECTIONS not in self.cell(condition).outcomes.items:
                raise UserError(
                    f"{self.record.name} is a record of {self.record.task}, which keeps no detections"
                )
        self.check_data(wanted[0])
        Places.writable(folder, "detections")
        for condition in wanted:
            outcomes = self.cell(condition).outcomes
            told = _results(outcomes.items[DETECTIONS], outcomes, self.index)
            path = folder / f"{file_name(condition)}.json"
            with replacing(path) as part:
                part.write_text("[" + ",\n".join(map(json.dumps, told)) + "]\n", encoding="utf-8")
            yield path, len(told)


def _results(table: Items, outcomes: Outcomes, index: Index) -> list[dict[str, Any]]:
    """COCO's results of detections, in their order; scores as the shortest decimals of their float32."""
    numbers = index.category_ids or tuple(range(index.classes))
    corners = table.columns["box"].astype(np.float64)
    # The differences of float64 give back the float32 corner when they are added again.
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    found: list[dict[str, Any]] = []
    for i, owner in enumerate(table.owner.tolist()):
        one = {
            "image_id": int(index.ids[owner]),
            "category_id": numbers[int(table.columns["label"][i])],
            "bbox": boxes[i],
            "score": float(str(table.columns["score"][i])),
        }
        if "rle" in table.columns:
            size = [int(outcomes.samples[side][owner]) for side in ("height", "width")]
            one["segmentation"] = {"size": size, "counts": table.columns["rle"][i].decode("ascii")}
        found.append(one)
    return found
