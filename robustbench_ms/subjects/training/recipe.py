"""How weights are made: a card's [recipe] table, checked key by key; imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.card import WINDOWS, Card

__all__ = ["Recipe", "as_told", "asked", "learnt", "read_recipe", "short_digest"]

AUGMENTATIONS = ("crop", "flip", "alternating-flip")
SCHEDULES = ("cosine", "multistep", "one-cycle")
STORES = ("full", "half")


@dataclass(frozen=True)
class Recipe:
    """How weights are made; a card's [recipe] table."""

    dataset: str
    epochs: int
    number: int = 0
    """Of a recipe that several cards share and nobody changes any more; 0 for one that is the card's own."""
    batch_size: int = 128
    optimizer: str = "sgd"
    """As timm names it: "sgd" is SGD with Nesterov's momentum, "momentum" the plain one."""
    lr: float = 0.1
    weight_decay: float = 5e-4
    decay_norm: bool = False
    """Whether norms and biases decay too. Without it timm's filter exempts what it knows by shape and name:
    parameters of one axis and names that end in ".bias", nothing else; a scalar or a bias of two axes decays."""
    momentum: float = 0.9
    schedule: str = "cosine"
    """How the rate falls, step by step: "cosine" to 0; "multistep" by `factor` after each epoch of `steps`;
    "one-cycle" in a straight line up over `warmup_epochs` and down to 0 (Smith and Topin 2017; the momentum stays)."""
    steps: tuple[int, ...] = ()
    factor: float = 0.1
    warmup_epochs: int = 0
    """Of a linear rise from 0, which takes its time from what follows."""
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    """"crop": a random crop after padding by an eighth of the side; "flip": left to right, by chance;
    "alternating-flip": by chance in the first epoch, from then on the other way round in each (Jordan 2024)."""
    mixup: float = 0.0
    cutmix: float = 0.0
    average: float = 0.0
    """Decay of the weights' moving average, which is what is kept; 0 keeps the last weights."""
    held_out: float = 0.0
    """Share of each class of the training split that is never trained on, the same for every card and seed."""
    held_out_groups: tuple[int, ...] = ()
    """In place of `held_out`: groups of the data (subjects) of which no sample is trained on."""
    store: str = "full"
    """"half": weights of convolutions and linear layers are kept as float16, all else as float32."""


_LATER = {
    "number", "decay_norm", "schedule", "steps", "factor", "held_out", "held_out_groups", "store",
}  # fmt: skip
"""Keys younger than the first weights."""


_OF_LABELS = ("label_smoothing", "augment", "mixup", "cutmix", "held_out", "held_out_groups")
"""Keys that mean nothing, or nothing yet, where boxes are learnt: what moves a picture would have to move them."""


def as_told(recipe: Recipe) -> dict[str, Any]:
    """What a file of weights says of its recipe: all of it, but no younger key that is at its default.

    So a recipe that has been there since before them makes the same file, byte for byte.
    """
    return {
        f.name: getattr(recipe, f.name)
        for f in fields(recipe)
        if f.name not in _LATER or getattr(recipe, f.name) != f.default
    }


def _at_least(least: float) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value >= least, f"{least:g} or more"


def _share(most: float) -> tuple[Callable[[Any], bool], str]:
    return lambda value: 0 <= value < most, f"at least 0 and below {most:g}"


_RANGES = {
    "epochs": _at_least(1),
    "number": _at_least(0),
    "batch_size": _at_least(2),
    "lr": (lambda value: value > 0, "above 0"),
    "weight_decay": _at_least(0),
    "momentum": _share(1),
    "factor": (lambda value: 0 < value < 1, "above 0 and below 1"),
    "warmup_epochs": _at_least(0),
    "label_smoothing": _share(1),
    "mixup": _at_least(0),
    "cutmix": _at_least(0),
    "average": _share(1),
    "held_out": _share(1),
}


def learnt(card: Card, dataset: str) -> str:
    """What a card learns of a data set: "map" where it labels every pixel, else what the data set gives first.

    UserError where the data have no label maps.
    """
    gives = DATASETS[dataset].gives
    if "segmentation" not in card.tasks:
        return gives[0]
    if "map" not in gives:
        raise UserError(f"card {card.name}: {dataset} has no label maps, which segmentation learns")
    return "map"


def read_recipe(card: Card) -> Recipe:
    """The recipe of a card; UserError names the key that is wrong."""
    known = {f.name: f for f in fields(Recipe)}
    where = f"card {card.name}: [recipe]"
    if not card.recipe:
        raise UserError(f"card {card.name} has no [recipe], so it cannot be trained")
    for key in card.recipe:
        choose(key, known, "key", where)
    for key in ("dataset", "epochs"):
        if key not in card.recipe:
            raise UserError(f"{where}: the key {key!r} is missing")
    values = {
        key: _typed(value, str(known[key].type), f"{where}: {key}") for key, value in card.recipe.items()
    }
    for key, (fits, words) in _RANGES.items():
        if key in values and not fits(values[key]):
            raise UserError(f"{where}: {key} must be {words}, not {values[key]!r}")
    recipe = Recipe(**values)
    # "arrays" names no files here, and the published corrupted sets are for testing alone.
    trainable = [name for name, info in DATASETS.items() if "train" in info.splits and info.classes]
    choose(recipe.dataset, trainable, "data set to train on", f"{where} dataset")
    choose(recipe.schedule, SCHEDULES, "schedule", f"{where} schedule")
    choose(recipe.store, STORES, "way to store", f"{where} store")
    for word in recipe.augment:
        choose(word, AUGMENTATIONS, "augmentation", f"{where} augment")
    if {"flip", "alternating-flip"} <= set(recipe.augment):
        raise UserError(f"{where}: augment has both 'flip' and 'alternating-flip'; keep one")
    if recipe.held_out and recipe.held_out_groups:
        raise UserError(f"{where}: held_out and held_out_groups exclude each other; keep one")
    _check_schedule(recipe, values, where)
    if learnt(card, recipe.dataset) != "label":
        for key in _OF_LABELS:
            if getattr(recipe, key):
                raise UserError(
                    f"{where}: {key} belongs to data with a label a sample, not to {recipe.dataset}"
                )
    return recipe


def _typed(value: Any, wanted: str, where: str) -> Any:
    element = {"tuple[str, ...]": str, "tuple[int, ...]": int}.get(wanted)
    if element is not None:
        if isinstance(value, (list, tuple)) and all(type(v) is element for v in value):
            return tuple(value)
        raise UserError(f"{where} must be a list of {element.__name__}, not {value!r}")
    kind = {"str": str, "int": int, "float": float, "bool": bool}[wanted]
    if kind is float and type(value) is int:
        value = float(value)  # 1 is a fine way to write 1.0
    if type(value) is not kind:
        raise UserError(f"{where} must be of type {wanted}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, not {value!r}")
    return value


def _check_schedule(recipe: Recipe, given: dict[str, Any], where: str) -> None:
    if recipe.warmup_epochs > recipe.epochs:
        raise UserError(
            f"{where}: warmup_epochs must be at most epochs ({recipe.epochs}), not {recipe.warmup_epochs}"
        )
    if recipe.schedule == "one-cycle" and not 0 < recipe.warmup_epochs < recipe.epochs:
        raise UserError(
            f"{where}: schedule 'one-cycle' rises over warmup_epochs, which must be 1 to {recipe.epochs - 1}, "
            f"not {recipe.warmup_epochs}"
        )
    if recipe.schedule != "multistep":
        for key in ("steps", "factor"):
            if key in given:
                raise UserError(f"{where}: {key} belongs to schedule = 'multistep', not {recipe.schedule!r}")
        return
    if not recipe.steps:
        raise UserError(f"{where}: schedule 'multistep' needs steps: the epochs after which the rate falls")
    if (
        list(recipe.steps) != sorted(set(recipe.steps))
        or not 0 < recipe.steps[0] <= recipe.steps[-1] < recipe.epochs
    ):
        raise UserError(
            f"{where}: steps must rise, each from 1 to {recipe.epochs - 1}, not {list(recipe.steps)}"
        )


def asked(card: Card, seed: int) -> dict[str, Any]:
    """All that decides about the weights: equal for two trainings that go on from each other."""
    return {
        "card": card.name,
        "build": str(card.build),
        "args": json.loads(json.dumps(dict(card.args), default=repr)),
        "input": json.loads(json.dumps({k: v for k, v in asdict(card.input).items() if k not in WINDOWS})),
        "precision": card.precision,
        "memory_format": card.memory_format,
        "recipe": json.loads(json.dumps(asdict(read_recipe(card)))),
        "seed": seed,
    }


def short_digest(told: dict[str, Any]) -> str:
    """Eight hexadecimal digits of what was asked, for a folder's name."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
