"""Image corruptions: uint8 tensors in, uint8 tensors out.

Names, profiles and parameters are there at once; all else imports torch at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .table import COMMON, EXTRA, NAMES, PROFILES, PROTOCOL, SEVERITIES

if TYPE_CHECKING:
    from .api import SIDES, corrupt, corruption_of, jpeg_round_trip
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
    "corruption_of",
    "jpeg_round_trip",
]


def __getattr__(name: str) -> Any:
    if name in {"SIDES", "corrupt", "corruption_of", "jpeg_round_trip"}:
        from . import api

        return getattr(api, name)
    if name == "Corrupt":
        from .transform import Corrupt

        return Corrupt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
