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

from robustbench_ms.datasets.arrays import index_pair
from robustbench_ms.datasets.images import (
    ImageStack,
    array_digest,
    check_digest,
    check_images,
    check_labels,
    layout_of,
    load_array,
    pair_digest,
)
from robustbench_ms.datasets.located import FOLDERS
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["index_cifar", "index_cifar_c", "index_cifar_new"]

_RECORDS = {
    "cifar10": "https://zenodo.org/records/2535967",
    "cifar100": "https://zenodo.org/records/3555552",
}


def index_cifar(source: Source, places: Places, condition: Condition) -> Index:
    """A split in the official order: plain arrays where they are, else torchvision's folder, downloaded if need be."""
    del condition
    return _clean(source, places, source.dataset)


def _clean(source: Source, places: Places, dataset: str) -> Index:
    folder = places.data / dataset
    images_at, labels_at = folder / f"{source.split}_images.npy", folder / f"{source.split}_labels.npy"
    if images_at.exists() or labels_at.exists():
        return index_pair(images_at, labels_at, source, places)
    images, targets, digest = _torchvision(dataset, folder, source.split == "train", places.downloads)
    labels = check_labels(targets, source.classes or 0, len(images), folder)
    asked = array_digest(labels)
    check_digest(digest, source.sha256.get("images"), f"{folder}: images")
    check_digest(asked, source.sha256.get("labels"), f"{folder}: labels")
    ids, classes = np.arange(len(labels)), source.classes or 0
    stack = ImageStack(images, labels, ids, classes, pair_digest(digest, labels))
    return Index(ids, layout_of(images, channels_last=True), classes, asked, lambda _: stack)


@lru_cache(maxsize=2)
def _torchvision(
    dataset: str, folder: Path, train: bool, download: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """The official archive as torchvision reads it, and the images' digest; every MD5 is checked before unpickling."""
    from torchvision import datasets

    kind: Any = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset]
    try:
        found = kind(str(folder), train=train, download=download)
    except Exception as error:  # the network, the disk and torchvision's own integrity check raise many kinds
        raise BadFile(
            f"{dataset} is neither under {folder} nor could it be downloaded ({error}); put torchvision's "
            f"{kind.base_folder}/ there, or train_images.npy, train_labels.npy, test_images.npy and test_labels.npy"
        ) from error
    images = np.ascontiguousarray(found.data)
    return images, np.asarray(found.targets, dtype=np.int64), array_digest(images)


def index_cifar_c(source: Source, places: Places, condition: Condition) -> Index:
    """The published corrupted test set: severity s of `<corruption>.npy` is rows (s-1)*n..s*n; clean is CIFAR's own."""
    base = source.dataset.removesuffix("-c")
    if not condition:
        return _clean(replace(source, sha256={}), places, base)
    wanted = dict(condition)
    usual = FOLDERS[source.dataset]
    folder = next((places.data / name for name in usual if (places.data / name).is_dir()), None)
    if folder is None:
        raise BadFile(
            f"{source.dataset}: {places.data / usual[0]} is missing; rbms fetch {source.dataset}, or unpack "
            f"{usual[0]}.tar from {_RECORDS[base]} there"
        )
    images_at, labels_at = folder / f"{wanted['corruption']}.npy", folder / "labels.npy"
    images = load_array(images_at, source.dataset)
    last = check_images(images, images_at)
    labels = check_labels(load_array(labels_at, source.dataset), source.classes or 0, len(images), labels_at)
    if len(images) % 5:
        raise UserError(
            f"{images_at} holds {len(images)} images, which are no five severities of equal length"
        )
    n = len(images) // 5
    rows = slice((wanted["severity"] - 1) * n, wanted["severity"] * n)
    found, ids, classes = labels[rows], np.arange(n), source.classes or 0
    check_digest(array_digest(labels), source.sha256.get("labels"), str(labels_at))

    def opened(canvas: str) -> ImageStack:
        del canvas  # "stored", the only one
        digest = array_digest(images, images_at, places.cache)
        check_digest(digest, source.sha256.get(wanted["corruption"]), str(images_at))
        told = pair_digest(digest, labels)
        return ImageStack(images[rows], found, ids, classes, told, channels_last=last, corrupted=True)

    return Index(ids, layout_of(images, channels_last=last), classes, array_digest(found), opened)


def index_cifar_new(source: Source, places: Places, condition: Condition) -> Index:
    """CIFAR-10.1 (Recht et al. 2018) as published: cifar10.1_<split>_data.npy and _labels.npy."""
    del condition
    name = f"cifar10.1_{source.split}"
    usual = [places.data / folder for folder in FOLDERS["cifar10.1"]]
    folder = next((at for at in usual if (at / f"{name}_data.npy").is_file()), usual[0])
    if not (folder / f"{name}_data.npy").is_file():
        raise BadFile(
            f"{source.dataset}: {folder / name}_data.npy is missing; rbms fetch cifar10.1, or get it and "
            f"{name}_labels.npy of https://github.com/modestyachts/CIFAR-10.1"
        )
    return index_pair(folder / f"{name}_data.npy", folder / f"{name}_labels.npy", source, places)
