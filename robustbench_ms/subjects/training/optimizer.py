"""A recipe's optimiser and its schedule, which are timm's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from robustbench_ms.errors import choose
from robustbench_ms.specs.card import Card
from robustbench_ms.subjects.training.recipe import Recipe

__all__ = ["known_optimizer", "optimizer_of", "products_of", "schedule_of"]


def known_optimizer(card: Card, recipe: Recipe) -> None:
    """UserError where timm has no such optimiser."""
    from timm.optim import list_optimizers

    choose(recipe.optimizer, list_optimizers(), "optimizer", f"card {card.name}: [recipe] optimizer")


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a model's parameters."""
    from timm.optim import create_optimizer_v2

    made: torch.optim.Optimizer = create_optimizer_v2(
        model,
        opt=recipe.optimizer,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        filter_bias_and_bn=not recipe.decay_norm,
    )
    return made


def products_of(recipe: Recipe, device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """What a step of the optimiser is made within."""
    return _float32_products if device.type == "cpu" and recipe.optimizer.endswith("muon") else nullcontext


@contextmanager
def _float32_products() -> Iterator[None]:
    """Within it timm's Muon multiplies in float32.

    It takes bfloat16 and has no argument for another type, and a CPU without such products needs up to 19 times as
    long for them: a third of a training.
    """
    from timm.optim import muon

    own = muon.zeropower_via_newtonschulz
    muon.zeropower_via_newtonschulz = partial(own, dtype=torch.float32)
    try:
        yield
    finally:
        muon.zeropower_via_newtonschulz = own


def schedule_of(recipe: Recipe, optimizer: Any, steps: int) -> Any:
    """Timm's schedule, counted in steps of the optimiser."""
    from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler, PolyLRScheduler

    warm = recipe.warmup_epochs * steps
    counted = {"warmup_t": warm, "t_in_epochs": False}
    if recipe.schedule == "multistep":
        falls = [epoch * steps + 1 for epoch in recipe.steps]  # timm takes the step before it for the fall
        return MultiStepLRScheduler(
            optimizer, decay_t=falls, decay_rate=recipe.factor, warmup_prefix=False, **counted
        )
    if recipe.schedule == "one-cycle":
        falling = recipe.epochs * steps - warm
        return PolyLRScheduler(optimizer, t_initial=falling, power=1.0, warmup_prefix=True, **counted)
    return CosineLRScheduler(optimizer, t_initial=recipe.epochs * steps, warmup_prefix=False, **counted)
