"""Standard output while models run: whatever prints, in Python or in C, prints to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

__all__ = ["stdout_aside"]


@contextlib.contextmanager
def stdout_aside() -> Iterator[None]:
    """Keep descriptor 1 aside and point it to descriptor 2; what is buffered when it comes back went there too."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two is closed
        yield
        return
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.__stdout__):
            if stream is not None and not stream.closed:
                stream.flush()
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
