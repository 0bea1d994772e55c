"""What pictures there are and what their labels are, before any of them is read."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import BadFile

__all__ = ["Files", "Listing", "ids_of", "imagenet_number", "is_wnid", "numbers_of"]


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


_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})(?:_n\d{8})?$")
"""The stem of a validation picture's name; Hugging Face's copies have the WordNet id behind the number."""


def is_wnid(word: str) -> bool:
    """Whether a word is spelled as a WordNet id, n and eight digits."""
    return len(word) == 9 and word[0] == "n" and word[1:].isdigit()


def imagenet_number(name: str) -> int | None:
    """Which of ImageNet's validation pictures a name says it is; None where it says none."""
    stem = name.rpartition("/")[2].rpartition(".")[0]
    found = _NUMBERED.search(stem)
    return int(found[1]) if found else None


def numbers_of(files: Files) -> NDArray[np.int64] | None:
    """The numbers (n,) of ImageNet's validation pictures; None where a name has none."""
    numbers = np.empty(len(files), np.int64)
    for row in range(len(files)):
        number = imagenet_number(files.name(row))
        if number is None:
            return None
        numbers[row] = number
    return numbers


def ids_of(files: Files, where: Path) -> NDArray[np.int64]:
    """Ids (n,): ImageNet's numbers where every name ends in one; else 63 bits of the SHA-256 of each.

    Names are hashed in Unicode's normal form C. BadFile where two pictures have one id, or names that differ in case
    only.
    """
    ids = numbers_of(files)
    if ids is None:
        ids = np.empty(len(files), np.int64)
        for row in range(len(files)):
            name = unicodedata.normalize("NFC", files.name(row)).encode("utf-8", "surrogateescape")
            ids[row] = int.from_bytes(hashlib.sha256(name).digest()[:8]) >> 1
    if pair := _twice(ids):
        one, other = map(files.name, pair)
        raise BadFile(f"{where}: {one} and {other} have one id, {ids[pair[0]]}: rename or remove one of them")
    folded = np.fromiter(
        (hash(files.name(row).casefold()) for row in range(len(files))), np.int64, len(files)
    )
    if pair := _twice(folded):
        one, other = map(files.name, pair)
        if one.casefold() == other.casefold():
            raise BadFile(
                f"{where}: {one} and {other} differ in case only, and on some disks they are one file: rename one"
            )
    return ids


def _twice(keys: NDArray[np.int64]) -> tuple[int, int] | None:
    """The first two rows of one key."""
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(np.diff(keys[order]) == 0)
    return (int(order[same[0]]), int(order[same[0] + 1])) if same.size else None
