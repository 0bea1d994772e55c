"""From a card to what is timed: its network with random weights, an input ready on the device, a call."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.shapes import Images, Signals, Volumes
from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.costs import costs
from robustbench_ms.specs.card import PRECISIONS, Card, Input
from robustbench_ms.specs.channels import Channel
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.adapting import is_adapted
from robustbench_ms.subjects.costs import input_of
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.loading import Model, load_model
from robustbench_ms.tasks.answers import Answers

__all__ = ["YARDSTICK", "Setting", "Subject", "load", "reason", "yardstick"]

YARDSTICK = Card("resnet18", "torchvision:resnet18", input=Input(size=224), untrained=True)
"""At 3 x 224 x 224 whatever the task: it measures the machine."""
_NO_COMPILER = re.compile(
    r"InvalidCxxCompiler|No working C\+\+ compiler|find C compiler|working triton installation"
)
"""As torch and Triton say it."""
_RATE = 1e-6
"""A step's arithmetic is that of any rate; so small a one leaves the weights finite over thousands of steps."""


@dataclass(frozen=True)
class Setting:
    """How all models of a group of rows are called."""

    batch: int
    precision: str | None = None
    """None is each card's own."""
    compile: bool = False
    train: bool = False

    def __post_init__(self) -> None:
        """UserError for what no call can have."""
        if self.batch < 1:
            raise UserError(f"a batch has 1 image or more, not {self.batch}")
        if self.precision is not None:
            choose(self.precision, PRECISIONS, "precision", "--precision")


@dataclass(frozen=True)
class Subject:
    """A network on its device."""

    name: str
    model: Model
    shape: tuple[int, ...]
    """Of one sample that it is shown."""

    @property
    def costs(self) -> dict[str, Any]:
        """As `models.costs` has them; {} of what is no torch module, or cannot be called there."""
        module = self.model.module
        try:
            with Guard(self.name):
                return costs(module, self.shape) if isinstance(module, nn.Module) else {}
        except UserError:
            return {}

    def in_setting(self, setting: Setting) -> Subject:
        """Itself in that precision; compiled (at its first call) or trained it is a copy, and this one stays."""
        card, module = self.model.card, self.model.module
        card = replace(card, precision=setting.precision or card.precision)
        if setting.compile or setting.train:
            if not isinstance(module, nn.Module):
                raise UserError("it is no torch module, which alone can be compiled and trained")
            module = copy.deepcopy(module).train(setting.train)
        if setting.compile:
            module.compile()  # type: ignore[attr-defined]
        return replace(self, model=replace(self.model, card=card, module=module))

    def forward(self, batch: int) -> Callable[[], object]:
        """A forward pass of an input that is ready on the device."""
        model, shown = self.model, self._shown(batch)

        def run() -> object:
            with torch.inference_mode():
                return model.forward(shown)

        return run

    def end_to_end(self, batch: int) -> Callable[[], object] | None:
        """From bytes in host memory, of the size that the card is shown, to answers on the device; None of others."""
        if len(self.shape) != 3:
            return None
        model, canvas = self.model, self._canvas(batch)

        def run() -> object:
            with torch.inference_mode():
                return model.forward(model.prepare(canvas.to(model.device))[0])

        return run

    def training(self, batch: int) -> Callable[[], object]:
        """Forward, backward and a step of SGD with momentum, on the cross entropy of class 0."""
        model, shown = self.model, self._shown(batch)
        assert isinstance(model.module, nn.Module)
        optimizer = torch.optim.SGD(model.module.parameters(), lr=_RATE, momentum=0.9)
        target = torch.zeros(batch, dtype=torch.int64, device=model.device)

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            logits = Answers(model.forward(shown)).tensor
            nn.functional.cross_entropy(logits.float(), target).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return run

    def call(self, setting: Setting) -> Callable[[], object]:
        """What is timed."""
        return (self.training if setting.train else self.forward)(setting.batch)

    def _canvas(self, batch: int) -> Tensor:
        random = torch.Generator().manual_seed(0)
        size = (batch, 3, *self.shape[1:])
        return torch.randint(0, 256, size, dtype=torch.uint8, generator=random)

    def _shown(self, batch: int) -> Tensor:
        if len(self.shape) == 3:
            return self.model.prepare(self._canvas(batch).to(self.model.device))[0]
        random = torch.Generator().manual_seed(0)
        return torch.randn((batch, *self.shape), generator=random).to(self.model.device)


def load(card: Card, device: torch.device, places: Places, classes: int = 1000) -> Subject:
    """Its network in eval mode; weights are random, but of a file: they change no time, and need not be there.

    `classes` only where its args do not say. UserError where it cannot be built.
    """
    index = Index(np.arange(1), _layout(card.input), classes, "", _unopened)
    one = card.replicates()[0]
    one = one if is_adapted(card) else replace(card, weights=(), untrained=True)
    model = load_model(one, index, device=device, places=places)
    known = model.card
    if isinstance(model.module, nn.Module):
        shape = input_of(known, model.module)
    else:
        shape = (3, known.input.size or 32, known.input.size or 32)
    return Subject(card.group, model, shape)


def _layout(shown: Input) -> Images | Signals | Volumes:
    """Data of the kind that a card is shown; of windows and volumes the network says the size, and none is opened."""
    side, channels = shown.size or 32, len(shown.mean)
    if shown.channels == "volumes":
        return Volumes(channels, (side, side, side))
    if shown.channels == "signals":
        return Signals(tuple(Channel(str(i), "unstated", "", str(i)) for i in range(channels)), side, 1.0)
    return Images(3, side, side)


def yardstick(device: torch.device, places: Places) -> Subject:
    """Torchvision's resnet18 with random weights."""
    return load(YARDSTICK, device, places)


def reason(error: UserError) -> str:
    """Why a network could not be called, in one line; that a compiler is missing in one sentence."""
    if error.__cause__ is not None and _NO_COMPILER.search(
        f"{type(error.__cause__).__name__}: {error.__cause__}"
    ):
        return f"it cannot be compiled, as torch finds no compiler that works here ({error})"
    return str(error)


def _unopened(canvas: str) -> Any:
    raise UserError(f"a profile opens no data, and none on the canvas {canvas}")
