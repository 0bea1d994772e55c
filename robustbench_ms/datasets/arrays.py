"""Anybody's pair of .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["index_arrays", "index_pair"]


def index_arrays(source: Source, places: Places, condition: Condition) -> Index:
    """The files that the source names, in its folder or else in the data folder; memory-mapped."""
    del condition  # the same images under every condition
    return index_pair(
        _find(source.files["images"], source, places),
        _find(source.files["labels"], source, places),
        source,
        places,
    )


def index_pair(images_at: Path, labels_at: Path, source: Source, places: Places) -> Index:
    """uint8 images (N, H, W, C) or (N, C, H, W) and labels (N,) as one split."""
    images = load_array(images_at, source.dataset)
    last = check_images(images, images_at)
    classes = source.classes or 0
    labels = check_labels(load_array(labels_at, source.dataset), classes, len(images), labels_at)
    asked, ids = array_digest(labels), np.arange(len(labels))
    check_digest(asked, source.sha256.get("labels"), str(labels_at))

    def opened(canvas: str) -> ImageStack:
        del canvas  # "stored", the only one
        digest = array_digest(images, images_at, places.cache)
        check_digest(digest, source.sha256.get("images"), str(images_at))
        return ImageStack(images, labels, ids, classes, pair_digest(digest, labels), channels_last=last)

    return Index(ids, layout_of(images, channels_last=last), classes, asked, opened)


def _find(name: str, source: Source, places: Places) -> Path:
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise BadFile(f"{source.dataset}: {name} is neither in {' nor in '.join(map(str, folders))}")
