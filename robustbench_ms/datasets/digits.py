"""scikit-learn's handwritten digits (Alpaydin and Kaynak, UCI 1998), embedded in that library.

1,797 real images of 8 x 8 pixels in 0..16, shown as 32 x 32 RGB. The test split of 597 is fixed by a committed
list of indices, 59 or 60 a class; the other 1,200 are for training.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.images import ImageStack, array_digest, check_digest, layout_of, pair_digest
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["digit_pictures", "digit_rows", "index_digits"]


def index_digits(source: Source, places: Places, condition: Condition) -> Index:
    """A split of the digits; the ids are indices in the library's order."""
    del places, condition
    images, labels = _all()
    ids = digit_rows(source.split)
    images, labels = images[ids], labels[ids]
    digest, asked = array_digest(images), array_digest(labels)
    check_digest(digest, source.sha256.get("images"), "digits: images")
    check_digest(asked, source.sha256.get("labels"), "digits: labels")
    stack = ImageStack(images, labels, ids, 10, pair_digest(digest, labels))
    return Index(ids, layout_of(images, channels_last=True), 10, asked, lambda _: stack)


@lru_cache(maxsize=2)
def digit_rows(split: str) -> NDArray[np.int64]:
    """The indices of a split in the library's order, "test" or "train"."""
    test = np.array(json.loads(files(__package__).joinpath("digits_test.json").read_text()), dtype=np.int64)
    return test if split == "test" else np.setdiff1d(np.arange(len(digit_pictures()[1])), test)


@lru_cache(maxsize=1)
def digit_pictures() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The library's own pictures (1797, 8, 8) in 0..16 and their labels (1797,).

    Read out of its folder: importing it takes seconds, and every process of a run would.
    """
    spec = find_spec("sklearn")
    path = Path(spec.origin).parent / "datasets/data/digits.csv.gz" if spec and spec.origin else Path()
    if path.is_file():
        rows = np.loadtxt(path, dtype=np.int64, delimiter=",")
        return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]
    from sklearn.datasets import load_digits

    small, labels = load_digits(return_X_y=True)
    return small.reshape(-1, 8, 8).astype(np.int64), labels.astype(np.int64)


@lru_cache(maxsize=1)
def _all() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    small, labels = digit_pictures()
    return _enlarge(small), labels


def _enlarge(small: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(N, 8, 8) in 0..16 to uint8 (N, 32, 32, 3), bilinear with half-pixel centres, in whole numbers.

    Four times the size puts every weight on an eighth, so that the result is the same on every machine.
    """
    weights = np.zeros((32, 8), dtype=np.int64)
    for row in range(32):
        eighths = 2 * row + 1 - 4  # source position times 8: (row + 1/2) / 4 - 1/2
        low, part = divmod(eighths, 8)
        weights[row, max(low, 0)] += 8 - part
        weights[row, min(low + 1, 7)] += part
    large = weights @ small @ weights.T  # times 64, in 0..1024
    grey = ((large * 255 + 512) // 1024).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3)
