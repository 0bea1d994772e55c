"""The two halves of identity: `protocol` fixes the question, `subject` fixes who answers.

Numbers are comparable where the protocol is equal; a finished cell is reused where both are. Neither is known
while planning: the protocol needs the data's digest, the subject the very model that is about to run.
"""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from robustbench_ms.datasets.protocol import DataFacts
from robustbench_ms.datasets.shapes import Layout, RaggedVolumes
from robustbench_ms.errors import Misbehaved, UserError
from robustbench_ms.specs.canvas import told as told_canvas
from robustbench_ms.specs.card import WINDOWS, Output
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.asking import ask
from robustbench_ms.subjects.devices import lost_devices
from robustbench_ms.subjects.guard import first_line
from robustbench_ms.subjects.loading import Model
from robustbench_ms.subjects.made import made_of, unchanged
from robustbench_ms.subjects.seals import CHANGES, checksums
from robustbench_ms.subjects.weights import state_digest
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.protocol import Perturbation, Task

__all__ = ["Subject", "Unwell", "digest", "exact_arithmetic", "identify", "question"]

SHAPES = 32
"""Of volumes of more shapes so many are asked about before a run, from the smallest to the largest."""


def digest(fields: Mapping[str, Any]) -> str:
    """16 hexadecimal digits over readable fields, whatever their order."""
    told = json.dumps(fields, sort_keys=True, default=list, allow_nan=False)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def question(
    task: Task, suite: Suite, facts: DataFacts, perturbation: Perturbation | None, condition: Condition
) -> dict[str, Any]:
    """The readable fields of one cell's protocol: all that fixes what is asked, and not the suite's name."""
    return {
        "task": suite.task,
        "task_protocol": task.number,
        "dataset": suite.dataset,
        "split": suite.split,
        "limit": suite.limit,
        "canvas": told_canvas(suite.canvas),
        **facts.told,
        **task.question(facts),
        **dict(condition),
        **(perturbation.question(condition) if condition and perturbation is not None else {}),
    }


class Unwell(UserError):
    """A model that cannot answer the probe."""


@dataclass(frozen=True)
class Subject:
    """Who answers."""

    fields: Mapping[str, Any]
    """What the digest is made of."""
    warnings: tuple[str, ...]
    nondeterministic: bool
    made: Mapping[str, Any] = field(default_factory=dict)
    """What its answers to the probe may not show; see `made_of`."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits."""
        return digest(self.fields)

    @property
    def cells(self) -> str:
        """Under what its finished cells are kept: its digest, and what the probe may not show."""
        return digest({**self.fields, "made": self.made}) if self.made else self.digest


def identify(model: Model, task: Task, facts: DataFacts, batch: int) -> Subject:
    """Ask a model the probe and learn who it is, and whether it is well.

    `batch`, how many samples will be shown at once, is part of a subject in less than fp32, where it changes answers.

    Unwell where it raises: such a model is stopped. UserError where it answers another question, for another number of
    classes.
    """
    told: dict[str, Any] = {}
    if model.card.output != Output():
        told["output"] = model.card.output.described
    if model.card.input.window is not None:
        told["windows"] = {name: getattr(model.card.input, name) for name in WINDOWS}
    if model.canvas is not None:
        # The way of a picture to what it is shown: no part of the probe, and none of the question.
        shown = model.card.input
        told |= {
            "size": shown.size,
            "fit": shown.fit,
            "crop": shown.crop,
            "crop_mode": shown.crop_mode,
            "interpolation": shown.interpolation,
        }
    if not model.asked:
        return Subject({"weights": model.weights_sha256, **told}, (), nondeterministic=False)
    # Before it is asked: a part that stays in train mode changes with each batch.
    weights = state_digest(model.module) or model.weights_sha256
    before = [made_of(model.card, model.module, every=every) for every in (False, True)]
    try:
        with lost_devices(), exact_arithmetic(deterministic=True):
            _refuse_shapes(model, task, facts.layout)
            probe = task.probe(facts.layout)
            probe = replace(probe, samples=probe.samples.to(model.device))
            sums = checksums(probe.samples)
            first, second = ask(task, model, probe), ask(task, model, probe)
            parts = (probe.part(0, 1), probe.part(1, len(probe)))
            halves = Answers.joined([ask(task, model, part) for part in parts])
            if not torch.equal(sums, checksums(probe.samples)):
                raise Unwell(CHANGES)
    except Misbehaved as error:
        if not error.kind:
            raise
        raise Unwell(f"it raises {error.kind} on the probe: {error.told}") from error
    after = [made_of(model.card, model.module, every=every) for every in (False, True)]
    made, whole = map(unchanged, before, after)
    found = [*model.warnings, *task.health(first, facts)]
    if first.note is not None:
        found.append(first.note)
    if not first.sound:
        found.append("it answers NaN or infinity on noise, the probe; cells of which an answer is none fail")
    if first.differ(halves):
        found.append("its answer to a sample depends on the batch")
        made = {**made, "batch_size": batch}
    if stuck := model.parts_in_train_mode():
        found.append(f"parts stay in train mode after eval(): {', '.join(stuck[:3])}")
    steady = first.equals(second)
    fields: dict[str, Any] = {"weights": weights, **told}
    if model.card.precision != "fp32":
        fields["batch_size"] = batch
    if model.calibration:
        fields["calibration"] = dict(model.calibration)
    if steady:
        fields["outputs"] = first.digest
    else:
        found.append("it answers the same question differently each time (nondeterministic)")
        fields |= {
            **whole,
            "device": _device_name(model.device),
            "precision": model.card.precision,
            "input": repr(model.card.input),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
    return Subject(fields, tuple(found), nondeterministic=not steady, made=made)


def _refuse_shapes(model: Model, task: Task, layout: Layout) -> None:
    """Unwell where a model answers volumes of some shapes, and not of all that it will be shown: `SHAPES` of many."""
    if not isinstance(layout, RaggedVolumes):
        return
    shapes, rows = np.unique(layout.shapes, axis=0, return_index=True)
    rows = rows[np.argsort(shapes.prod(axis=1), kind="stable")]
    answered, failed = None, None
    for row in rows[np.unique(np.linspace(0, len(rows) - 1, SHAPES).round().astype(int))].tolist():
        shape = " x ".join(map(str, layout.at(row).shape))
        probe = task.probe(layout.at(row)).part(0, 1)
        try:
            ask(task, model, replace(probe, samples=probe.samples.to(model.device)))
            answered = shape
        except UserError as error:
            failed = failed or (shape, first_line(error))
    if answered and failed:  # one that answers none is told by the probe
        raise Unwell(
            f"it answers volumes of {answered} and none of {failed[0]} ({failed[1]}), and these are of {len(rows)} "
            "shapes: resample them to one, or where voxels are labelled let its card ask for windows of one size "
            "([input] window)"
        )


@contextmanager
def exact_arithmetic(*, deterministic: bool = False) -> Iterator[None]:
    """fp32 means fp32 (no TF32); for the probe also deterministic algorithms and no autotuning. Restored at the end."""
    before = (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.get_deterministic_debug_mode(),
    )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if deterministic:
        torch.backends.cudnn.benchmark = False
        # The same switch as use_deterministic_algorithms, which would import torch's compiler: 1.5 s for nothing.
        torch.set_deterministic_debug_mode("warn")
    try:
        with warnings.catch_warnings():
            # What has no deterministic form is found by asking twice, not by torch's warning.
            warnings.filterwarnings("ignore", message=".*deterministic.*")
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[:2]
        torch.backends.cudnn.benchmark = before[2]
        torch.set_deterministic_debug_mode(before[3])


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
