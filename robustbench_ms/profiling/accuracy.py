"""What another precision, or a compiler, costs in accuracy: the clean cell of a suite, in both."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import RecordDone, Trouble
from robustbench_ms.evaluation.run import run
from robustbench_ms.records.profile import Row
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.loading import build_module

__all__ = ["kept_accuracy"]


def kept_accuracy(row: Row, card: Card, suite: Suite | None, places: Places, device: torch.device) -> Row:
    """The row with what its very network answers right of the suite's clean samples, and what fp32 does.

    A row that is fp32's own, trains, or failed stays as it is, and so does each without a suite, and of a card without
    weights, whose accuracy is chance. UserError where the model cannot be asked.
    """
    if suite is None or row.error or row.train or (row.precision == "fp32" and not row.compile):
        return row
    if not card.weights and card.untrained:
        return row
    one = card.replicates()[0]
    asked = replace(suite, matrix={}, also=("clean",))
    plain = _first(replace(one, precision="fp32"), asked, places, device)
    other = replace(one, precision=row.precision)
    if row.compile:
        other = replace(other, build=_Compiled(one, suite.classes or 1000), args={})
    value = _first(other, asked, places, device)
    told = {"suite": suite.label, "metric": rows_of(suite.task).first.name, "value": value, "fp32": plain}
    return replace(row, facts={**row.facts, "kept": told})


class _Compiled:
    """A build target: the card's network, compiled at its first call."""

    def __init__(self, card: Card, classes: int) -> None:
        self._card, self._classes = card, classes
        self.__qualname__ = "compiled"

    def __call__(self) -> Any:
        module, _ = build_module(self._card, self._classes)
        if not isinstance(module, nn.Module):
            raise UserError("it is no torch module, which alone can be compiled")
        module.compile()
        return module


def _first(card: Card, suite: Suite, places: Places, device: torch.device) -> float:
    """The clean value of the task's first measure; finished cells are taken from the cache."""
    with tempfile.TemporaryDirectory(prefix="rbms-profile-") as scratch:
        kept = replace(places, results=Path(scratch))
        for event in run(suite, [card], kept, Settings(device=str(device))):
            if isinstance(event, Trouble):
                raise UserError(f"model {card.name} cannot be asked about {suite.label}: {event.message}")
            if isinstance(event, RecordDone):
                cell = event.record.cell("clean")
                assert cell is not None
                return cell.values[rows_of(suite.task).first.name]["mean"]
    raise UserError(f"model {card.name} gave no record of {suite.label}")
