"""Anybody's pair of .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robustbench_ms.datasets.images import (
    Images,
    array_digest,
    check_digest,
    check_images,
    check_labels,
    load_array,
    pair_digest,
)
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["open_arrays", "open_pair"]


def open_arrays(suite: Suite, places: Places, condition: Condition) -> Images:
    """The files that the suite names, beside the suite or else in the data folder; memory-mapped."""
    del condition  # the same images under every condition
    return open_pair(
        _find(suite.files["images"], suite, places),
        _find(suite.files["labels"], suite, places),
        suite,
        places,
    )


def open_pair(images_at: Path, labels_at: Path, suite: Suite, places: Places) -> Images:
    """uint8 images (N, H, W, C) or (N, C, H, W) and labels (N,) as one split."""
    images = load_array(images_at, suite.dataset)
    last = check_images(images, images_at)
    classes = suite.classes or 0
    labels = check_labels(load_array(labels_at, suite.dataset), classes, len(images), labels_at)
    digest = array_digest(images, images_at, places.cache)
    check_digest(digest, suite.sha256.get("images"), str(images_at))
    check_digest(array_digest(labels), suite.sha256.get("labels"), str(labels_at))
    return Images(
        images, labels, np.arange(len(labels)), classes, pair_digest(digest, labels), channels_last=last
    )


def _find(name: str, suite: Suite, places: Places) -> Path:
    folders = [folder for folder in (suite.folder, places.data) if folder is not None]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise BadFile(f"suite {suite.name}: {name} is neither in {' nor in '.join(map(str, folders))}")
