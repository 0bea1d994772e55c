"""Tasks: how a kind of data set is opened, asked and scored. The loop knows this protocol and no task by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from robustbench_ms.specs.conditions import Condition
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.suite import Suite

__all__ = ["Batch", "Data", "Task"]


@dataclass(frozen=True)
class Batch:
    """Some samples, shown to every card."""

    samples: torch.Tensor
    """For images uint8 (N, C, H, W) on the device."""
    targets: torch.Tensor
    ids: NDArray[np.int64]


class Data(Protocol):
    """A split under one condition."""

    ids: NDArray[np.int64]
    classes: int
    sha256: str

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


class Task(Protocol):
    """What the runner asks of a task."""

    number: int
    """The protocol number of its scoring: raised by hand when a value's meaning changes."""
    metrics: tuple[str, ...]

    def open(self, suite: Suite, places: Places, condition: Condition) -> Data:
        """The samples of one condition."""

    def question(self, suite: Suite, data: Data, condition: Condition) -> dict[str, Any]:
        """The readable fields of the protocol that belong to the condition: all that fixes what is shown."""

    def load(self, data: Data, start: int, stop: int, device: torch.device) -> Batch:
        """Samples start..stop on the device, uncorrupted."""

    def corrupt(self, batch: Batch, suite: Suite, condition: Condition) -> Batch:
        """The same samples under the condition."""

    def probe(self, data: Data) -> torch.Tensor:
        """Eight fixed samples of the data's shape, the same on every machine."""

    def outcomes(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        """Per-sample results (n,) of raw outputs, on the outputs' device."""

    def score(self, outcomes: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, float]]:
        """{metric: {mean, stderr}} of a cell's per-sample results."""

    def health(self, outputs: torch.Tensor, data: Data) -> list[str]:
        """What is odd about the raw outputs on the probe, one sentence each; UserError where they cannot be scored."""

    def doubts(self, values: Mapping[str, Mapping[str, float]], data: Data) -> list[str]:
        """What is odd about the scores of the clean cell."""
