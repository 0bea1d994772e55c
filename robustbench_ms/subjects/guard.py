"""What stands around every call of a model's own code: building, loading and asking it.

Whatever it raises is its own failure; what it changes of the process is put back; what it prints goes to standard
error; a call that does not come back is named, see `watching`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import torch

from robustbench_ms.errors import DeviceLost, Misbehaved, UserError
from robustbench_ms.subjects.devices import device_lost, is_lost
from robustbench_ms.subjects.watching import TooLong

__all__ = ["Guard", "first_line"]

_SIGNALS = sorted(signal.valid_signals())
_SMALL = 1e-310
"""Half of it is 0 where denormals are."""
_CAST = ("cpu", "cuda")
_BACKENDS: Any = torch.backends
_PRECISE = (
    _BACKENDS, _BACKENDS.cuda.matmul, _BACKENDS.cudnn, _BACKENDS.cudnn.conv,
    _BACKENDS.mkldnn.matmul, _BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.rnn,
)  # fmt: skip
"""What each has an `fp32_precision` of."""


class Guard:
    """A context around one call of a stranger's code, in a model's name.

    Raises Misbehaved for whatever comes out of it but UserError, DeviceLost and KeyboardInterrupt.
    """

    left: ClassVar[dict[str, int]] = {}
    """{model: how many threads of its own it left running}; of the process."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = [read() for read, _ in _KEPT]
        self._threads = set(threading.enumerate())
        self._stdout = sys.stdout
        if not isinstance(sys.stdout, _Aside):
            sys.stdout = _Aside()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout = self._stdout
        _put_back(self._before)
        left = [one for one in set(threading.enumerate()) - self._threads if not one.daemon]
        if left:
            Guard.left[self._name] = Guard.left.get(self._name, 0) + len(left)
        if error is None or isinstance(error, (UserError, DeviceLost, KeyboardInterrupt)):
            return
        if isinstance(error, TooLong):
            raise Misbehaved(str(error)) from None
        if isinstance(error, Exception) and is_lost(error):
            raise device_lost(error) from error
        raise Misbehaved(first_line(error), type(error).__name__) from error


def first_line(error: BaseException) -> str:
    """What an error says, without what a terminal would obey."""
    try:
        lines = str(error).splitlines()
    except Exception:  # noqa: BLE001 - a stranger's class
        lines = []
    return "".join(c if c.isprintable() else " " for c in lines[0]) if lines else ""


def _put_back(before: list[Any]) -> None:
    for (read, write), value in zip(_KEPT, before, strict=True):
        try:
            changed = read() != value
        except RuntimeError:  # torch's, where precisions were set by its older names and by its newer ones
            changed = True
        if changed:
            write(value)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a text costs half
    except OSError:  # it was deleted
        return None


def _set_folder(value: str | None) -> None:
    if value is not None:
        os.chdir(value)


def _flushes() -> bool:
    return _SMALL * 0.5 == 0.0


def _truncated() -> Any:
    pillow = sys.modules.get("PIL.ImageFile")
    return None if pillow is None else pillow.LOAD_TRUNCATED_IMAGES


def _set_truncated(value: Any) -> None:
    sys.modules["PIL.ImageFile"].LOAD_TRUNCATED_IMAGES = bool(value)  # type: ignore[attr-defined]


def _set_default_device(value: torch.device) -> None:
    # None, and not the CPU: a mode that is set costs each call of torch.
    torch.set_default_device(None)
    if torch.get_default_device() != value:
        torch.set_default_device(value)


def _environ() -> dict[Any, Any]:
    return dict(os.environ._data)  # type: ignore[attr-defined]  # noqa: SLF001 - copy() takes 90 microseconds


def _set_environ(value: dict[Any, Any]) -> None:
    now = _environ()
    for name in now.keys() - value.keys():
        os.environb.pop(name, None)
    for name, word in value.items():
        if now.get(name) != word:
            os.environb[name] = word


def _handlers() -> list[Any]:
    # Not by signal's, which looks for an enumeration's member: 2 microseconds a signal.
    return [_signal.getsignal(number) for number in _SIGNALS]


def _set_signals(value: list[Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, was, is_now in zip(_SIGNALS, value, _handlers(), strict=True):
        if was != is_now and was is not None:  # what C set cannot be set again
            signal.signal(number, was)


def _set_filters(value: list[Any]) -> None:
    warnings.filters[:] = value  # type: ignore[index]
    with warnings.catch_warnings():  # so that they are read anew
        pass


def _precisions() -> list[str]:
    return [one.fp32_precision for one in _PRECISE]


def _set_precisions(value: list[str]) -> None:
    for one, precision in zip(_PRECISE, value, strict=True):
        one.fp32_precision = precision


def _set_autocast(value: tuple[bool, bool]) -> None:
    for kind, on in zip(_CAST, value, strict=True):
        torch.set_autocast_enabled(kind, on)


def _set_backends(value: tuple[bool, bool, bool, bool]) -> None:
    torch.backends.cuda.matmul.allow_tf32 = value[0]
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = value[1:3]
    torch.backends.cudnn.deterministic = value[3]


_KEPT: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_default_device, _set_default_device),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (_precisions, _set_precisions),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (lambda: tuple(map(torch.is_autocast_enabled, _CAST)), _set_autocast),
    (
        lambda: (
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
        _set_backends,
    ),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (_flushes, torch.set_flush_denormal),
    (np.geterr, lambda value: np.seterr(**value)),
    (_folder, _set_folder),
    (_environ, _set_environ),
    (_handlers, _set_signals),
    (lambda: list(warnings.filters), _set_filters),
    (_truncated, _set_truncated),
)
"""What a model's call may change of the process, how to read it, and how to write it back."""


class _Aside:
    """Standard output while a model runs: in all that is asked of it standard error, but that nobody closes it."""

    def write(self, text: str) -> int:
        """To standard error, as it is at that time."""
        return len(text) if _stderr() is None else _stderr().write(text)

    def flush(self) -> None:
        """Of standard error."""
        if _stderr() is not None:
            _stderr().flush()

    def close(self) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_stderr(), name)


def _stderr() -> Any:
    return sys.stderr
