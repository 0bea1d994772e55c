"""The contract of what makes samples worse: keyed by ids and seed, whatever the batch, its order and the process."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.catalog.registry import PerturbationInfo
from robustbench_ms.catalog.targets import load
from robustbench_ms.contracts.findings import Findings
from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import UserError
from robustbench_ms.specs.conditions import Condition, conditions, key
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.protocol import Perturbation

__all__ = ["hold_perturbation", "hold_with_samples", "samples_of"]

IDS = (3, 1_000, 7, 2**40, 12, 5)
SIDES = (32, 64, 224, 299)


def samples_of(side: int, channels: int = 3) -> tuple[DataFacts, Batch]:
    """Six images, uint8 (6, C, side, side): black, white, noise, a ramp, coarse blocks, noise; their labels are 0."""
    made = np.empty((6, channels, side, side), np.uint8)
    rng = np.random.default_rng(0)
    made[0], made[1] = 0, 255
    made[2:6:3] = rng.integers(0, 256, (2, channels, side, side))
    made[3] = np.linspace(0, 255, side).astype(np.uint8)
    made[4] = np.repeat(
        np.repeat(rng.integers(0, 256, (channels, 4, 4)), side // 4 + 1, 1), side // 4 + 1, 2
    )[:, :side, :side]
    ids, rows = np.array(IDS, np.int64), np.arange(6)
    facts = DataFacts(6, "", ids, None, 2, corrupted=False, layout=Images(channels, side, side))
    return facts, Batch(torch.from_numpy(made), torch.zeros(6, dtype=torch.int64), ids, rows)


def hold_perturbation(find: Findings, place: str, info: PerturbationInfo) -> None:
    """Hold a perturbation to it by made images of a size that it takes, under all of its conditions."""
    if not info.axes:
        find.fault(place, "has no axes; its row says them, as Axis(name, values, many)")
        return
    suite = Suite(
        name="check", task="classification", dataset="arrays", classes=2,
        matrix={axis.name: tuple(axis.values) for axis in info.axes},
        also=(), profile=info.profiles[0] if info.profiles else None,
    )  # fmt: skip
    made: Any = None
    with find.holding(place):
        made = load(info.target)
    if made is None:
        return
    refused: UserError | None = None
    for side in SIDES:
        facts, batch = samples_of(side)
        try:
            first = made(suite, facts)
            for condition in conditions(suite):
                first.check(condition)
        except UserError as error:
            refused = error
            continue
        except Exception:  # noqa: BLE001 - it is told below, with its line of code
            refused = None
        hold_with_samples(find, place, made, suite, facts, batch)
        return
    find.fault(place, f"takes no images of {', '.join(map(str, SIDES))} pixels a side ({refused})")


def hold_with_samples(
    find: Findings, place: str, made: Any, suite: Suite, facts: DataFacts, batch: Batch
) -> None:
    """Hold what `made(suite, facts)` makes to it, under all conditions of the suite."""
    with find.holding(place):
        perturbation: Perturbation = made(suite, facts)
        other: Perturbation = made(replace(suite, seed=suite.seed + 1), facts)
        for condition in filter(None, conditions(suite)):
            with find.holding(f"{place} {key(condition)}"):
                for told in _faults(perturbation, other, batch, condition):
                    find.fault(f"{place} {key(condition)}", told)


def _faults(one: Perturbation, other: Perturbation, batch: Batch, condition: Condition) -> Iterable[str]:
    """What is wrong under a condition; `other` has another seed."""
    one.check(condition)
    given, ids, state = batch.samples.clone(), batch.ids.copy(), _generators()
    maps = {name: values.clone() for name, values in batch.maps.items()}
    shown = one(batch, condition)
    if not torch.equal(batch.samples, given) or not np.array_equal(batch.ids, ids):
        yield "changes the samples that it is given; work on a copy"
        batch = replace(batch, samples=given.clone(), ids=ids)
    if _generators() != state:
        yield "uses a generator of the whole process (random, numpy.random, torch); draw words by corruptions.keyed"
    samples = shown.samples
    if not isinstance(samples, Tensor) or samples.dtype != torch.uint8:
        kind = samples.dtype if isinstance(samples, Tensor) else type(samples).__name__
        yield f"gives {kind}, not torch.uint8 in 0..255; round, clamp and convert"
        return
    if samples.shape != given.shape:
        yield f"gives shape {tuple(samples.shape)} for {tuple(given.shape)}; keep the shape"
        return
    if any(not torch.equal(batch.maps[name], values) for name, values in maps.items()):
        yield "changes the label maps that it is given; work on a copy"
        batch = replace(batch, maps=maps)
    elif not one.moves(condition) and not (
        shown.maps.keys() == maps.keys() and all(torch.equal(shown.maps[name], maps[name]) for name in maps)
    ):
        yield "changes label maps, and says that it moves nothing; let `moves` say so"
    if not torch.equal(one(batch, condition).samples, samples):
        yield "gives other bytes for the same samples at a second call; all that is random must come of ids and seed"
        return
    yield from _any_batch(one, batch, condition, samples)
    yield from _keyed(one, other, batch, condition, samples)


def _any_batch(one: Perturbation, batch: Batch, condition: Condition, samples: Tensor) -> Iterable[str]:
    order = np.arange(len(batch))[::-1].copy()
    turned = replace(
        batch, samples=batch.samples[order], targets=_chosen(batch.targets, order), ids=batch.ids[order],
        rows=batch.rows[order], maps={name: values[order] for name, values in batch.maps.items()},
    )  # fmt: skip
    if not torch.equal(one(turned, condition).samples, samples[order]):
        yield "gives a sample other bytes at another place in the batch; key its randomness by its id, not by its place"
        return
    alone = [one(batch.part(i, i + 1), condition).samples for i in range(len(batch))]
    if not torch.equal(torch.cat(alone), samples):
        yield "gives a sample other bytes where it is alone; nothing may be taken over the batch"


def _keyed(
    one: Perturbation, other: Perturbation, batch: Batch, condition: Condition, samples: Tensor
) -> Iterable[str]:
    seeded = not torch.equal(other(batch, condition).samples, samples)
    named = not torch.equal(one(replace(batch, ids=batch.ids + 17), condition).samples, samples)
    if seeded and not named:
        yield "draws the same for every sample; key its randomness by the sample's id"
    if named and not seeded:
        yield "draws the same under every seed; key its randomness by the suite's seed too"
    question = one.question(condition)
    try:
        json.dumps(question, allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"its question cannot be written as JSON ({error})"
        return
    if (number := one.number(condition)) not in question.values():
        yield f"its question does not say its number, {number}, so that cells of another one would count as equal"
    if seeded and question == other.question(condition):
        yield "its question does not say the seed, so that cells of two seeds would count as equal"


def _chosen(targets: Any, order: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    return targets[order] if isinstance(targets, Tensor) else [targets[i] for i in order]


def _generators() -> tuple[Any, ...]:
    """Where the generators of the process are."""
    state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - it is the one that strangers use
    return random.getstate(), state[1].tobytes(), state[2], torch.get_rng_state().numpy().tobytes()
