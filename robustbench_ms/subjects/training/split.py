"""The training split: opened, and the part of it that is held out."""

from __future__ import annotations

import hashlib
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets import DATASETS
from robustbench_ms.datasets.images import Images
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["held_out_rows", "open_training_split"]


def open_training_split(dataset: str, places: Places) -> Images:
    """The training images of a data set; no other split of it is opened."""
    info = DATASETS[dataset]
    module, _, function = info.target.partition(":")
    suite = Suite(
        name="training", task="classification", dataset=dataset, split="train", classes=info.classes
    )
    data: Images = getattr(import_module(module), function)(suite, places, CLEAN)
    return data


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
