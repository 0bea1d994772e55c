"""The one training loop: a card's recipe to weights.

Optimiser, schedules, weight averaging and mixing are timm's; the loop is a plain one over a data set that fits into
memory. The same card, seed, device and versions give the same weights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_ms.datasets.protocol import MAP
from robustbench_ms.datasets.shapes import Signals, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.detectors import first_label
from robustbench_ms.subjects.devices import find_device, keep_freed_memory
from robustbench_ms.subjects.inputs import preprocess_of
from robustbench_ms.subjects.loading import build_module
from robustbench_ms.subjects.training.augmentation import augment, turns
from robustbench_ms.subjects.training.checkpoints import Checkpoint, training_folder
from robustbench_ms.subjects.training.optimizer import known_optimizer, optimizer_of, products_of, schedule_of
from robustbench_ms.subjects.training.recipe import Recipe, as_told, asked, learnt, read_recipe
from robustbench_ms.subjects.training.split import grouped_rows, held_out_rows, training_split
from robustbench_ms.subjects.training.targets import Boxed, Boxes, Targets, loss_of, takes_boxes

__all__ = ["Epoch", "Progress", "train"]

Progress = Callable[[str, int, int, int], None]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set."""

    card: str
    seed: int
    number: int
    epochs: int
    loss: float
    lr: float
    held_out: float | None
    """Accuracy on the samples that are held out, after this pass; None where none are."""
    images_per_second: float
    seconds: float
    """Of training, since this process began with it; the held-out pass and the checkpoint are told apart."""
    seconds_held_out: float
    seconds_checkpoint: float
    seconds_left: float


def train(
    card: Card,
    output: Path,
    places: Places,
    *,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Epoch]:
    """Train a card on its recipe's training split and write its weights; a generator of epochs.

    After each epoch a checkpoint is written under the cache (`training_folder`), found again after a stop, and
    removed when the weights are there. Only the training split is opened. UserError for what the recipe, the data
    or the disk do not allow, and where a loss is not finite; Busy where another process trains the same.
    `progress(card, seed, done, of)` is called after each step, counted over all epochs.
    """
    recipe = read_recipe(card)
    if output.suffix != ".safetensors":
        raise UserError(f"the weights go into a .safetensors file, not {output.name}")
    places.writable(output.parent, "output")
    where = find_device(device)
    keep_freed_memory()
    if card.precision == "fp16" and where.type == "cpu":
        raise UserError(
            f"card {card.name}: precision fp16 is trained on CUDA alone; on a CPU take bf16 or fp32"
        )
    checkpoint = Checkpoint(training_folder(card, seed, places), asked(card, seed))
    places.writable(checkpoint.folder, "cache")
    with checkpoint.held():
        training = _Training(card, recipe, places, seed, where)
        yield from _epochs(training, checkpoint, progress)
        # One entry: safetensors writes several in any order, and the same training is to make the same file.
        told = {"training": json.dumps({"card": card.name, "seed": seed, "recipe": as_told(recipe)})}
        _write(training.kept(), told, output)
        checkpoint.remove()


def _epochs(training: _Training, checkpoint: Checkpoint, progress: Progress | None) -> Iterator[Epoch]:
    recipe = training.recipe
    state = checkpoint.load()
    first = 0 if state is None else training.restore(state)
    spent = held = kept = 0.0
    for epoch in range(first, recipe.epochs):
        begin = time.perf_counter()
        loss = training.epoch(epoch, progress)
        trained = time.perf_counter()
        accuracy = training.held_out_accuracy()
        judged = time.perf_counter()
        checkpoint.save(training.state(epoch + 1))
        saved = time.perf_counter()
        spent, held, kept = spent + trained - begin, held + judged - trained, kept + saved - judged
        yield Epoch(
            card=training.card.name,
            seed=training.seed,
            number=epoch + 1,
            epochs=recipe.epochs,
            loss=loss,
            lr=training.optimizer.param_groups[0]["lr"],
            held_out=accuracy,
            images_per_second=training.steps * recipe.batch_size / (trained - begin),
            seconds=spent,
            seconds_held_out=held,
            seconds_checkpoint=kept,
            seconds_left=(spent + held + kept) / (epoch + 1 - first) * (recipe.epochs - epoch - 1),
        )


class _Training:
    """A model, its optimiser and its data: everything that an epoch changes, and nothing that it does not."""

    def __init__(self, card: Card, recipe: Recipe, places: Places, seed: int, device: torch.device) -> None:
        from timm.data import Mixup
        from timm.utils import ModelEmaV3

        known_optimizer(card, recipe)
        what = learnt(card, recipe.dataset)
        index = training_split(recipe.dataset, places, (what,))
        every = np.arange(len(index.ids))
        whole = index.open("stored").load(every, torch.device("cpu"))
        images, labels = whole.samples, whole.targets
        if isinstance(index.layout, (Signals, Volumes)) and recipe.augment:
            raise UserError(
                f"card {card.name}: [recipe] augment is for images, and {recipe.dataset} has none"
            )
        if what == "map":
            # The few classes of a map fit into a byte a pixel, and so does what is ignored.
            maps = whole.maps[MAP].to(torch.uint8)
            self.images, self.held_out = images.to(device), None
        elif isinstance(labels, list):
            self.images, self.held_out = images.to(device), None
        else:
            out = held_out_rows(recipe.dataset, index.ids, labels.numpy(), recipe.held_out)
            if recipe.held_out_groups:
                out = grouped_rows(recipe.dataset, index.groups, recipe.held_out_groups)
            rows = torch.from_numpy(out)
            self.images = images[~rows].to(device)
            self.held_out = (images[rows].to(device), labels[rows].to(device)) if rows.any() else None
        self.steps = len(self.images) // recipe.batch_size
        if self.steps == 0:
            raise UserError(
                f"card {card.name}: [recipe] batch_size {recipe.batch_size} is larger than the data set "
                f"({len(self.images)} images to train on)"
            )

        torch.manual_seed(seed)
        model, self.card = build_module(card, index.classes)
        if not isinstance(model, nn.Module):
            raise UserError(f"card {card.name}: {card.build} makes no torch module, so it cannot be trained")
        if what == "boxes" and not takes_boxes(model):
            raise UserError(
                f"card {card.name}: {recipe.dataset} has boxes to learn, and the network that {card.build} makes "
                "takes images alone, not images and targets as a detector does"
            )
        self.targets: Targets
        if what == "map":
            self.targets = maps.to(device)
        elif isinstance(labels, list):
            self.targets = Boxes(labels, device, first_label(self.card, model))
        else:
            self.targets = labels[~rows].to(device)
        self.layout = (
            torch.channels_last if card.memory_format == "channels_last" else torch.contiguous_format
        )
        self.model = model.to(device)
        if card.memory_format == "channels_last":
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.seed, self.device = recipe, seed, device
        self.preprocess = preprocess_of(self.card.input, index.layout, device)
        self.optimizer = optimizer_of(recipe, self.model)
        self.schedule = schedule_of(recipe, self.optimizer, self.steps)
        self.products = products_of(recipe, device)
        self.average = (
            ModelEmaV3(self.model, decay=recipe.average, use_warmup=True) if recipe.average else None
        )
        self.mix = None
        if recipe.mixup or recipe.cutmix:
            self.mix = Mixup(
                recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=index.classes
            )
        self.kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(card.precision)
        self.scaler = torch.amp.grad_scaler.GradScaler(device.type, enabled=card.precision == "fp16")
        self.random = torch.Generator().manual_seed(seed)

    def epoch(self, epoch: int, progress: Progress | None = None) -> float:
        """Train once over the data; the mean loss. UserError names the first step whose loss is not finite."""
        recipe = self.recipe
        self.model.train()
        if self.mix is not None:
            # timm's mixing draws from numpy's global generator: seeded each epoch, a resumed training draws the same.
            np.random.seed((self.seed * 1_000_003 + epoch) % 2**32)  # noqa: NPY002
        order = torch.randperm(len(self.images), generator=self.random)
        mirrored = None
        if "alternating-flip" in recipe.augment:
            mirrored = turns(len(self.images), self.seed, epoch).to(self.device)
        losses = torch.zeros(self.steps, device=self.device)
        for step in range(self.steps):
            rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size].to(self.device)
            images = augment(
                self.images[rows],
                recipe.augment,
                self.random,
                mirrored=None if mirrored is None else mirrored[rows],
            )
            losses[step] = self._step(images, self.targets[rows])
            self.schedule.step_update(epoch * self.steps + step + 1)
            if self.average is not None:
                self.average.update(self.model, step=epoch * self.steps + step)
            if progress is not None:
                progress(self.card.name, self.seed, epoch * self.steps + step + 1, recipe.epochs * self.steps)
        if not losses.isfinite().all():
            step = int(losses.isfinite().logical_not().nonzero()[0]) + 1
            raise UserError(
                f"card {self.card.name}: the loss is {float(losses[step - 1])} in epoch {epoch + 1}, step {step} of "
                f"{self.steps}; a smaller lr may help"
                + (f", and the checkpoint of epoch {epoch} is kept" if epoch else "")
            )
        # Added up one after the other, as steps come: another order would round otherwise.
        return float(losses.cumsum(0)[-1]) / self.steps

    def _step(self, images: Tensor, target: Tensor | Boxed) -> Tensor:
        shown = self.preprocess(images)
        smoothing = self.recipe.label_smoothing
        if self.mix is not None:
            shown, target = self.mix(shown, target)
            smoothing = 0.0  # timm's mixing has smoothed the targets
        with torch.autocast(self.device.type, dtype=self.kind, enabled=self.kind is not None):
            loss = loss_of(self.model, shown.contiguous(memory_format=self.layout), target, smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        with self.products():
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def held_out_accuracy(self) -> float | None:
        """The share of held-out samples that the weights to be kept get right, as they are now."""
        if self.held_out is None:
            return None
        images, labels = self.held_out
        model: nn.Module = (self.model if self.average is None else self.average.module).eval()
        right = torch.zeros((), device=self.device, dtype=torch.int64)
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, dtype=self.kind, enabled=self.kind is not None),
        ):
            for start in range(0, len(images), 500):
                shown = self.preprocess(images[start : start + 500]).contiguous(memory_format=self.layout)
                outputs = model(shown)
                logits = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
                right += (logits.argmax(1) == labels[start : start + 500]).sum()
        return int(right) / len(images)

    def kept(self) -> dict[str, Tensor]:
        """The weights to be stored, on the CPU."""
        model: nn.Module = self.model if self.average is None else self.average.module
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        if self.recipe.store == "half":
            for name, part in model.named_modules():
                if isinstance(part, _HALVED):
                    weight = f"{name}.weight" if name else "weight"
                    state[weight] = state[weight].half()
        return state

    def state(self, epoch: int) -> dict[str, Any]:
        """What `restore` goes on from."""
        return {
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": self.random.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Go on from a state; the number of epochs that are done."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.scaler.load_state_dict(state["scaler"])
        self.random.set_state(state["random"])
        torch.set_rng_state(state["torch"])
        if state["cuda"] and self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda"])
        return int(state["epoch"])


_HALVED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def _write(state: dict[str, Tensor], told: dict[str, str], output: Path) -> None:
    from safetensors.torch import save

    try:
        with replacing(
            output
        ) as part:  # written here, because safetensors' own files are their owner's alone
            part.write_bytes(save(state, told))
    except OSError as error:
        raise UserError(
            f"the weights {output} could not be written ({error.strerror}); the checkpoint is kept, so the same "
            "command writes them when there is room"
        ) from error
