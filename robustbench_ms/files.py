"""Files that take their place whole: what is read is never half-written."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["replacing"]


class replacing:  # noqa: N801 - reads as a verb where it is used
    """A path beside `path` that takes its place when the block ends well, and vanishes when it does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Path:
        """Return the path to write to."""
        return self._part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Rename, or remove what was half-written."""
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)
