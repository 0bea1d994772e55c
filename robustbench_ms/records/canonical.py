"""One digest over facts and arrays, the same however the facts are spelled in JSON.

It finds damage and careless edits. It finds no forger, who computes it anew.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["arrays_digest", "content_digest"]

_EXACT = 2**53
"""Up to here a number is the same as an integer and as a float."""


def content_digest(told: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, 64 hexadecimal digits; whitespace, the order of keys and the spelling of numbers are none
    of its business (1, 1.0 and 1e0 are one number). ValueError for NaN and infinity.
    """
    text = json.dumps(
        _canonical(told), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of named arrays: of each the name, dtype, shape and bytes in C order, little-endian, by name."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.kind not in "biufcSU":
            raise ValueError(f"array {name!r} is of {array.dtype}, which has no bytes of its own")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode() + b"\0")
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        try:
            return float(value)
        except OverflowError:
            return value
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value
