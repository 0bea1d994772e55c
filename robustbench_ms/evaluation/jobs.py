"""What is asked, of whom, and how much at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robustbench_ms.catalog.registry import DATASETS, answers_of, index_of, perturbation_of
from robustbench_ms.datasets.protocol import Data, Index
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import CLEAN, Condition, conditions, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import digest, question
from robustbench_ms.tasks.protocol import Perturbation, Task

__all__ = ["Conditions", "Job", "Question", "fitting_batch", "fitting_step", "refuse_twins"]


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
    """The conditions of a suite, each opened once: what is known of them, their questions and their data.

    UserError before anything is measured where a condition has other samples or labels than the first one.
    """

    def __init__(self, suite: Suite, task: Task, places: Places) -> None:
        self.suite, self.task, self.places = suite, task, places
        self.source = suite.source(task.wants)
        self.conditions = tuple(conditions(suite))
        # Data that are made worse here are one and the same under every condition.
        self._one = not DATASETS[suite.dataset].corrupted
        self._indices: dict[Condition, Index] = {}
        self._opened: dict[Condition, tuple[Data, Perturbation | None]] = {}
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
        if not isinstance(self.first.layout, task.layouts):
            raise UserError(
                f"suite {suite.name}: the task {suite.task} cannot ask about {type(self.first.layout).__name__}"
            )
        # The first one alone is opened before its turn: models are asked the probe of its layout.
        perturbation = self.perturbation(wanted[0])
        for condition in wanted:
            if condition and perturbation is not None:
                perturbation.check(condition)

    def _index(self, condition: Condition) -> Index:
        at = CLEAN if self._one else condition
        if at not in self._indices:
            self._indices[at] = index_of(self.source, self.places, at)
        return self._indices[at]

    def _open(self, condition: Condition) -> tuple[Data, Perturbation | None]:
        at = CLEAN if self._one else condition
        if at not in self._opened:
            data = self._index(at).open(self.suite.canvas)
            self._opened[at] = data, perturbation_of(self.suite, data.facts)
        return self._opened[at]

    def known(self, condition: Condition) -> bool:
        """Whether its data are open, so that its question costs nothing."""
        return (CLEAN if self._one else condition) in self._opened

    def data(self, condition: Condition) -> Data:
        """The samples of a condition, not yet perturbed."""
        return self._open(condition)[0]

    def perturbation(self, condition: Condition) -> Perturbation | None:
        """What makes them worse; None where nothing does."""
        return self._open(condition)[1]

    def question(self, condition: Condition) -> Question:
        """The protocol of the condition's cells."""
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
        if card.file_name in seen:
            raise UserError(
                f"two models are named {card.name!r}, and a name is a record: drop one, or give it another --name"
            )
        seen[card.file_name] = card


def fitting_batch(values: int, device: torch.device) -> int:
    """How many samples of that many numbers are shown at once.

    Some 8 MB of them on a GPU; on a CPU what keeps a small network's maps in its caches.
    """
    cuda = device.type == "cuda"
    return int(np.clip((2**25 if cuda else 2**17) // values, 16, 512 if cuda else 256))


def fitting_step(batch: int, values: int, device: torch.device) -> int:
    """How many samples are loaded and corrupted at once: whole batches, on a CPU up to some 1 MB of them.

    A corruption has fixed costs, and what keeps a model's maps in the caches is few small images for it.
    """
    return batch if device.type == "cuda" else batch * max(1, 2**20 // (batch * values))
