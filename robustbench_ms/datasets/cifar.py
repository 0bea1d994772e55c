"""CIFAR-10 and -100, and their published corrupted versions on disk.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; Hendrycks and Dietterich, ICLR 2019.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.arrays import open_pair
from robustbench_ms.datasets.images import (
    Images,
    array_digest,
    check_digest,
    check_images,
    check_labels,
    load_array,
    pair_digest,
)
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["open_cifar", "open_cifar_c"]

_FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}
_RECORDS = {
    "cifar10": "https://zenodo.org/records/2535967",
    "cifar100": "https://zenodo.org/records/3555552",
}


def open_cifar(suite: Suite, places: Places, condition: Condition) -> Images:
    """A split in the official order: plain arrays where they are, else torchvision's folder, downloaded if need be."""
    del condition
    return _open_clean(suite, places, suite.dataset)


def _open_clean(suite: Suite, places: Places, dataset: str) -> Images:
    folder = places.data / dataset
    images_at, labels_at = folder / f"{suite.split}_images.npy", folder / f"{suite.split}_labels.npy"
    if images_at.exists() or labels_at.exists():
        return open_pair(images_at, labels_at, suite, places)
    images, targets, digest = _torchvision(dataset, folder, suite.split == "train")
    labels = check_labels(targets, suite.classes or 0, len(images), folder)
    check_digest(digest, suite.sha256.get("images"), f"{folder}: images")
    check_digest(array_digest(labels), suite.sha256.get("labels"), f"{folder}: labels")
    return Images(images, labels, np.arange(len(labels)), suite.classes or 0, pair_digest(digest, labels))


@lru_cache(maxsize=2)
def _torchvision(dataset: str, folder: Path, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """The official archive as torchvision reads it, and the images' digest; every MD5 is checked before unpickling."""
    from torchvision import datasets

    kind: Any = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset]
    try:
        found = kind(str(folder), train=train, download=True)
    except Exception as error:  # the network, the disk and torchvision's own integrity check raise many kinds
        raise BadFile(
            f"{dataset} is neither under {folder} nor could it be downloaded ({error}); put torchvision's "
            f"{kind.base_folder}/ there, or train_images.npy, train_labels.npy, test_images.npy and test_labels.npy"
        ) from error
    images = np.ascontiguousarray(found.data)
    return images, np.asarray(found.targets, dtype=np.int64), array_digest(images)


def open_cifar_c(suite: Suite, places: Places, condition: Condition) -> Images:
    """The published corrupted test set: severity s of `<corruption>.npy` is rows (s-1)*n..s*n; clean is CIFAR's own."""
    base = suite.dataset.removesuffix("-c")
    if not condition:
        return _open_clean(replace(suite, sha256={}), places, base)
    wanted = dict(condition)
    folder = next(
        (f for f in (places.data / _FOLDERS[base], places.data / suite.dataset) if f.is_dir()), None
    )
    if folder is None:
        raise BadFile(
            f"{suite.dataset}: {places.data / _FOLDERS[base]} is missing; unpack {_FOLDERS[base]}.tar from "
            f"{_RECORDS[base]} there"
        )
    images_at, labels_at = folder / f"{wanted['corruption']}.npy", folder / "labels.npy"
    images = load_array(images_at, suite.dataset)
    last = check_images(images, images_at)
    labels = check_labels(load_array(labels_at, suite.dataset), suite.classes or 0, len(images), labels_at)
    if len(images) % 5:
        raise UserError(
            f"{images_at} holds {len(images)} images, which are no five severities of equal length"
        )
    n = len(images) // 5
    rows = slice((wanted["severity"] - 1) * n, wanted["severity"] * n)
    digest = array_digest(images, images_at, places.cache)
    check_digest(digest, suite.sha256.get(wanted["corruption"]), str(images_at))
    check_digest(array_digest(labels), suite.sha256.get("labels"), str(labels_at))
    return Images(
        images[rows],
        labels[rows],
        np.arange(n),
        suite.classes or 0,
        pair_digest(digest, labels),
        channels_last=last,
        corrupted=True,
    )
