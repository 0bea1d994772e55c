"""Whether a model is shown what it was trained on: by what enters its first batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from robustbench_ms.datasets.protocol import Data
from robustbench_ms.errors import DeviceLost, Misbehaved
from robustbench_ms.subjects.asking import ask
from robustbench_ms.subjects.loading import Model
from robustbench_ms.tasks.protocol import Task

__all__ = ["misfit", "variance_ratios"]

SAMPLES = 128
"""So many clean samples tell the variance of a channel well enough: it is taken over all of their pixels."""
TOLERATED = (0.5, 2.0)
"""Of the ratios: of photographs right inputs have 0.9 to 1, and ImageNet's mean and std in place of a half 4.6."""
MOST = 0.9
"""Of the channels must lie on one side of that: a wrong range or std stretches all of them alike, by its square.

Pictures that are calmer than those of the training are so in some: of scenes whose grounds have half the variance of
those it learnt from a right input has 0.4 to 1.2, median 0.5.
"""
SILENT = 1e-3
"""Channels whose running variance is no larger are dead, or nearly, and their ratio says nothing."""


class _Reached(Exception):
    """The first batch normalisation was reached; what comes behind it is not needed."""


def misfit(model: Model, task: Task, data: Data) -> str | None:
    """What speaks against a model's input, by clean data; None where nothing does."""
    ratios = variance_ratios(model, task, data)
    if ratios is None:
        return None
    low, middle, high = np.quantile(ratios, [1 - MOST, 0.5, MOST])
    if low <= TOLERATED[1] and high >= TOLERATED[0]:
        return None
    return (
        f"what enters its first batch normalisation varies {middle:.2g} times as much as in its training: are range, "
        f"mean and std its own? ({model.card.input.describe()})"
    )


def variance_ratios(model: Model, task: Task, data: Data) -> NDArray[np.float64] | None:
    """The variance of what enters the first batch normalisation over its running variance, of each channel (C,).

    Of 128 clean samples spread over the data; no more of them is computed than what lies before it. None where there
    is no such layer, where it is not trained, or where it is in train mode: asking it would change its state. None of
    a TorchScript program either, whose parts take no hook.
    """
    module = None if isinstance(model.module, torch.jit.ScriptModule) else model.module
    parts = module.modules() if isinstance(module, nn.Module) else ()
    norms = [part for part in parts if _normalises(part)]
    if not model.asked or not norms or any(part.training for part in norms):
        return None
    entered = _Entered()
    hooks = [part.register_forward_pre_hook(entered) for part in norms]
    try:
        for row in np.unique(np.linspace(0, data.facts.n - 1, SAMPLES).round().astype(np.int64)):
            try:
                ask(task, model, data.load(np.array([row]), model.device))
            except Misbehaved as error:
                if not isinstance(error.__cause__, _Reached):
                    return None
    except DeviceLost:
        raise
    except Exception:  # noqa: BLE001 - one that fails on samples is stopped at its first cell, and told there
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return entered.ratios()


def _normalises(part: nn.Module) -> bool:
    """Batch normalisation, frozen or not, of whatever library: what has a running variance of the whole batch."""
    return isinstance(getattr(part, "running_var", None), Tensor) and not isinstance(part, _InstanceNorm)


class _Entered:
    """A hook before the first layer that is reached: sums over what enters it, by channel."""

    def __init__(self) -> None:
        self.norm: nn.Module | None = None
        self.count = 0
        self.sums: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def __call__(self, norm: nn.Module, given: tuple[Any, ...]) -> None:
        """Note what enters, and go no further."""
        values = given[0].detach().double().transpose(0, 1).flatten(1)
        self.norm = norm
        self.count += values.shape[1]
        self.sums = self.sums + values.sum(dim=1)
        self.squares = self.squares + values.square().sum(dim=1)
        raise _Reached

    def ratios(self) -> NDArray[np.float64] | None:
        """Of the channels that are heard; None where nothing came, or where the running variance is as it was built."""
        if self.norm is None:
            return None
        running: Any = self.norm.running_var
        heard = running > SILENT
        if bool((running == 1).all()) or not bool(heard.any()):
            return None
        mean = self.sums / self.count
        variance: Any = self.squares / self.count - mean * mean
        return np.asarray((variance / running.double())[heard].cpu(), np.float64)
