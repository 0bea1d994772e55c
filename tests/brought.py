"""Perturbations and data sets that break the contract, each in one way, and installed packages that are not there."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch

from robustbench_ms.corruptions.corruption import Corruption
from robustbench_ms.datasets.images import ImageStack
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.scenes import MANY, Scenes
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.specs.axes import Axis
from robustbench_ms.tasks.foreign import ForeignCorruption, ForeignCorruptions

AXES = (Axis("stain", ("one",), "stains", {"common": ("one",)}), Axis("amount", (1,), "amounts"))


class Well:
    """Adds a value of the seed and each sample's id, and saturates."""

    def __init__(self, suite, facts):
        self.seed, self.facts = suite.seed, facts

    def moves(self, condition):
        return False

    def number(self, condition):
        return 3

    def check(self, condition):
        pass

    def question(self, condition):
        return {"stain_protocol": 3, "seed": self.seed}

    def added(self, batch):
        return torch.from_numpy((batch.ids * 7 + self.seed * 5) % 50 + 1).view(-1, 1, 1, 1)

    def change(self, batch):
        return (batch.samples.int() + self.added(batch)).clamp(max=255).to(torch.uint8)

    def __call__(self, batch, condition):
        return replace(batch, samples=self.change(batch), condition=condition)


class MovesMaps(Well):
    def __call__(self, batch, condition):
        maps = {name: values.flip(-1) for name, values in batch.maps.items()}
        return replace(batch, samples=self.change(batch), maps=maps, condition=condition)


class MapsInPlace(Well):
    def change(self, batch):
        for values in batch.maps.values():
            values.add_(1)
        return super().change(batch)


class MapsCopied(Well):
    def __call__(self, batch, condition):
        maps = {name: values.clone() for name, values in batch.maps.items()}
        return replace(batch, samples=self.change(batch), maps=maps, condition=condition)


class Warping(ForeignCorruptions):
    """Turns pictures over, or does not."""

    distribution = "warp"
    corruptions: ClassVar = {
        "one": ForeignCorruption(
            Corruption(lambda images, words, setting: images.flip(-1)), {1: 1}, moves=True
        ),
        "still": ForeignCorruption(Corruption(lambda images, words, setting: images // 2), {1: 1}),
    }


class Unkeyed(Well):
    def change(self, batch):
        return batch.samples ^ torch.randint(0, 9, (len(batch), 1, 1, 1), dtype=torch.uint8)


class Counting(Well):
    calls = itertools.count()

    def change(self, batch):
        return batch.samples + next(self.calls)


class ByPlace(Well):
    def added(self, batch):
        return torch.arange(len(batch)).view(-1, 1, 1, 1) + self.seed


class ByBatch(Well):
    def change(self, batch):
        return super().change(batch) // 2 + int(batch.samples.float().mean())


class InPlace(Well):
    def change(self, batch):
        return batch.samples.fill_(7)


class Floats(Well):
    def change(self, batch):
        return batch.samples / 255


class Cropped(Well):
    def change(self, batch):
        return batch.samples[..., 1:]


class OneForAll(Well):
    def added(self, batch):
        return self.seed + 1


class Seedless(Well):
    def added(self, batch):
        return torch.from_numpy(batch.ids % 50).view(-1, 1, 1, 1)


class Unsaid(Well):
    def question(self, condition):
        return {"stain_protocol": 3}


class Numberless(Well):
    def question(self, condition):
        return {"seed": self.seed}


class Raising(Well):
    def change(self, batch):
        raise RuntimeError("no film in it")


def index_changing(source, places, condition):
    """Other samples each time."""
    images = np.random.default_rng().integers(0, 256, (8, 4, 4, 3), np.uint8)
    stack = ImageStack(images, np.arange(8) % 2, np.arange(8), 2, str(images.sum()))
    return Index(stack.ids, Images(3, 4, 4), 2, "", lambda _: stack)


class Fills:
    """A data set whose `load` gives what `change` makes of it, and whose facts are others'."""

    def __init__(self, stack):
        self.stack, self.facts = stack, replace(stack.facts, ids=np.zeros(8, np.int64))

    def batches(self, size):
        return iter([np.arange(7)])

    def load(self, rows, device):
        found = self.stack.load(rows, device)
        return replace(found, samples=found.samples + len(rows))


def index_odd(source, places, condition):
    images = np.zeros((8, 4, 4, 3), np.uint8)
    data = Fills(ImageStack(images, np.arange(8) % 2, np.arange(8), 2, "d"))
    return Index(np.arange(8), Images(3, 4, 4), 2, "", lambda _: data)


def index_unsaid(source, places, condition):
    """Scenes whose facts do not say that they have maps."""
    data = Scenes(MANY, source.split, source.wants)
    data.facts = replace(data.facts, maps=())
    facts = data.facts
    return Index(facts.ids, facts.layout, facts.classes, data.asked, lambda _: data, names=facts.names)


class Packages:
    """Installed packages, as importlib sees them."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, name, points, files=()):
        """A distribution with entry points {group: {name: value}}, and files by their path."""
        home = self.folder / f"{name.replace('-', '_')}-1.0.dist-info"
        home.mkdir(parents=True)
        (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = []
        for group, rows in points.items():
            lines += [f"[robustbench_ms.{group}]", *(f"{key} = {value}" for key, value in rows.items())]
        (home / "entry_points.txt").write_text("\n".join(lines))
        for path, text in dict(files).items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_text(text)
