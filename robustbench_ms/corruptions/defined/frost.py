"""Frost: a photograph of ice, cropped at random and added to the image.

The photographs are files of the installed imagecorruptions package, which is found but never imported. Only
the first five are drawn, in every profile, as in the published code (its randint(5) never reaches the sixth;
the maintained fork of the package draws from all six).
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.errors import BadFile

__all__ = ["FROST", "PHOTOGRAPHS", "by_loops", "by_torch", "crops", "draw", "photograph"]

Array = np.ndarray[Any, np.dtype[Any]]

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")

_SHARES = {"cifar": 0.2, "imagenet-64": 0.3}
"""How far the published code reduces the photographs for its small images."""


@cache
def photograph(index: int) -> Array:
    """One of PHOTOGRAPHS as it is: uint8 (height, width, 3), BGR as OpenCV reads it.

    Raises BadFile if the package that ships them is not installed or the file cannot be read.
    """
    import cv2

    spec = find_spec("imagecorruptions")
    if spec is None or not spec.submodule_search_locations:
        raise BadFile(
            "frost needs the photographs of the package imagecorruptions-imaug, which is not installed: "
            "pip install imagecorruptions-imaug"
        )
    path = Path(spec.submodule_search_locations[0]) / "frost" / PHOTOGRAPHS[index]
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise BadFile(
            f"frost's photograph {path.name} cannot be read from the package imagecorruptions ({error.strerror}); "
            "reinstall imagecorruptions-imaug"
        ) from error
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    if image is None:
        raise BadFile(
            f"frost's photograph {path.name} of the package imagecorruptions is damaged; "
            "reinstall imagecorruptions-imaug"
        )
    return np.asarray(image)


class _Ice(NamedTuple):
    """The five photographs at one scale, one after the other."""

    planes: Array
    """uint8 (4, pixels of all five): red, green, blue and grey."""
    sizes: Array
    """int64 (5, 3): where each begins in a plane, its height, its width."""


def _scales(profile: str, height: int, width: int) -> tuple[float, ...]:
    """By how much each photograph is enlarged for images of a size in the profile any-size; () in the others."""
    if profile != "any-size":
        return ()
    shapes = [photograph(index).shape for index in range(len(PHOTOGRAPHS))]
    return tuple(1.1 * max(1, height / tall, width / wide) for tall, wide, _ in shapes)


@lru_cache(maxsize=16)  # by what is made of a size: many sizes enlarge the photographs alike
def _ice(profile: str, scales: tuple[float, ...]) -> _Ice:
    import cv2

    scaled = []
    for index in range(len(PHOTOGRAPHS)):
        photo = photograph(index)
        if scales:
            size = (math.ceil(photo.shape[1] * scales[index]), math.ceil(photo.shape[0] * scales[index]))
            photo = np.asarray(cv2.resize(photo, dsize=size, interpolation=cv2.INTER_CUBIC))
        elif share := _SHARES.get(profile):
            photo = np.asarray(cv2.resize(photo, (0, 0), fx=share, fy=share))
        scaled.append(photo)
    begins = np.cumsum([0] + [photo.shape[0] * photo.shape[1] for photo in scaled])
    colours = np.concatenate([photo.reshape(-1, 3) for photo in scaled])
    grey = cv2.cvtColor(colours[:, None], cv2.COLOR_BGR2GRAY)
    planes = np.concatenate([colours.T[::-1], grey.reshape(1, -1)])
    sizes = [[begin, *photo.shape[:2]] for begin, photo in zip(begins[:-1], scaled, strict=True)]
    return _Ice(np.ascontiguousarray(planes), np.array(sizes, dtype=np.int64))


@lru_cache(maxsize=16)
def _planes_on(device: torch.device, profile: str, scales: tuple[float, ...]) -> Tensor:
    return torch.from_numpy(_ice(profile, scales).planes).to(device)


def draw(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """Three 32-bit words an image, for the photograph, the crop's top and its left: int64 (N, 3).

    Of k possibilities, word w takes the one numbered (w k) >> 32. There are 5 photographs, and as many tops
    as the photograph has rows more than the image.
    """
    del shape, setting
    return words(keys, 3, 32)


def _corners(words: Tensor, sizes: Array, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where each crop begins in a plane and how wide its photograph is: int64 (N,), (N,)."""
    table = torch.from_numpy(sizes).to(words.device)
    begin, rows, columns = table[(words[:, 0] * len(sizes)) >> 32].unbind(1)
    top = (words[:, 1] * (rows - height)) >> 32
    left = (words[:, 2] * (columns - width)) >> 32
    return begin + top * columns + left, columns


def crops(
    words: Tensor, channels: int, setting: Setting, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(planes on the words' device, uint8 (channels, pixels), and of each crop its first pixel and its stride)."""
    scales = _scales(setting.profile, height, width)
    first, stride = _corners(words, _ice(setting.profile, scales).sizes, height, width)
    planes = _planes_on(words.device, setting.profile, scales)
    return planes[:3] if channels == 3 else planes[3:], first, stride


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Add a weighted crop of a photograph of ice to the weighted image, in the sources' own float64.

    `images` uint8 (N, C, H, W); `words` as `draw` gives them; `setting.parameters` the two weights. A grey
    channel takes the photograph in grey.
    """
    assert words is not None
    of_image, of_frost = map(float, setting.parameters)
    channels, height, width = images.shape[1:]
    planes, first, stride = crops(words, channels, setting, height, width)
    y, x = torch.arange(height, device=words.device), torch.arange(width, device=words.device)
    at = first[:, None, None] + y[:, None] * stride[:, None, None] + x
    ice = planes[:, at].transpose(0, 1)
    total = images.to(torch.float64) * of_image + ice.to(torch.float64) * of_frost
    return total.clamp_(max=255).to(torch.uint8)


@compiled
def _images(
    start: Any, stop: Any, images: Any, out: Any, first: Any, stride: Any, planes: Any,
    of_image: Any, of_frost: Any,
) -> Any:  # fmt: skip
    channels, height, width = images.shape[1:]
    for n in range(start, stop):
        for channel in range(channels):
            for y in range(height):
                begin = first[n] + y * stride[n]
                ice = planes[channel if channels == 3 else 3, begin : begin + width]
                for x in range(width):
                    total = of_image * images[n, channel, y, x] + of_frost * ice[x]
                    out[n, channel, y, x] = np.uint8(np.int32(min(total, 255.0)))


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    height, width = images.shape[2:]
    of_image, of_frost = setting.parameters
    ice = _ice(setting.profile, _scales(setting.profile, height, width))
    first, stride = _corners(words, ice.sizes, height, width)
    out = torch.empty_like(images)
    spread(
        _images, len(images), images.numpy(), out.numpy(), first.numpy(), stride.numpy(), ice.planes,
        float(of_image), float(of_frost), grain=1 + 150_000 // (height * width),
    )  # fmt: skip
    return out


FROST = Corruption(by_torch, draw, by_loops)
