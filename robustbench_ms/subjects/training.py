"""The one training loop: a card's recipe to weights.

Optimiser, schedule, weight averaging and mixing are timm's; the loop is a plain one over a data set that fits into
memory. The same card, seed, device and versions give the same weights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.datasets import DATASETS
from robustbench_ms.datasets.images import Images
from robustbench_ms.errors import UserError, choose
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import find_device
from robustbench_ms.subjects.inputs import Preprocess
from robustbench_ms.subjects.loading import build_module

__all__ = ["Epoch", "Recipe", "read_recipe", "train"]

AUGMENTATIONS = ("crop", "flip")


@dataclass(frozen=True)
class Recipe:
    """How weights are made; a card's [recipe] table."""

    dataset: str
    epochs: int
    batch_size: int = 128
    optimizer: str = "sgd"
    """As timm names it."""
    lr: float = 0.1
    weight_decay: float = 5e-4
    momentum: float = 0.9
    warmup_epochs: int = 0
    """Linear; a cosine to 0 follows."""
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    """"crop": a random crop after padding by an eighth of the side; "flip": left to right, by chance."""
    mixup: float = 0.0
    cutmix: float = 0.0
    average: float = 0.0
    """Decay of the weights' moving average, which is what is kept; 0 keeps the last weights."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set."""

    number: int
    epochs: int
    loss: float
    lr: float
    seconds: float
    seconds_left: float


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
    values: dict[str, Any] = {}
    for key, value in card.recipe.items():
        wanted = {"str": str, "int": int, "float": float}.get(str(known[key].type), list)
        if wanted is float and type(value) is int:
            value = float(value)  # noqa: PLW2901 - 1 is a fine way to write 1.0
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise UserError(f"{where}: {key} must be of type {known[key].type}, not {value!r}")
        values[key] = tuple(value) if isinstance(value, list) else value
    recipe = Recipe(**values)
    # "arrays" names no files here, and the published corrupted sets are for testing alone.
    trainable = [name for name, info in DATASETS.items() if "train" in info.splits and info.classes]
    choose(recipe.dataset, trainable, "data set to train on", f"{where} dataset")
    for word in recipe.augment:
        choose(word, AUGMENTATIONS, "augmentation", f"{where} augment")
    if recipe.epochs < 1 or recipe.batch_size < 2:
        raise UserError(f"{where}: epochs must be 1 or more and batch_size 2 or more")
    return recipe


def train(
    card: Card, output: Path, places: Places, *, seed: int = 0, device: str | None = None
) -> Iterator[Epoch]:
    """Train a card on its recipe's training split and write its weights; a generator of epochs.

    A checkpoint beside `output` is written every few epochs, found again after a stop, and removed at the end.
    Only the training split is opened.
    """
    from safetensors.torch import save
    from timm.data import Mixup
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import ModelEmaV3

    recipe = read_recipe(card)
    if output.suffix != ".safetensors":
        raise UserError(f"the weights go into a .safetensors file, not {output.name}")
    places.writable(output.parent, "output")
    where = find_device(device)
    data = _open(recipe.dataset, places)
    images = torch.from_numpy(data.batch(0, len(data))).to(where)
    labels = torch.from_numpy(data.labels).to(where)

    torch.manual_seed(seed)
    model, card = build_module(card, data.classes)
    if not isinstance(model, nn.Module):
        raise UserError(f"card {card.name}: {card.build} makes no torch module, so it cannot be trained")
    model = model.to(where)
    preprocess = Preprocess(card.input, images.shape[1], where)
    steps = len(images) // recipe.batch_size
    if steps == 0:
        raise UserError(
            f"card {card.name}: [recipe] batch_size {recipe.batch_size} is larger than the data set"
        )
    optimizer = create_optimizer_v2(
        model, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
    )
    warm = recipe.warmup_epochs * steps
    schedule = CosineLRScheduler(
        optimizer, t_initial=recipe.epochs * steps, warmup_t=warm, warmup_prefix=False, t_in_epochs=False
    )
    average = ModelEmaV3(model, decay=recipe.average, use_warmup=True) if recipe.average else None
    mix = None
    if recipe.mixup or recipe.cutmix:
        mix = Mixup(
            recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=data.classes
        )
    random = torch.Generator().manual_seed(seed)

    stamp = {"build": str(card.build), "args": repr(card.args), "recipe": asdict(recipe), "seed": seed}
    checkpoint = _Checkpoint(output.with_suffix(".checkpoint"), stamp)
    first = checkpoint.load(model, optimizer, average, random)
    begin = time.perf_counter()
    for epoch in range(first, recipe.epochs):
        model.train()
        if mix is not None:
            # timm's mixing draws from numpy's global generator: seeded each epoch, a resumed training draws the same.
            np.random.seed((seed * 1_000_003 + epoch) % 2**32)  # noqa: NPY002
        order = torch.randperm(len(images), generator=random)
        total = torch.zeros((), device=where)
        for step in range(steps):
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size].to(where)
            shown, target = preprocess(augment(images[rows], recipe.augment, random)), labels[rows]
            smoothing = recipe.label_smoothing
            if mix is not None:
                shown, target = mix(shown, target)
                smoothing = 0.0  # timm's mixing has smoothed the targets
            loss = _loss(model, shown, target, smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step_update(epoch * steps + step + 1)
            if average is not None:
                average.update(model, step=epoch * steps + step)
            total += loss.detach()
        mean = float(total) / steps
        if mean != mean:  # noqa: PLR0124 - NaN
            raise UserError(f"card {card.name}: the loss is NaN in epoch {epoch + 1}; a smaller lr may help")
        if (epoch + 1) % 10 == 0 and epoch + 1 < recipe.epochs:
            checkpoint.save(epoch + 1, model, optimizer, average, random)
        spent = time.perf_counter() - begin
        done = epoch + 1 - first
        yield Epoch(
            epoch + 1,
            recipe.epochs,
            mean,
            optimizer.param_groups[0]["lr"],
            spent,
            spent / done * (recipe.epochs - epoch - 1),
        )
    kept = (model if average is None else average.module).state_dict()
    # One entry: safetensors writes several in any order, and the same training is to make the same file.
    told = {"training": json.dumps({"card": card.name, "seed": seed, "recipe": asdict(recipe)})}
    with replacing(output) as part:  # written here, because safetensors' own files are their owner's alone
        part.write_bytes(
            save({name: tensor.detach().cpu().contiguous() for name, tensor in kept.items()}, told)
        )
    checkpoint.path.unlink(missing_ok=True)


def augment(images: Tensor, kinds: tuple[str, ...], random: torch.Generator) -> Tensor:
    """uint8 (N, C, H, W) to the same, each sample moved or mirrored by chance."""
    n, _, height, width = images.shape
    if "crop" in kinds:
        pad = max(1, height // 8)
        # Reflection would mirror a digit's stroke; black borders are what the published CIFAR recipes use.
        padded = F.pad(images, (pad, pad, pad, pad))
        top, left = (
            torch.randint(0, 2 * pad + 1, (n,), generator=random).to(images.device) for _ in range(2)
        )
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        sample = torch.arange(n, device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        images = padded[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]
    if "flip" in kinds:
        mirrored = (torch.rand(n, generator=random) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _loss(model: nn.Module, shown: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy; a model that brings its own loss for several heads (deep supervision) is asked for it."""
    outputs = model(shown)
    own = getattr(model, "training_loss", None)
    if own is not None:
        found: Tensor = own(outputs, target, label_smoothing=smoothing)
        return found
    return F.cross_entropy(outputs, target, label_smoothing=smoothing)


def _open(dataset: str, places: Places) -> Images:
    info = DATASETS[dataset]
    module, _, function = info.target.partition(":")
    suite = Suite(
        name="training", task="classification", dataset=dataset, split="train", classes=info.classes
    )
    data: Images = getattr(import_module(module), function)(suite, places, CLEAN)
    return data


class _Checkpoint:
    """What a stopped training goes on from; another recipe's or seed's is not."""

    def __init__(self, path: Path, stamp: dict[str, Any]) -> None:
        self.path = path
        self._stamp = json.dumps(stamp, sort_keys=True)

    def save(
        self, epoch: int, model: nn.Module, optimizer: Any, average: Any, random: torch.Generator
    ) -> None:
        state = {
            "stamp": self._stamp,
            "epoch": epoch,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": None if average is None else average.state_dict(),
            "random": random.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with replacing(self.path) as part:
            torch.save(state, part)

    def load(self, model: nn.Module, optimizer: Any, average: Any, random: torch.Generator) -> int:
        """The epochs that are done: 0 without a checkpoint of this very training."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        if state["stamp"] != self._stamp:
            return 0
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        random.set_state(state["random"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        return int(state["epoch"])
