"""Faults that read a window elsewhere than it is: held, shaken, warped, turned and thinned out.

All take what `touching`'s take; moving and linear ones act on each channel itself, parts as well as wholes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_ms.faults.draws import TIMES, VALUES, exponential, normals, signs, uniforms
from robustbench_ms.faults.frame import Frame
from robustbench_ms.faults.table import STAY, STRENGTHS
from robustbench_ms.faults.touching import _hit, _lost

__all__ = ["dropout_hold", "jitter", "low_rate", "packet_loss", "rotation", "stuck", "warp"]

_COSINES = (0.984807753012208, 0.9396926207859084, 0.8660254037844387, 0.7071067811865476, 0.5)
_SINES = (0.17364817766693033, 0.3420201433256687, 0.5, 0.7071067811865475, 0.8660254037844386)
"""Of rotation's angles, in figures: a library's last bit differs from machine to machine."""
_STRETCHES = 4


def stuck(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """One stretch of m = ceil(s (T - 1)) samples holds the one before it, from 1 + floor(u (T - m)) on."""
    length = x.shape[2]
    long = -(-level * (length - 1) // 5)
    begin = 1 + (uniforms(keys, 1) * (length - long)).long()
    t = torch.arange(length, device=x.device)
    inside = (t >= begin) & (t < begin + long)
    before = x.gather(2, (begin - 1)[..., None].expand(-1, x.shape[1], 1))
    return torch.where(_hit(frame, keys, level)[..., None] & inside[:, None, :], before, x)


def dropout_hold(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Samples after the first are lost one by one, at times of each sensor, and the last one kept is read again."""
    lost = _lost(x, frame, keys, STRENGTHS["dropout_hold"][level - 1])
    return x.gather(2, _last_kept(lost)[:, frame.sensor_of])


def packet_loss(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """All samples of a burst are lost and the last one before it is read: bursts begin, and go on, by chance.

    A chain of two states from sample 1 on. As beginning is never likelier than going on, a sample is lost where since
    the last draw that ends any burst one has begun.
    """
    del frame
    length = x.shape[2]
    drawn = uniforms(keys, length)
    drawn[:, 0] = 1.0
    t = torch.arange(length, device=x.device)
    ended = torch.where(drawn >= STAY[level - 1], t, -1).cummax(dim=1).values
    begun = torch.where(drawn < STRENGTHS["packet_loss"][level - 1], t, -1).cummax(dim=1).values
    kept = _last_kept(begun > ended)
    return x.gather(2, kept[:, None, :].expand_as(x))


def _last_kept(lost: Tensor) -> Tensor:
    """The place of the last sample that is not lost (..., T), the first one never being."""
    t = torch.arange(lost.shape[-1], device=lost.device)
    return torch.where(lost & (t > 0), 0, t).cummax(dim=-1).values


def jitter(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Read at clip(t + a (2 u(t) - 1), 0, T - 1), linearly."""
    del frame
    length = x.shape[2]
    t = torch.arange(length, device=x.device, dtype=torch.float64)
    shift = STRENGTHS["jitter"][level - 1] * (2 * uniforms(keys, length, TIMES) - 1)
    return _read(x, (t + shift).clamp(0, length - 1))


def warp(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Four equal stretches are read at speeds exp(a n), normalised so that both ends stay."""
    del frame
    end = x.shape[2] - 1
    speed = exponential(STRENGTHS["warp"][level - 1] * normals(keys, _STRETCHES, VALUES))
    total = ((speed[:, 0:1] + speed[:, 1:2]) + speed[:, 2:3]) + speed[:, 3:4]
    speed = speed * _STRETCHES / total
    t = torch.arange(end + 1, device=x.device, dtype=torch.float64)
    quarter = end / _STRETCHES
    which = (t / max(quarter, 1e-300)).floor().clamp(max=_STRETCHES - 1).long()
    before = torch.zeros_like(speed)
    for stretch in range(1, _STRETCHES):
        before[:, stretch] = before[:, stretch - 1] + speed[:, stretch - 1] * quarter
    at = before[:, which] + speed[:, which] * (t - which * quarter)
    at[:, end] = end
    return _read(x, at.clamp(0, end))


def low_rate(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """Every m-th sample is kept and what lies between is read linearly; after the last one it is held. No filter."""
    del frame, keys
    step, length = int(STRENGTHS["low_rate"][level - 1]), x.shape[2]
    t = torch.arange(length, device=x.device)
    left = t // step * step
    right = torch.where(left + step < length, left + step, left)
    part = ((t - left).double() / step).float()
    return _between(x[:, :, left], x[:, :, right], part)


def rotation(x: Tensor, frame: Frame, keys: Tensor, level: int) -> Tensor:
    """All triads turn by one matrix (Rodrigues): a keyed direction, uniform on the sphere, and a keyed sign."""
    made = x.clone()
    matrix = rotations(keys, level)
    for triad in frame.triads:
        part = x[:, triad].double()
        rows = [matrix[:, :, i, None] * part[:, i, None, :] for i in range(3)]
        made[:, triad] = ((rows[0] + rows[1]) + rows[2]).float()
    return made


def rotations(keys: Tensor, level: int) -> Tensor:
    """The matrices, float64 (n, 3, 3)."""
    drawn = normals(keys, 3, VALUES)
    square = drawn * drawn
    u = drawn / ((square[:, 0:1] + square[:, 1:2]) + square[:, 2:3]).sqrt()
    cosine, sine = _COSINES[level - 1], _SINES[level - 1] * signs(keys, 1)[:, 0]
    matrix = (1 - cosine) * (u[:, :, None] * u[:, None, :])
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        matrix[:, i, i] = matrix[:, i, i] + cosine
        matrix[:, i, j] = matrix[:, i, j] - sine * u[:, k]
        matrix[:, i, k] = matrix[:, i, k] + sine * u[:, j]
    return matrix


def _read(x: Tensor, at: Tensor) -> Tensor:
    """All channels at places float64 (n, T) within 0..T-1, linearly between two samples."""
    left = at.floor()
    part = (at - left).float()[:, None, :]
    left = left.long()
    right = (left + 1).clamp(max=x.shape[2] - 1)
    return _between(
        x.gather(2, left[:, None, :].expand_as(x)), x.gather(2, right[:, None, :].expand_as(x)), part
    )


def _between(left: Tensor, right: Tensor, part: Tensor) -> Tensor:
    """Is left + part (right - left); left to the bit where the part is 0."""
    return torch.where(part == 0, left, left + part * (right - left))
