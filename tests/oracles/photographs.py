"""Real photographs to compare on: those inside scikit-image, and the project's data where it is."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

__all__ = ["cifar", "crops", "imagenet", "photographs", "rectangle"]

_FILES = (
    "astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg",
    "hubble_deep_field.jpg", "ihc.png", "motorcycle_right.png",
)  # fmt: skip
"""Colour photographs that ship inside the package: nothing is fetched."""


@cache
def _bundled() -> tuple[np.ndarray, ...]:
    """All of them, uint8 RGB."""
    folder = Path(data.__file__).parent
    images = []
    for name in _FILES:
        with Image.open(folder / name) as file:
            images.append(np.array(file.convert("RGB")))
    return tuple(images)


def _square(image: np.ndarray, size: int) -> np.ndarray:
    """Shorter side to `size`, bilinear, then the middle."""
    height, width = image.shape[:2]
    scale = size / min(height, width)
    resized = Image.fromarray(image).resize(
        (max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (resized.width - size) // 2, (resized.height - size) // 2
    return np.array(resized.crop((left, top, left + size, top + size)))


def photographs(size: int, count: int) -> list[np.ndarray]:
    """The first `count` (at most 9) photographs, as squares of side `size`."""
    return [_square(image, size) for image in _bundled()[:count]]


def crops(size: int, count: int) -> list[np.ndarray]:
    """`count` squares of side `size` from all over the photographs, shrunk from 2 to 8 times it."""
    rng = np.random.default_rng(20)
    images = []
    for index in range(count):
        whole = _bundled()[index % len(_FILES)]
        side = int(size * 2 ** rng.uniform(1, 3))
        side = min(side, *whole.shape[:2])
        top, left = (int(rng.integers(extent - side + 1)) for extent in whole.shape[:2])
        images.append(_square(np.ascontiguousarray(whole[top : top + side, left : left + side]), size))
    return images


def rectangle(height: int, width: int, index: int = 0) -> np.ndarray:
    """One bundled photograph, stretched to (height, width)."""
    image = _bundled()[index]
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _folder(name: str) -> Path | None:
    root = os.environ.get("RBMS_DATA")
    path = Path(root) / name if root else None
    return path if path is not None and path.is_dir() else None


def cifar() -> tuple[np.ndarray, np.ndarray] | None:
    """CIFAR-10's test images (10000, 32, 32, 3) and labels, or None where the data is not."""
    folder = _folder("cifar10")
    if folder is None:
        return None
    return np.load(folder / "test_images.npy", mmap_mode="r"), np.load(folder / "test_labels.npy")


def imagenet(size: int, count: int) -> list[np.ndarray] | None:
    """Squares of side `size` from the first `count` ImageNet photographs, or None where the data is not."""
    folder = _folder("imagenet-val-500")
    if folder is None:
        return None
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpeg", ".jpg", ".png"})
    images = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        with Image.open(path) as file:
            images.append(_square(np.array(file.convert("RGB")), size))
    return images
