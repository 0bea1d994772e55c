"""Loops of the scorers, compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call, without the GIL, kept on disk where that can be written.

    All that a loop calls stands in its own file, because numba keeps machine code by file.
    """
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # nowhere to write
        return njit(nogil=True, error_model="numpy")(function)
