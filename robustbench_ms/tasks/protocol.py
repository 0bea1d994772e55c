"""Tasks and perturbations: how samples are changed, asked about and scored. The loop knows no other task by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from robustbench_ms.datasets.protocol import Batch, DataFacts, Index
    from robustbench_ms.datasets.shapes import Layout
    from robustbench_ms.specs.card import Card
    from robustbench_ms.specs.conditions import Condition
    from robustbench_ms.specs.source import Source
    from robustbench_ms.tasks.answers import Answers
    from robustbench_ms.tasks.outcomes import Outcomes

__all__ = ["Asked", "Drawing", "Geometry", "IndexOf", "Perturbation", "Shown", "Task"]

IndexOf = Callable[["Source"], "Index"]
"""The index of other clean data of a source: of another split, or fewer. UnknownName where it has no such split."""


@dataclass(frozen=True)
class Geometry:
    """How canvases became what a model is shown: resized, then cropped or padded."""

    canvas: tuple[int, int]
    """Height and width of the samples."""
    resized: tuple[int, int]
    offset: tuple[int, int]
    """Where the resized canvas begins in what is shown, in its pixels; negative where it was cropped."""
    scale: float | None = None
    """By which both sides grew, before they were rounded to pixels; None where each side has a scale of its own."""


@dataclass(frozen=True)
class Shown:
    """One sample under one condition beside what was answered to it, as a task draws it."""

    pixels: NDArray[np.uint8]
    """(H, W, 3), RGB, enlarged or made smaller by `zoom`."""
    zoom: float
    """Pixels a pixel of the sample."""
    target: Any
    """What is asked about it."""
    answer: Outcomes
    """Its outcomes: (1, ...) a column, and its items; those columns alone that were kept."""
    names: tuple[str, ...]
    """What classes are called; () where they have no names."""
    score: float
    """From which on an answer with a score is drawn."""
    maps: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What is true of each of its pixels, (H, W) of the sample itself, by name."""


@dataclass(frozen=True)
class Drawing:
    """How a task draws (`TaskInfo.drawing`)."""

    draw: Callable[[Shown], Any]
    """A picture of Pillow's, as wide as the sample is shown; it may be higher."""
    legend: Callable[[float], str]
    """What is to be seen, of answers with that score or more: a sentence or two for a caption."""
    truth: Callable[[Sequence[Shown]], Any] | None = None
    """What is true of a sample that is shown under several conditions, a picture before theirs; None where `draw` has
    it."""
    worth: Callable[[Outcomes], NDArray[np.float64]] | None = None
    """How good each sample's heat map is, (n,), nan where it has none; None of tasks without maps."""


class Asked(Protocol):
    """A model as a task asks it."""

    @property
    def card(self) -> Card:
        """With its input completed from what the library knows."""

    @property
    def module(self) -> Any:
        """What answers: mostly a torch module."""

    @property
    def device(self) -> Any:
        """Torch's, on which it wants samples."""

    @property
    def classes(self) -> int:
        """Of the data that it is asked about."""

    @property
    def names(self) -> tuple[str, ...]:
        """What these are called; () where they have no names."""

    @property
    def calibration(self) -> Mapping[str, Any]:
        """What `Task.calibrate` found; {} for most tasks."""

    def prepare(self, samples: Tensor) -> tuple[Tensor, Geometry]:
        """What the card's input makes of samples on its device."""

    def forward(self, shown: Tensor) -> Any:
        """The model's own answer, in its precision, with the grad mode of the caller."""


class Perturbation(Protocol):
    """What makes samples worse under a condition; made once a suite and data: `perturbation(suite, facts)`."""

    def moves(self, condition: Condition) -> bool:
        """Whether it moves what is where, and so the batch's maps with it; whatever else, it leaves them alone."""

    def number(self, condition: Condition) -> int:
        """The protocol number of that one perturbation, raised by hand when a byte of it changes."""

    def check(self, condition: Condition) -> None:
        """UserError for what it cannot do with these data, before anything is measured."""

    def question(self, condition: Condition) -> dict[str, Any]:
        """The readable fields of the protocol that it adds to the condition's own."""

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The same samples under the condition."""


class Task(Protocol):
    """What the loop asks of a task, which is made once a suite: `task(suite)`."""

    number: int
    """Of what is shown and asked; a measure has a number of its own. Raised by hand."""
    layouts: tuple[type[Any], ...]
    """The layouts of data that it can ask about."""
    wants: tuple[str, ...]
    """What it needs of each sample: "label", "boxes", "masks", "shapes", "map"."""

    def ask(self, model: Asked, batch: Batch) -> Answers:
        """Answers to a batch, in the samples' own pixels: the only caller of a model."""

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """What the answers to a batch come to, as arrays; owners count the batch's samples."""

    def truth(self, batch: Batch) -> Outcomes | None:
        """What is true of a batch, where measures need it beside the outcomes; kept once a data digest."""

    def calibrate(self, model: Asked, source: Source, index_of: IndexOf) -> dict[str, Any]:
        """What is found once a card before its probe, and is part of who answers (thresholds); {} for most.

        `source` is what the suite shows.
        """

    def question(self, facts: DataFacts) -> dict[str, Any]:
        """The readable fields of the protocol that are the task's: {"data": digest, "n": n} and its options."""

    def probe(self, layout: Layout) -> Batch:
        """Eight fixed samples of the layout, the same on every machine, on the CPU."""

    def health(self, answers: Answers, facts: DataFacts) -> list[str]:
        """What is odd about the answers to the probe, one phrase each; UserError where they cannot be scored."""

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """What is odd about the values of the clean cell."""
