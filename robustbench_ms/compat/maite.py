"""MAITE's image classification (protocols of maite 0.10), in both directions; pictures are uint8 (C, H, W).

To MAITE: `SuiteDataset`, `CardModel` and `Corruption` are its Dataset, Model and Augmentation. From MAITE:
`suite_of(dataset, augmentations=...)` and `model_of(model, scores=...)` are what `rbms.run` takes. MAITE's protocols
are structural, so that nothing here needs the package itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.api import as_card
from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import (
    DATASETS,
    PERTURBATIONS,
    PerturbationInfo,
    index_of,
    perturbation_of,
    rows_of,
    task_of,
)
from robustbench_ms.corruptions.api import corrupt, settled
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.datasets.images import ImageStack, array_digest, layout_of, pair_digest
from robustbench_ms.datasets.protocol import Batch, DataFacts, Index
from robustbench_ms.errors import UserError
from robustbench_ms.specs.axes import Axis
from robustbench_ms.specs.conditions import CLEAN, Condition, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import find_device
from robustbench_ms.subjects.loading import load_model

__all__ = ["CardModel", "Corruption", "SuiteDataset", "model_of", "suite_of"]

Pixels = NDArray[np.uint8]
Datum = tuple[Pixels, NDArray[np.float32], dict[str, Any]]
_AXIS = "augmentation"


class SuiteDataset:
    """A suite's samples under one condition, as MAITE's Dataset: picture, one-hot label, {"id": id}."""

    def __init__(self, suite: str | Suite, condition: Condition = CLEAN, *, data: str | None = None) -> None:
        chosen = suite if isinstance(suite, Suite) else find_suite(str(suite))
        index = index_of(chosen.source(task_of(chosen).wants), Places.find(data), condition)
        self._data = index.open(chosen.canvas)
        self._perturbation = perturbation_of(chosen, self._data.facts) if condition else None
        self._condition = condition
        names = index.names or tuple(map(str, range(index.classes)))
        self.metadata = {"id": f"{chosen.label} {key(condition)}", "index2label": dict(enumerate(names))}

    def __len__(self) -> int:
        return self._data.facts.n

    def __getitem__(self, index: int) -> Datum:
        if not -len(self) <= index < len(self):
            raise IndexError(index)  # by which iteration ends
        batch = self._data.load(np.array([index % len(self)]), torch.device("cpu"))
        if self._perturbation is not None:
            batch = self._perturbation(batch, self._condition)
        target = np.zeros(self._data.facts.classes, np.float32)
        target[int(batch.targets[0])] = 1
        return batch.samples[0].numpy(), target, {"id": int(batch.ids[0])}


class CardModel:
    """A model as `rbms.run` takes it, as MAITE's Model: probabilities, float32 (classes,), of each picture.

    `suite` says what it is asked about: the number of classes, and the canvas. UserError for a card of several seeds.
    """

    def __init__(
        self, model: Any, suite: str | Suite, *, device: str | None = None, data: str | None = None
    ) -> None:
        chosen = suite if isinstance(suite, Suite) else find_suite(str(suite))
        card, places = as_card(model), Places.find(data)
        self._task = task_of(chosen)
        index = index_of(chosen.source(self._task.wants), places, CLEAN)
        one, *more = card.replicates()
        if more:
            named = ", ".join(seed.name for seed in (one, *more))
            raise UserError(f"card {card.name} is {1 + len(more)} models, {named}: name one")
        self._model = load_model(one, index, device=find_device(device), places=places, canvas=chosen.canvas)
        self.metadata = {"id": one.name, "index2label": dict(enumerate(index.names))}

    def __call__(self, batch: Sequence[Any], /) -> list[NDArray[np.float32]]:
        pictures = [_pixels(one) for one in batch]
        if len({one.shape for one in pictures}) > 1:
            return [self([one])[0] for one in pictures]
        samples, ids = torch.from_numpy(np.stack(pictures)).to(self._model.device), np.arange(len(pictures))
        answers = self._task.ask(self._model, Batch(samples, None, ids, ids))
        return [*answers.tensor.softmax(dim=1).cpu().numpy()]


class Corruption:
    """One of the corruptions, as MAITE's Augmentation: keyed by each datum's id, whatever batch it comes in."""

    def __init__(self, name: str, severity: int, *, profile: str = "any-size", seed: int = 0) -> None:
        name, severity, profile = settled(name, severity, profile)
        self._corrupt = partial(corrupt, name=name, severity=severity, profile=profile, seed=seed)
        self.metadata = {"id": f"{name}-{severity}"}

    def __call__(
        self, batch: tuple[Sequence[Any], Sequence[Any], Sequence[Any]], /
    ) -> tuple[list[Pixels], Sequence[Any], Sequence[Any]]:
        pictures, targets, data = batch
        done = [
            self._corrupt(torch.from_numpy(_pixels(one))[None], ids=[_id(datum)])[0].numpy()
            for one, datum in zip(pictures, data, strict=True)
        ]
        return done, targets, data


def model_of(model: Any, *, scores: Literal["logits", "probabilities"]) -> Callable[[Tensor], Tensor]:
    """A MAITE model as `rbms.run` takes one. MAITE leaves open what it answers with: `scores` says it."""
    if scores not in {"logits", "probabilities"}:
        raise UserError(f'scores must be "logits" or "probabilities", not {scores!r}')

    def answer(shown: Tensor) -> Tensor:
        """Float RGB (N, 3, H, W) in 0..1 to logits (N, classes); those of probabilities are their logarithms."""
        pictures = (shown * 255).round().to(torch.uint8).cpu().numpy()
        found = torch.as_tensor(np.stack([np.asarray(one, np.float32) for one in model([*pictures])]))
        return (found.log() if scores == "probabilities" else found).to(shown.device)

    answer.__name__ = answer.__qualname__ = str(model.metadata["id"])
    return answer


def suite_of(dataset: Any, augmentations: Sequence[Any] = (), *, name: str | None = None) -> Suite:
    """A suite of a MAITE data set, clean and under each augmentation, in this process.

    Every picture is read now and kept in memory. UserError where pictures are no uint8 (C, H, W) of one size, labels
    have not one length, or two augmentations one id.
    """
    called = name or str(dataset.metadata["id"])
    rows = [dataset[i] for i in range(len(dataset))]
    if not rows:
        raise UserError(f"the data set {called} has no picture: an empty data set cannot be measured")
    pictures, targets = [_pixels(row[0]) for row in rows], [np.asarray(row[1]) for row in rows]
    for what, shapes in (
        ("pictures", {one.shape for one in pictures}),
        ("labels", {one.shape for one in targets}),
    ):
        if len(shapes) > 1:
            raise UserError(
                f"the data set {called} has {what} of several shapes, {sorted(shapes)[:3]}: make them one"
            )
    images, labels = np.stack(pictures), np.stack(targets).argmax(axis=1).astype(np.int64)
    ids = np.array([_id(row[2]) for row in rows], np.int64)
    if len(np.unique(ids)) < len(ids):
        raise UserError(f"the data set {called} has an id twice, and ids key what is drawn")
    classes = targets[0].shape[0]
    stack = ImageStack(
        images, labels, ids, classes, pair_digest(array_digest(images), labels), channels_last=False
    )
    row = f"maite-{hashlib.sha256(called.encode()).hexdigest()[:12]}"
    _stacks[row] = stack
    DATASETS.register(row, DatasetInfo(f"{__name__}:_index", called, classes=classes, splits=("test",)))
    values = tuple(str(one.metadata["id"]) for one in augmentations)
    if twice := [value for value in values if values.count(value) > 1]:
        raise UserError(f"two augmentations have the id {twice[0]!r}, by which they are told apart")
    _augmentations.update(zip(values, augmentations, strict=True))
    if values:
        known = tuple(_augmentations)
        axes = (Axis(_AXIS, known, "augmentations", {"common": known}),)
        PERTURBATIONS.register(f"maite-{_AXIS}s", PerturbationInfo(axes, f"{__name__}:_Augmented"))
    suite = Suite(called, "classification", row, about="a data set of MAITE")
    if not values:
        return suite
    over = next(one.name for one in rows_of(suite.task).summaries.values() if one.over == ("common",))
    return replace(suite, matrix={_AXIS: values}, summary=(over, *suite.summary))


_stacks: dict[str, ImageStack] = {}
_augmentations: dict[str, Any] = {}


def _index(source: Source, places: Places, condition: Condition) -> Index:
    del places, condition
    stack = _stacks[source.dataset]
    return Index(
        stack.ids,
        layout_of(stack.images, channels_last=False),
        stack.classes,
        array_digest(stack.labels),
        lambda _: stack,
    )


class _Augmented:
    """A MAITE augmentation as a perturbation: what it does is known by its id alone."""

    def __init__(self, suite: Suite, facts: DataFacts) -> None:
        del suite
        self._classes = facts.classes

    def moves(self, condition: Condition) -> bool:
        """Nobody says, and there are no maps."""
        del condition
        return False

    def number(self, condition: Condition) -> int:
        """Nobody numbers them."""
        del condition
        return 1

    def check(self, condition: Condition) -> None:
        """Nothing is known before it is tried."""

    def question(self, condition: Condition) -> dict[str, Any]:
        """The class that it is of."""
        found = type(_augmentations[dict(condition)[_AXIS]])
        return {"augmentation_class": f"{found.__module__}.{found.__qualname__}"}

    def __call__(self, batch: Batch, condition: Condition) -> Batch:
        """The pictures as it leaves them; labels are not its to change here."""
        pictures = [*batch.samples.cpu().numpy()]
        targets = [*np.eye(self._classes, dtype=np.float32)[batch.targets.cpu().numpy()]]
        done, _, _ = _augmentations[dict(condition)[_AXIS]](
            (pictures, targets, [{"id": int(one)} for one in batch.ids])
        )
        samples = torch.from_numpy(np.stack([_pixels(one) for one in done]))
        if samples.shape != batch.samples.shape:
            raise UserError(f"{key(condition)} makes pictures of another size, {tuple(samples.shape[1:])}")
        return replace(batch, samples=samples.to(batch.samples.device), condition=condition)


def _pixels(picture: Any) -> Pixels:
    """uint8 (C, H, W) of whatever array MAITE allows; UserError for another type or shape."""
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[0] not in {1, 3}:
        raise UserError(
            f"a picture must be uint8 (C, H, W) of 1 or 3 channels, not {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array)


def _id(datum: Any) -> int:
    """What keys the randomness: a whole number as it is, else 63 bits of SHA-256 of the id's text."""
    known = datum["id"]
    if isinstance(known, (int, np.integer)) and not isinstance(known, bool):
        return int(known)
    return int.from_bytes(hashlib.sha256(str(known).encode()).digest()[:8]) >> 1
