"""What pictures there are and what their labels are, before any of them is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Files", "Listing"]


class Files(Protocol):
    """A container of picture files (a folder, tars, parquet), which keeps no Python object an entry."""

    def __len__(self) -> int:
        """Pictures."""

    def name(self, row: int) -> str:
        """The picture's name relative to the container, with slashes: for messages and ids."""

    def read(self, row: int) -> bytes:
        """The picture file's bytes; BadFile names one that is missing or has changed."""

    def stamps(self) -> NDArray[np.int64]:
        """(n, 2) size and time of change (ns): under these digests are remembered."""


@dataclass(frozen=True)
class Listing:
    """Pictures and their labels; rows are in the order of the ids, so that how they lie on a disk plays no part."""

    where: Path
    """What named them, for messages."""
    files: Files
    ids: NDArray[np.int64]
    """(n,), rising: ImageNet's numbers, or 63 bits of the SHA-256 of the name."""
    labels: NDArray[np.int64] | NDArray[np.bool_]
    """(n,), 0..classes-1; or bool (n, classes): a set of right labels a picture."""
    classes: int
    names: tuple[str, ...] = ()
    """What the classes are called; () where nobody asks."""
    exif: bool = False
    """Whether EXIF's orientation is applied; a part of the protocol."""
    white: float | None = None
    """The value that is white in pictures of 16 bits or of floats."""
    notes: tuple[str, ...] = ()
    """What was decided or left out in listing them, a sentence each; a run tells it."""
    skip: frozenset[int] = frozenset()
    """Ids that the suite leaves out of every condition; they are in no row."""
