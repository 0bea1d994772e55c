"""The contract of a data set: the same samples each time, any rows in any order, as its index says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.catalog.registry import index_of
from robustbench_ms.contracts.findings import Findings
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.datasets.protocol import Batch, Data, Index
from robustbench_ms.datasets.shapes import Images, RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["hold_dataset", "opened"]

FEW = 6
"""Samples that are loaded in several ways."""


def opened(source: Source, places: Places) -> tuple[Index, Data] | None:
    """Its index and its data on the stored canvas; None where pictures would have to be decoded."""
    index = index_of(source, places, ())
    return (index, index.open("stored")) if isinstance(index.layout, (Images, RaggedImages)) else None


def hold_dataset(find: Findings, place: str, info: DatasetInfo, source: Source, places: Places) -> None:
    """Hold a data set to it, by the samples that a source shows."""
    try:
        first = opened(source, places)
    except UserError as error:
        told = find.fault if info.embedded else find.note
        told(place, f"could not be opened: {error}")
        return
    if first is None:
        find.note(place, "pictures on canvases of a suite's were not decoded")
        return
    with find.holding(place):
        index, data = first
        again = opened(source, places)
        assert again is not None
        if again[1].facts.digest != data.facts.digest or again[0].asked != index.asked:
            find.fault(place, "opens to other samples at a second time; what is made must come of ids alone")
        _facts(find, place, info, source, index, data)
        _rows(find, place, data)


def _facts(find: Findings, place: str, info: DatasetInfo, source: Source, index: Index, data: Data) -> None:
    facts = data.facts
    if facts.ids.dtype != np.int64 or len(np.unique(facts.ids)) != facts.n or facts.n == 0:
        find.fault(
            place, f"its ids must be {facts.n} different whole numbers, int64: they key the randomness"
        )
    if not np.array_equal(index.ids, facts.ids):
        find.fault(place, "its index and its data have other ids")
    if info.classes is not None and info.classes != facts.classes:
        find.fault(place, f"has {facts.classes} classes, and its row says {info.classes}")
    size = info.size(source.split)
    if source.limit is None and size is not None and size != facts.n:
        find.fault(place, f"has {facts.n} samples, and its row says {size}")
    rows = np.sort(np.concatenate([*data.batches(facts.layout.values * 4)]))
    if not np.array_equal(rows, np.arange(facts.n)):
        find.fault(place, f"its batches are not all of its {facts.n} rows, each once")


def _rows(find: Findings, place: str, data: Data) -> None:
    """A few samples together, turned round and alone."""
    cpu = torch.device("cpu")
    rows = next(iter(data.batches(data.facts.layout.values * FEW)))
    batch = data.load(rows, cpu)
    samples, dtype = batch.samples, batch.samples.dtype
    if dtype != torch.uint8 or samples.ndim != 4:
        find.fault(place, f"gives {dtype} of shape {tuple(samples.shape)}, not torch.uint8 (k, C, H, W)")
        return
    if {*batch.maps} != {*data.facts.maps}:
        maps = ", ".join(sorted({*batch.maps} ^ {*data.facts.maps}))
        find.fault(
            place, f"gives other label maps than its facts say ({maps}); DataFacts(maps=...) names them"
        )
    if not np.array_equal(batch.ids, data.facts.ids[rows]):
        find.fault(place, "gives samples other ids than its facts")
    turned = data.load(rows[::-1].copy(), cpu)
    alone = [data.load(rows[i : i + 1], cpu) for i in range(len(rows))]
    if not torch.equal(turned.samples.flip(0), samples) or not torch.equal(
        torch.cat([one.samples for one in alone]), samples
    ):
        find.fault(place, "gives a row other samples in another order or alone")
    for i, one in enumerate(alone):
        if not _same(batch.targets[i], one.targets[0]):
            find.fault(place, "gives a row other targets alone")
        if not _same({name: values[i] for name, values in batch.maps.items()}, _first_maps(one)):
            find.fault(place, "gives a row another map alone")


def _first_maps(batch: Batch) -> dict[str, Tensor]:
    return {name: values[0] for name, values in batch.maps.items()}


def _same(one: Any, other: Any) -> bool:
    """Whether two targets are equal: tensors, arrays, tables of them, or anything that compares."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(np.array_equal(one, other))
