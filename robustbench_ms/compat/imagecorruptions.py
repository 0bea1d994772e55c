"""imagecorruptions' two functions over this package's corruptions, to be put in its place.

    import robustbench_ms.compat.imagecorruptions as imagecorruptions

The signatures, names, kinds of error and shapes are those of imagecorruptions-imaug 1.1.5 (its `__init__.py`). Pictures
without randomness come out within one level of its own; the others are drawn from the same distributions, by numpy's
global generator, so that `np.random.seed` repeats them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_ms.corruptions import COMMON, EXTRA, NAMES
from robustbench_ms.corruptions import corrupt as corrupt_batch
from robustbench_ms.corruptions.dispatch import corruption_of

__all__ = ["corrupt", "get_corruption_names"]

_SMALLEST = 32
_SEEDED = {"impulse_noise", "glass_blur"}
"""Those that take `seed` there."""
_SUBSETS = {
    "common": COMMON,
    "validation": EXTRA,
    "all": NAMES,
    "noise": COMMON[:3],
    "blur": COMMON[3:7],
    "weather": COMMON[7:11],
    "digital": COMMON[11:],
}


def corrupt(
    image: NDArray[np.uint8],
    severity: int = 1,
    corruption_name: str | None = None,
    corruption_number: int = -1,
    **kwargs: Any,
) -> NDArray[np.uint8]:
    """One picture, uint8 (H, W, 3), (H, W, 1) or (H, W) of 32 pixels a side or more, corrupted: uint8 (H, W, 3).

    `severity` is 1..5; the corruption goes by name or by its number in `get_corruption_names("all")`. `seed` (an
    integer; of impulse_noise and glass_blur alone) takes the place of numpy's global generator. A grey picture becomes
    three equal channels first. Raises AttributeError for what is no such picture or severity, KeyError and IndexError
    for an unknown corruption, ValueError where none is named, TypeError for another keyword.
    """
    picture = _three_channels(image)
    if severity not in (1, 2, 3, 4, 5):
        raise AttributeError("Severity must be an integer in [1, 5]")
    if corruption_name is not None:
        if corruption_name not in NAMES:
            raise KeyError(corruption_name)
        name = corruption_name
    elif corruption_number != -1:
        name = NAMES[corruption_number]
    else:
        raise ValueError("Either corruption_name or corruption_number must be passed")
    unknown = [word for word in kwargs if word != "seed" or name not in _SEEDED]
    if unknown:
        raise TypeError(f"{name}() got an unexpected keyword argument {unknown[0]!r}")
    seed = kwargs.get("seed")
    if seed is None:  # as there, what draws nothing leaves the generator where it is
        drawn = corruption_of(name).draw is not None
        seed = np.random.randint(2**63, dtype=np.int64) if drawn else 0  # noqa: NPY002 - the one that people seed
    batch = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
    done = corrupt_batch(batch, name, int(severity), profile="any-size", seed=int(seed), ids=[0])
    corrupted: NDArray[np.uint8] = np.ascontiguousarray(done[0].permute(1, 2, 0).numpy())
    return corrupted


def get_corruption_names(subset: str = "common") -> list[str]:
    """The names of a subset: common, validation, all, noise, blur, weather or digital; ValueError for another."""
    if subset not in _SUBSETS:
        raise ValueError(f"subset must be one of {[*_SUBSETS]}")
    return [*_SUBSETS[subset]]


def _three_channels(image: Any) -> NDArray[np.uint8]:
    """The picture as (H, W, 3)."""
    if not isinstance(image, np.ndarray):
        raise AttributeError("Expecting type(image) to be numpy.ndarray")  # noqa: TRY004 - theirs
    if image.dtype.type is not np.uint8:
        raise AttributeError("Expecting image.dtype.type to be numpy.uint8")
    if image.ndim not in {2, 3}:
        raise AttributeError(
            "Expecting image.shape to be either (height x width) or (height x width x channels)"
        )
    picture = image[:, :, None] if image.ndim == 2 else image
    height, width, channels = picture.shape
    if min(height, width) < _SMALLEST:
        raise AttributeError("Image width and height must be at least 32 pixels")
    if channels not in {1, 3}:
        raise AttributeError("Expecting image to have either 1 or 3 channels (last dimension)")
    return np.repeat(picture, 3, axis=2) if channels == 1 else picture
