"""Faults that change values where they are: of some axes, of one stretch, of each sample.

All take a part of windows float32 (n, C, T), which they leave alone, a frame, keys (n,) and a level 1..5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robustbench_ms.faults.draws import AXES, SENSOR, normals, order, places_of, signs, uniforms
from robustbench_ms.faults.frame import Frame
from robustbench_ms.faults.table import STRENGTHS

__all__ = [
    "attenuation", "axes_hit", "bias", "drift", "dropout_zero", "gain", "missing", "noise", "occlusion",
    "quantisation", "saturation", "sensor_loss", "spike", "touched",
]  # fmt: skip

_NOTHING = -0.0
"""What is added where nothing is: x + -0.0 is x to the bit, and -0.0 + 0.0 is not."""


def axes_hit(level: int, axes: int) -> int:
    """How many axes a fault of some axes hits: 1 1 2 2 3 of six."""
    return 1 + level * (-(-axes // 2) - 1) // 5


def touched(frame: Frame, keys: Tensor, count: int) -> Tensor:
    """Which channels belong to the first `count` axes of the keyed order, bool (n, C)."""
    ranks = order(keys, len(frame.axes), AXES)
    return (ranks < count)[:, frame.axis_of]


def _hit(frame: Frame, keys: Tensor, level: int) -> Tensor:
    return touched(frame, keys, axes_hit(level, len(frame.axes)))


def _added(frame: Frame, keys: Tensor, level: int, strength: float) -> Tensor:
    """Sign x strength x sd of the channels of their own that are hit, float32 (n, C, 1), and nothing elsewhere."""
    sign = signs(keys, len(frame.axes))[:, frame.axis_of]
    sd = torch.tensor(frame.sd, device=keys.device)
    whole = torch.zeros(len(frame.channels), dtype=torch.bool)
    whole[frame.wholes] = True
    hit = _hit(frame, keys, level) & whole.to(keys.device)
    return torch.where(hit, (sign * (sd * strength)).float(), _NOTHING)[..., None]


def bias(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Adds sign c sd; what is left without gravity keeps its bits: a constant is taken for gravity."""
    return x + _added(frame, keys, level, STRENGTHS["bias"][level - 1])


def drift(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Adds sign c sd t / (T - 1)."""
    length = x.shape[2]
    ramp = (torch.arange(length, device=x.device, dtype=torch.float64) / max(1, length - 1)).float()
    made = _added(frame, keys, level, STRENGTHS["drift"][level - 1]) * ramp
    made += x
    return made


def _scaled(x: Tensor, frame: Frame, keys: Tensor, level: int, factor: float) -> Tensor:
    return x * torch.where(_hit(frame, keys, level), factor, 1.0)[..., None]


def gain(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Times c, about 0 in physical units."""
    return _scaled(x, frame, keys, level, STRENGTHS["gain"][level - 1])


def attenuation(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Times c, below 1."""
    return _scaled(x, frame, keys, level, STRENGTHS["attenuation"][level - 1])


def noise(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Adds c sd n(axis, t), the same of a channel and its parts."""
    made = x.clone()
    strength = STRENGTHS["noise"][level - 1]
    ranks = order(keys, len(frame.axes), AXES)
    for axis, channels in enumerate(frame.slots):
        rows = (ranks[:, axis] < axes_hit(level, len(frame.axes))).nonzero()[:, 0]
        error = (normals(keys[rows], x.shape[2], 16 + axis) * (strength * frame.sd[channels[0]])).float()
        for channel in channels:
            made[rows, channel] = x[rows, channel] + error
    return made


def spike(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Adds sign 7.5 s sd at the first L of a keyed order of the samples after the first, on all axes that are hit."""
    made = x.clone()
    count = min(level, x.shape[2] - 1)
    if count < 1:
        return made
    at = places_of(keys, x.shape[2] - 1, count) + 1
    sign = signs(keys, len(frame.axes))[:, frame.axis_of]
    sd = torch.tensor(frame.sd, device=x.device)
    error = (sign * (sd * STRENGTHS["spike"][level - 1])).float()
    error = torch.where(_hit(frame, keys, level), error, _NOTHING)[..., None]
    where = at[:, None, :].expand(-1, x.shape[1], -1)
    return made.scatter_(2, where, x.gather(2, where) + error)


def dropout_zero(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Samples lost one by one, at times of each sensor, read 0 in physical units."""
    lost = _lost(x, frame, keys, STRENGTHS["dropout_zero"][level - 1])
    return torch.where(lost[:, frame.sensor_of] & _hit(frame, keys, level)[..., None], 0.0, x)


def _lost(x: Tensor, frame: Frame, keys: Tensor, chance: float) -> Tensor:
    """Bool (n, sensors, T)."""
    length = x.shape[2]
    drawn = uniforms(keys, len(frame.sensors) * length)
    return drawn.view(len(keys), len(frame.sensors), length) < chance


def missing(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Whole axes read each channel's training mean: 1 to 5 of six."""
    count = max(1, len(frame.axes) * level // 6)
    return torch.where(touched(frame, keys, count)[..., None], frame.means(x), x)


def occlusion(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """All channels read their training mean for ceil(c (T - 1)) samples."""
    length = x.shape[2]
    long = -(-level * (length - 1) // 10)
    begin = (uniforms(keys, 1) * (length - long + 1)).floor()
    t = torch.arange(length, device=x.device)
    inside = (t >= begin) & (t < begin + long)
    return torch.where(inside[:, None, :], frame.means(x), x)


def sensor_loss(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """One sensor reads its channels' training means for the last ceil(s T) samples; all of them at level 5."""
    length = x.shape[2]
    gone = order(keys, len(frame.sensors), SENSOR)[:, frame.sensor_of] == 0
    late = torch.arange(length, device=x.device) >= length + -level * length // 5
    return torch.where(gone[..., None] & late, frame.means(x), x)


def saturation(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Clipped to +-c R, R the sensor's largest absolute training value."""
    del keys
    most = frame.column(STRENGTHS["saturation"][level - 1] * frame.ranges, x)
    return _measured(x, frame, lambda v, i: v.clamp(-most[:, i], most[:, i]))


def quantisation(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Is d clip(rint(v / d), -2^(b-1), 2^(b-1) - 1) with d = 2 R / 2^b, of b bits."""
    del keys
    half = 2.0 ** (STRENGTHS["quantisation"][level - 1] - 1)
    step = frame.column(frame.ranges / half, x)
    return _measured(
        x, frame, lambda v, i: (v / step[:, i]).round_().clamp_(-half, half - 1).mul_(step[:, i])
    )


def _measured(x: Tensor, frame: Frame, f: Callable[[Tensor, Any], Tensor]) -> Tensor:
    """Is f of what the sensor measures; of a part f(whole) - f(whole - part), but where f changes neither.

    `f` takes (n, k, T) and the channels' indices.
    """
    if not frame.parts:
        return f(x, slice(None))
    made = torch.empty_like(x)
    made[:, frame.wholes] = f(x[:, frame.wholes], frame.wholes)
    of = [frame.whole_of[i] for i in frame.parts]
    whole, part = x[:, of], x[:, frame.parts]
    gravity = whole - part
    seen, kept = made[:, of], f(gravity, of)
    made[:, frame.parts] = torch.where((seen == whole) & (kept == gravity), part, seen - kept)
    return made
