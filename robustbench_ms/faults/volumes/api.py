"""The one way to a volume with an artefact."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.errors import UserError, choose
from robustbench_ms.faults.volumes import pointwise, resampled, spectral
from robustbench_ms.faults.volumes.draws import Draws, draws_of
from robustbench_ms.faults.volumes.table import LEVELS, MOVING, STRENGTHS

__all__ = ["artefact", "refuse", "scale_of"]

_STAYING: dict[str, Callable[[Tensor, Draws, int], Tensor]] = {
    name: getattr(spectral if name in spectral.__all__ else pointwise, name)
    for name in STRENGTHS
    if name not in MOVING
}
_MOVED: dict[str, Callable[..., resampled.Places]] = {name: getattr(resampled, name) for name in MOVING}

_LOW, _HIGH = 0.005, 0.995
_SMALLEST = 4
"""Voxels along each axis."""


def artefact(
    volumes: Tensor, name: str, level: int, *, ids: Tensor, seed: int = 0, of_bytes: bool = False,
    spacing: tuple[float, float, float] | None = None, labels: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Volumes float32 (n, C, D, H, W) with an artefact, in native units, and their maps (n, D, H, W), where given.

    `level` is 1 to 5, or 0, which changes no bit; `ids` int64 (n,) on the CPU key what is drawn. Each channel of a
    volume is scaled before, so that its .5 and 99.5 percentiles are 0 and 1, or from 0..255 where they are `of_bytes`,
    and scaled back after, neither rounded nor clipped. Maps move with what moves. One volume at a time: its bytes are
    the same in any batch and order, and on every device. UserError for other input.
    """
    if volumes.dtype != torch.float32 or volumes.ndim != 5:
        raise UserError(
            f"volumes must be float32 (n, C, D, H, W), not {volumes.dtype} of shape {tuple(volumes.shape)}"
        )
    choose(name, STRENGTHS, "artefact")
    if level not in (0, *LEVELS):
        raise UserError(f"level must be 0 to {LEVELS[-1]}, not {level!r}")
    if level == 0 or not len(volumes):
        return volumes.clone(), None if labels is None else labels.clone()
    refuse(tuple(volumes.shape[2:]))
    made = torch.empty_like(volumes)
    moved = None if labels is None else labels.clone()
    for i, draws in enumerate(draws_of(name, seed, ids)):
        if not all(
            map(math.isfinite, torch.stack(torch.aminmax(volumes[i])).tolist())
        ):  # NaN among others is both
            raise UserError(
                f"volume {int(ids[i])} has NaN or infinite voxels, outside the brain perhaps: set them to a number"
            )
        low, width = scale_of(volumes[i], int(ids[i]), of_bytes=of_bytes)
        scaled = (volumes[i] - low).div_(width)
        if name in MOVING:
            shape = (volumes.shape[2], volumes.shape[3], volumes.shape[4])
            places = _MOVED[name](shape, spacing or (1.0, 1.0, 1.0), draws, level, volumes.device)
            shown = resampled.read(scaled, places)
            if moved is not None and labels is not None:
                moved[i] = resampled.read_labels(labels[i], places)
        else:
            shown = _STAYING[name](scaled, draws, level)
        torch.mul(shown, width, out=made[i]).add_(low)
    return made, moved


def refuse(shape: tuple[int, ...]) -> None:
    """UserError for volumes that are too small."""
    if min(shape) < _SMALLEST:
        raise UserError(
            f"volumes of {' x '.join(map(str, shape))} are too small for artefacts; each side needs {_SMALLEST} voxels "
            "or more"
        )


def scale_of(volume: Tensor, number: int = 0, *, of_bytes: bool = False) -> tuple[Tensor, Tensor]:
    """What is taken from each channel of (C, D, H, W), and by what it is divided, float32 (C, 1, 1, 1) each.

    Percentiles are numpy's linear ones, in float64. UserError where there is nothing between them.
    """
    if of_bytes:
        return (torch.full((len(volume), 1, 1, 1), value, device=volume.device) for value in (0.0, 255.0))  # type: ignore[return-value]
    values = volume.flatten(1)
    n = values.shape[1]
    places = [part * (n - 1) for part in (_LOW, _HIGH)]
    ranks = [rank for place in places for rank in (int(place), min(int(place) + 1, n - 1))]
    ranked = [value.double() for value in _ranked(values, ranks)]
    found = []
    for place, a, b in zip(places, ranked[::2], ranked[1::2], strict=True):
        t = place - int(place)
        # numpy takes the nearer end, so that both ends are met.
        found.append(b - (b - a) * (1.0 - t) if t >= 0.5 else a + (b - a) * t)
    first, width = found[0] + 0.0, found[1] - found[0]
    if not bool((width > 0).all()):
        raise UserError(
            f"volume {number} is constant between its .5 and 99.5 percentiles, so that it cannot be scaled"
        )
    return first.float().view(-1, 1, 1, 1), width.float().view(-1, 1, 1, 1)


def _ranked(values: Tensor, places: list[int]) -> list[Tensor]:
    """The values (C,) at places in the order of each row of (C, n)."""
    if values.device.type == "cpu":
        parted = np.partition(values.numpy(), sorted({*places}), axis=1)
        return [torch.from_numpy(parted[:, place].copy()) for place in places]
    return [values.kthvalue(place + 1, dim=1).values for place in places]
