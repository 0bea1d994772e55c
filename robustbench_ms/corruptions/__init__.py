"""Image corruptions: uint8 tensors in, uint8 tensors out.

Names, profiles and parameters are there at once; `corrupt` and `kernel_of` import torch at their first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .table import COMMON, EXTRA, NAMES, PROFILES, PROTOCOL, SEVERITIES

if TYPE_CHECKING:
    from .api import SIDES, corrupt, kernel_of
    from .transform import Corrupt

__all__ = [
    "COMMON",
    "EXTRA",
    "NAMES",
    "PROFILES",
    "PROTOCOL",
    "SEVERITIES",
    "SIDES",
    "Corrupt",
    "corrupt",
    "kernel_of",
]


def __getattr__(name: str) -> Any:
    if name in {"SIDES", "corrupt", "kernel_of"}:
        from . import api

        return getattr(api, name)
    if name == "Corrupt":
        from .transform import Corrupt

        return Corrupt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
