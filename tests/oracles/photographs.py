"""Real photographs to compare on: those inside scikit-image, and the project's data where it is."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

__all__ = ["cifar", "imagenet", "photographs"]

_NAMES = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "lily",
)


@cache
def _bundled() -> tuple[np.ndarray, ...]:
    """Those that ship inside the package: uint8 RGB, nothing is fetched."""
    folder = Path(data.__file__).parent
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in {".png", ".jpg"}}
    names = [name for name in (*_NAMES, *found) if name in found]
    images = []
    for name in dict.fromkeys(names):
        with Image.open(found[name]) as file:
            if file.mode == "RGB" and min(file.size) >= 200:
                images.append(np.array(file))
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
    """`count` square photographs of side `size`; beyond the bundled ones, corners of them."""
    whole = _bundled()
    images = [_square(image, size) for image in whole[:count]]
    corner = 0
    while len(images) < count:
        image = whole[corner % len(whole)]
        half = image[: image.shape[0] * 2 // 3, image.shape[1] // 3 :][:: 1 if corner < len(whole) else -1]
        images.append(_square(np.ascontiguousarray(half), size))
        corner += 1
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
