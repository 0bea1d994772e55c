"""What is asked, of whom, and how much at once."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustbench_ms.catalog.registry import DATASETS, answers_of, check_places, index_of, perturbation_of
from robustbench_ms.datasets.protocol import Data, DataFacts, Index, Progress, exhausted
from robustbench_ms.datasets.shapes import Images, Layout, Photographs, RaggedImages, RaggedVolumes, Volumes
from robustbench_ms.errors import BadFile, UserError, choose
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import CLEAN, Condition, conditions, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import digest, question
from robustbench_ms.tasks.protocol import Perturbation, Task

__all__ = ["Conditions", "Job", "Question", "fitting_batch", "fitting_step", "refuse_taken", "refuse_twins"]

_LONGEST = 200
"""Bytes of a record's name: its files have endings, and their parts a token beside it, of 255 in all."""


@dataclass(frozen=True)
class Question:
    """One cell's protocol, as all cards are asked it."""

    condition: Condition
    fields: Mapping[str, Any]
    n: int

    @property
    def protocol(self) -> str:
        """Its digest."""
        return digest(self.fields)


@dataclass(frozen=True)
class Job:
    """A condition and those who are asked it: one perturbed batch for all of them."""

    condition: Condition
    cards: tuple[str, ...]


class Conditions:
    """The conditions of a suite, each opened once a canvas: what is known of them, their questions and their data.

    UserError before anything is measured where a condition has other samples or labels than the first one, and where
    the suite's canvas or its perturbations are not for such data. `keep` is the folder of decoded canvases; None
    decodes pictures each time.
    """

    def __init__(self, suite: Suite, task: Task, places: Places, keep: Path | None = None) -> None:
        check_places(places)
        self.suite, self.task, self.places, self.keep = suite, task, places, keep
        self.source = suite.source(task.wants)
        self.conditions = tuple(conditions(suite))
        # Data that are made worse here are one and the same under every condition.
        self._one = not DATASETS[suite.dataset].corrupted
        self._indices: dict[Condition, Index] = {}
        self._opened: dict[tuple[Condition, str | Canvas], tuple[Data, Perturbation | None]] = {}
        self._looked: set[tuple[Condition, str | Canvas]] = set()
        """Whose canvases were looked for in a file."""
        wanted = self.conditions
        self.first = self._index(wanted[0])
        for condition in wanted[1:]:
            other = self._index(condition)
            if not np.array_equal(other.ids, self.first.ids) or other.asked != self.first.asked:
                what = (
                    f"{len(other.ids)} samples" if len(other.ids) != len(self.first.ids) else "other labels"
                )
                raise UserError(
                    f"suite {suite.name}: {key(condition)} has {what}, and {key(wanted[0])} has "
                    f"{len(self.first.ids)}; all conditions must show the same"
                )
        self._canvas: str | Canvas = "stored" if suite.canvas == "model" else suite.canvas
        """Of what is known of the data whoever is asked: where each model has its own, the pictures as they are."""
        self._photographs = isinstance(self.first.layout, Photographs)
        if suite.canvas != "stored" and not self._photographs:
            raise UserError(
                f"suite {suite.name}: {suite.dataset} shows its images as they are stored, so the canvas must be "
                f"'stored', not {str(suite.canvas)!r}"
            )
        layout = self.layout
        kind = (
            (Images if isinstance(suite.canvas, Canvas) else RaggedImages) if layout is None else type(layout)
        )
        if not issubclass(kind, task.layouts):
            raise UserError(f"suite {suite.name}: the task {suite.task} cannot ask about {kind.__name__}")
        if not self._photographs:
            # The first one alone is opened before its turn: models are asked the probe of its layout.
            self._check(self.perturbation(wanted[0]))
        elif layout is not None:
            index = self.first
            facts = DataFacts(
                len(index.ids), "", index.ids, index.groups, index.classes, not self._one, layout, index.names
            )
            self._check(perturbation_of(suite, facts))

    @property
    def layout(self) -> Layout | None:
        """What is shown on the suite's own canvas, as far as that is known before pictures are looked at."""
        if isinstance(self._canvas, Canvas):
            return Images(self.first.layout.channels, self._canvas.crop, self._canvas.crop)
        return None if isinstance(self.first.layout, Photographs) else self.first.layout

    def _check(self, perturbation: Perturbation | None) -> None:
        for condition in self.conditions:
            if condition and perturbation is not None:
                perturbation.check(condition)

    def _index(self, condition: Condition) -> Index:
        at = CLEAN if self._one else condition
        if at not in self._indices:
            self._indices[at] = index_of(self.source, self.places, at)
        return self._indices[at]

    def other(self, source: Source) -> Index:
        """The index of other clean data than what is shown; UnknownName where the data set has no such split."""
        choose(source.split, DATASETS[source.dataset].splits, f"split of {source.dataset}")
        return index_of(source, self.places, CLEAN)

    def opening(
        self, condition: Condition, canvas: str | Canvas | None = None, *, shown: bool = False
    ) -> Generator[Progress, None, Data]:
        """A condition's data on a canvas, the suite's own where none is named, and how far their opening is.

        Where they will be `shown` and several conditions show the same pictures, these come from a file of canvases.
        """
        at = CLEAN if self._one else condition, self._canvas if canvas is None else canvas
        several = self._one and len(self.conditions) > 1
        keep = self.keep if shown and several and at not in self._looked else None
        if at not in self._opened or keep is not None:
            fresh = at not in self._opened
            data = yield from self._index(at[0]).opening(at[1], keep)
            self._opened[at] = data, perturbation_of(self.suite, data.facts)
            if keep is not None:
                self._looked.add(at)
            # What is shown, but for a canvas that was checked before there were any data.
            asked = isinstance(at[1], Canvas) == (self.suite.canvas == "model")
            if fresh and self._photographs and asked:
                self._check(self._opened[at][1])
        return self._opened[at][0]

    def _open(
        self, condition: Condition, canvas: str | Canvas | None = None
    ) -> tuple[Data, Perturbation | None]:
        exhausted(self.opening(condition, canvas))
        return self._opened[CLEAN if self._one else condition, self._canvas if canvas is None else canvas]

    def known(self, condition: Condition) -> bool:
        """Whether its data are open, so that its question costs nothing."""
        return (CLEAN if self._one else condition, self._canvas) in self._opened

    def data(self, condition: Condition, canvas: str | Canvas | None = None) -> Data:
        """The samples of a condition, not yet perturbed."""
        return self._open(condition, canvas)[0]

    def perturbation(self, condition: Condition, canvas: str | Canvas | None = None) -> Perturbation | None:
        """What makes them worse; None where nothing does."""
        return self._open(condition, canvas)[1]

    def question(self, condition: Condition) -> Question:
        """The protocol of the condition's cells, the same on every canvas."""
        data, perturbation = self._open(condition)
        fields = question(self.task, self.suite, data.facts, perturbation, condition)
        return Question(condition, fields, data.facts.n)


def refuse_twins(cards: Sequence[Card], suite: Suite) -> None:
    """UserError where two cards would have one record, or one of them does another task."""
    if not cards:
        raise UserError("no model given; name one with -m")
    seen: dict[str, Card] = {}
    for card in cards:
        if (wanted := answers_of(suite.task)) not in card.tasks:
            raise UserError(
                f"model {card.name} does {', '.join(card.tasks)}, and suite {suite.name} asks for {wanted}"
            )
        if not card.file_name:
            raise UserError(
                f"a model named {card.name!r} would have a record without a name; give it another --name"
            )
        if (size := len(card.file_name.encode())) > _LONGEST:
            raise UserError(
                f"a model's name is that of its record's file, and {card.name[:40]!r}... has {size} bytes of "
                f"{_LONGEST}; give it a shorter --name"
            )
        if (other := seen.get(card.file_name)) is not None:
            both = f"named {card.name!r}" if other.name == card.name else f"{other.name!r} and {card.name!r}"
            raise UserError(
                f"two models are {both}, and a name is a record: drop one, or give it another --name"
            )
        seen[card.file_name] = card


def refuse_taken(cards: Sequence[Card], paths: Mapping[str, Path]) -> None:
    """UserError where a card's record would take the place of one of another name, which makes the same file's."""
    for card in cards:
        if not (path := paths[card.name]).exists():
            continue
        try:
            stands = read_record(path).name
        except BadFile:  # told where it is replaced
            continue
        if stands != card.name:
            raise UserError(f"{path} is the record of {stands!r}; give {card.name!r} another --name")


def fitting_batch(layout: Layout, device: torch.device) -> int:
    """How many samples of a layout are shown at once.

    Some 8 MB of them on a GPU; on a CPU what keeps a small network's maps in its caches. Sixteen at least, but fewer
    where volumes of float32 would be more than 32 MB then, of which a network keeps a map a filter.
    """
    cuda, values = device.type == "cuda", layout.values
    volumes = isinstance(layout, (Volumes, RaggedVolumes))
    fewest = min(16, max(1, 2**23 // values)) if volumes else 16
    return int(np.clip((2**25 if cuda else 2**17) // values, fewest, 512 if cuda else 256))


def fitting_step(batch: int, values: int, device: torch.device) -> int:
    """How many samples are loaded and corrupted at once: whole batches, on a CPU up to some 1 MB of them.

    A corruption has fixed costs, and what keeps a model's maps in the caches is few small images for it.
    """
    return batch if device.type == "cuda" else batch * max(1, 2**20 // (batch * values))
