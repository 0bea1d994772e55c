"""`corrupt`: one call for every corruption, which checks what it is given and keys the randomness.

`jpeg_round_trip` is JPEG by its quality alone, for data that were stored as such files.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.errors import UserError, choose

from . import dispatch, keyed
from .corruption import Setting
from .dispatch import corruption_of
from .table import NAMES, PROFILES, SEVERITIES, parameters

__all__ = ["SIDES", "corrupt", "corruption_of", "integer", "jpeg_round_trip", "settled"]

SIDES = {"imagenet": 224, "cifar": 32, "imagenet-64": 64, "imagenet-299": 299}
"""The one size of the published sets: their parameters are pixels of it."""


def corrupt(
    images: Tensor,
    name: str,
    severity: int,
    *,
    profile: str = "any-size",
    seed: int = 0,
    ids: Sequence[int] | Tensor | None = None,
) -> Tensor:
    """Corrupt a batch of images as ImageNet-C does.

    `images` is uint8 (N, C, H, W), C = 3 (RGB) or 1, on the CPU or a CUDA device, in any memory layout; it is
    not changed. The result is a new uint8 tensor of the same shape on the same device. A batch of none
    gives one of none. A grey image (C = 1) is corrupted as the one channel it is: what an RGB image of three
    equal channels becomes where every channel is treated alike, and one draw a pixel for the noises.

    `name` is one of `COMMON` or `EXTRA`, `severity` 1..5, `profile` one of `PROFILES`: "any-size" follows the
    imagecorruptions package on any height and width; the others follow the code that made a published set
    and take its one size (`SIDES`).

    `seed` (any integer) and `ids` (integers, one a sample) key the randomness: a sample's corruption depends
    on them, the name and the severity, and never on the batch, its order, the process or the device (floats
    may round differently on another device). None means 0..N-1, so two batches corrupted
    without ids get the same noise at the same place: give ids when a data set is worked through in batches.
    Samples with equal ids get equal draws.

    Raises UserError for what it cannot do right.
    """
    name, severity, profile = settled(name, severity, profile)
    seed = integer(seed, "seed")
    _check(images)
    _check_size(images, name, profile)
    count = len(images)
    numbers = _identities(ids, count, images.device)
    if count == 0:
        return images.clone()
    images = images.detach().contiguous()
    setting = Setting(profile, severity, parameters(name, profile, severity))
    drawn = corruption_of(name).draw is not None
    return dispatch.run(name, images, keyed.keys(name, severity, seed, numbers) if drawn else None, setting)


def settled(name: str, severity: int, profile: str) -> tuple[str, int, str]:
    """The three as they are meant; UserError for what is none of the known."""
    name, profile = choose(name, NAMES, "corruption"), choose(profile, PROFILES, "profile")
    severity = integer(severity, "severity")
    if severity not in SEVERITIES:
        raise UserError(f"severity must be 1, 2, 3, 4 or 5, not {severity}")
    return name, severity, profile


def jpeg_round_trip(images: Tensor, quality: int) -> Tensor:
    """What a JPEG file of each image would hold: uint8 (N, C, H, W), C 3 (4:2:0) or 1 -> the same.

    `quality` is libjpeg's, 1..100. The bytes are those that Pillow reads from a file that it wrote with this
    quality and its other defaults (optimised and progressive files hold the same image). Any size.
    """
    if not 1 <= quality <= 100:
        raise UserError(f"JPEG quality must be in 1..100, not {quality}")
    return dispatch.run("jpeg_compression", images.contiguous(), None, Setting("any-size", 1, quality))


def integer(value: Any, what: str) -> int:
    """A Python or numpy integer; True, 3.0 and "3" are mistakes more often than meant."""
    if not isinstance(value, bool) and not isinstance(value, Tensor) and type(value).__name__ != "bool":
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise UserError(f"{what} must be an integer, not {value!r}")


def _check(images: Any) -> None:
    if not isinstance(images, Tensor):
        kind = f"{type(images).__module__}.{type(images).__qualname__}"
        hint = "; rbms.Corrupt(name, severity) takes PIL pictures" if kind.startswith("PIL.") else ""
        raise UserError(f"images must be a torch.uint8 tensor (N, C, H, W), not {kind}{hint}")
    shape = tuple(images.shape)
    if images.dtype != torch.uint8:
        hint = (
            "; for floats in 0..1: (images * 255).round().to(torch.uint8)"
            if images.is_floating_point()
            else ""
        )
        raise UserError(f"images must be torch.uint8 in 0..255, not {images.dtype}{hint}")
    if images.device.type not in {"cpu", "cuda"}:
        raise UserError(
            f"images must be on the CPU or a CUDA device, not on {images.device}; move them: .cpu()"
        )
    if images.ndim != 4:
        hint = "; images[None] makes a batch of one" if images.ndim == 3 else ""
        raise UserError(f"images must be a batch (N, C, H, W), not of shape {shape}{hint}")
    if shape[1] not in (1, 3):
        if shape[3] in (1, 3):
            raise UserError(
                f"images of shape {shape} look like (N, H, W, C); "
                "give (N, C, H, W): images.permute(0, 3, 1, 2)"
            )
        raise UserError(f"images must have 3 channels (RGB) or 1 (grey), not {shape[1]} (shape {shape})")
    if 0 in shape[1:]:
        raise UserError(f"images of shape {shape} have no pixels")


def _check_size(images: Tensor, name: str, profile: str) -> None:
    height, width = images.shape[2:]
    side = SIDES.get(profile)
    if side is not None and (height, width) != (side, side):
        fits = next((p for p, s in SIDES.items() if height == width == s), "any-size")
        raise UserError(
            f"profile {profile!r} is for images of {side} x {side} pixels, not {height} x {width}; "
            f"profile {fits!r} takes these"
        )
    smallest = corruption_of(name).smallest
    if min(height, width) < smallest:
        raise UserError(
            f"{name} needs images of at least {smallest} x {smallest} pixels, not {height} x {width}"
        )


def _identities(ids: Any, count: int, device: torch.device) -> Tensor:
    """The ids as int64 (count,) on the images' device."""
    if ids is None:
        return torch.arange(count, dtype=torch.int64, device=device)
    if isinstance(ids, Tensor):
        numbers, integral = ids, ids.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    else:
        array = np.asarray(ids)
        fits = array.dtype != np.uint64 or int(array.max(initial=0)) <= np.iinfo(np.int64).max
        integral = (array.dtype.kind in "iu" and fits) or array.size == 0
        numbers = torch.from_numpy(array.astype(np.int64)) if integral else torch.empty(0)
    if not integral:
        raise UserError(f"ids must be integers of 64 bits with a sign, one a sample, not {ids!r}")
    if tuple(numbers.shape) != (count,):
        raise UserError(f"ids must be one a sample: {count} images, but ids of shape {tuple(numbers.shape)}")
    return numbers.to(device=device, dtype=torch.int64)
