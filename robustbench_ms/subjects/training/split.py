"""The training split: opened, and the part of it that is held out."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import DATASETS, index_of
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import UserError
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["grouped_rows", "held_out_rows", "training_split"]


def training_split(dataset: str, places: Places, wants: tuple[str, ...] = ()) -> Index:
    """The index of a data set's training samples, with what is learnt of them; no other split of it is opened.

    That is `wants`, or what the data set gives first.
    """
    info = DATASETS[dataset]
    source = Source(dataset, "train", classes=info.classes, wants=wants or info.gives[:1])
    return index_of(source, places, CLEAN)


def held_out_rows(
    dataset: str, ids: NDArray[np.int64], labels: NDArray[np.int64], share: float
) -> NDArray[np.bool_]:
    """Which samples are held out, bool (n,): of each class the same share, rounded.

    Chosen by a hash of data set and id, so the choice depends on neither card, seed nor order, and a smaller
    share is a part of a larger one.
    """
    chosen = np.zeros(len(ids), dtype=bool)
    if share:
        rank = np.array(
            [int.from_bytes(hashlib.sha256(f"held out {dataset} {i}".encode()).digest()[:8]) for i in ids],
            dtype=np.uint64,
        )
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            chosen[rows[np.argsort(rank[rows], kind="stable")[: round(share * len(rows))]]] = True
    return chosen


def grouped_rows(
    dataset: str, groups: NDArray[np.int64] | None, chosen: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which samples are of those groups, bool (n,); UserError for one that has none, and where all are of them."""
    if groups is None:
        raise UserError(f"held_out_groups: {dataset} says no groups (subjects) of its samples")
    there = np.unique(groups)
    for group in chosen:
        if group not in there:
            told = ", ".join(map(str, there[:40].tolist()))
            raise UserError(f"held_out_groups: {dataset} trains on no group {group}; there are {told}")
    found: NDArray[np.bool_] = np.isin(groups, chosen)
    if found.all():
        raise UserError(f"held_out_groups leaves no group of {dataset} to train on")
    return found
