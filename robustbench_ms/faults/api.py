"""The one way to a faulty window."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustbench_ms.errors import UserError, choose
from robustbench_ms.faults import moving, touching
from robustbench_ms.faults.draws import keys_of
from robustbench_ms.faults.frame import Frame
from robustbench_ms.faults.table import LEVELS, STRENGTHS

__all__ = ["fault", "refuse"]

_FAULTS: dict[str, Callable[[Tensor, Frame, Tensor, int], Tensor]] = {
    name: getattr(moving if name in moving.__all__ else touching, name) for name in STRENGTHS
}
_NUMBERS = 1 << 18
"""Of a helping: what its steps make stays in the caches."""


def refuse(name: str, frame: Frame, length: int) -> None:
    """UserError for a fault that is none, and for windows that it can do nothing to."""
    choose(name, STRENGTHS, "fault")
    if length < 2:
        raise UserError(f"windows of {length} sample have no faults; they need 2 or more")
    if name == "rotation" and not frame.triads:
        raise UserError("rotation turns triads, and no channel is of one")


def fault(windows: Tensor, name: str, level: int, frame: Frame, *, ids: Tensor, seed: int = 0) -> Tensor:
    """Windows float32 (n, C, T) in physical units under a fault: a new tensor of the same shape, on their device.

    `level` is 1 to 5, or 0, which changes no bit; `ids` int64 (n,) key what is drawn, on a CPU or the windows' device.
    Each window's bytes are the same in any batch and order, and on every device. Samples and channels that a fault does
    not touch keep their bits. UserError for other input.
    """
    if windows.dtype != torch.float32 or windows.ndim != 3 or windows.shape[1] != len(frame.channels):
        raise UserError(
            f"windows must be float32 (n, {len(frame.channels)}, T), not {windows.dtype} of shape "
            f"{tuple(windows.shape)}"
        )
    refuse(name, frame, windows.shape[2])
    if level not in (0, *LEVELS):
        raise UserError(f"level must be 0 to {LEVELS[-1]}, not {level!r}")
    if level == 0 or not len(windows):
        return windows.clone()
    keys = keys_of(name, seed, ids).to(windows.device)
    step = (
        max(1, _NUMBERS // (windows.shape[1] * windows.shape[2]))
        if windows.device.type == "cpu"
        else len(windows)
    )
    if step >= len(windows):
        return _FAULTS[name](windows, frame, keys, level)
    made = torch.empty_like(windows)
    for start in range(0, len(windows), step):
        part = slice(start, start + step)
        made[part] = _FAULTS[name](windows[part], frame, keys[part], level)
    return made
