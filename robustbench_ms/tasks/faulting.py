"""The faults of sensors as a suite asks for them: a perturbation of windows of signals."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch

from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Signals
from robustbench_ms.errors import UserError
from robustbench_ms.faults.api import fault, refuse
from robustbench_ms.faults.frame import Frame
from robustbench_ms.faults.table import PROTOCOL
from robustbench_ms.specs.channels import read_scales
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite

__all__ = ["Faults"]


class Faults:
    """A suite's scales and seed, on its data's channels."""

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        place = f"suite {suite.name}"
        layout = facts.layout
        if not isinstance(layout, Signals):
            raise UserError(
                f"{place}: faults are of windows of signals, and {suite.dataset} has {type(layout).__name__}"
            )
        if "scales" not in suite.options:
            raise UserError(
                f"{place}: faults are measured in the training samples' own scales: it needs [scales] with channel = "
                "[mean, sd, largest] for each"
            )
        scales = read_scales(suite.options["scales"], layout.of, place)
        self._suite, self._length = suite, layout.length
        self._frame = Frame(layout.of, scales)
        self._scales = hashlib.sha256(repr(scales).encode()).hexdigest()[:16]

    def moves(self, condition: Condition) -> bool:
        """None does: a window has one label, whatever becomes of its samples."""
        del condition
        return False

    def number(self, condition: Condition) -> int:
        """The fault's protocol number."""
        return PROTOCOL[dict(condition)["fault"]]

    def check(self, condition: Condition) -> None:
        """UserError for a fault that the channels do not allow."""
        try:
            refuse(dict(condition)["fault"], self._frame, self._length)
        except UserError as error:
            raise UserError(f"suite {self._suite.name}: {error}") from error

    def question(self, condition: Condition) -> dict[str, Any]:
        """Protocol number, seed, and the digest of the scales."""
        return {"fault_protocol": self.number(condition), "seed": self._suite.seed, "scales": self._scales}

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The batch's windows float32 (k, C, T) under a fault, keyed by their ids."""
        wanted = dict(condition)
        shown = fault(
            batch.samples, wanted["fault"], wanted["level"], self._frame, ids=torch.from_numpy(batch.ids),
            seed=self._suite.seed,
        )  # fmt: skip
        return replace(batch, samples=shown, condition=condition)
