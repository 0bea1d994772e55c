"""What a layout finds: pictures by name, with a word each for what is in them. No Python object an entry is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.listing import Files
from robustbench_ms.errors import BadFile

__all__ = ["ENDINGS", "Codes", "Found", "Movable", "Names", "is_picture", "read_whole", "stamp"]

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""What the names of pictures end in, in whatever case: torchvision's list."""


class Movable(Files, Protocol):
    """Files that can be put in another order, or of which some are left out."""

    def take(self, rows: NDArray[np.int64]) -> Movable:
        """The files of these rows, in this order."""


@dataclass(frozen=True)
class Found:
    """Pictures as a layout finds them, in its own order."""

    files: Movable
    words: tuple[str, ...]
    """The different labels as they are spelled: names of folders, numbers; those without a picture too."""
    codes: NDArray[np.int32]
    """(n,): the place of each picture's label in `words`; -1 where the layout says none."""
    numbered: bool = False
    """The words are class indices, whatever they are."""
    classes: tuple[str, ...] = ()
    """What the layout says that its numbers are called; () where it does not."""
    notes: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.int64]) -> Found:
        """The pictures of these rows, in this order."""
        return replace(self, files=self.files.take(rows), codes=self.codes[rows])


class Names:
    """Strings in one run of bytes: some 20 bytes each beside their own letters."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._starts: Any = np.zeros(1024, np.int64)
        self._lengths: Any = np.zeros(1024, np.int32)
        self._count = 0

    def append(self, name: str) -> None:
        """Add one; bytes of a name that are no UTF-8 stay as they are."""
        if self._count == len(self._starts):
            more = self._count // 2
            self._starts = np.concatenate([self._starts, np.zeros(more, np.int64)])
            self._lengths = np.concatenate([self._lengths, np.zeros(more, np.int32)])
        text = name.encode("utf-8", "surrogateescape")
        self._starts[self._count], self._lengths[self._count] = len(self._text), len(text)
        self._text += text
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> str:
        if not 0 <= row < self._count:
            raise IndexError(row)
        start = int(self._starts[row])
        return self._text[start : start + int(self._lengths[row])].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(self._count))

    def take(self, rows: NDArray[np.int64]) -> Names:
        """The strings of these rows, in this order; the letters are shared."""
        taken = Names()
        taken._text, taken._count = self._text, len(rows)
        taken._starts, taken._lengths = self._starts[rows], self._lengths[rows]
        return taken


class Codes:
    """Words by number, a number an entry: for labels, of which there are few different ones."""

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self._codes = bytearray()

    def append(self, word: str | None) -> None:
        """Add an entry; None has no word."""
        code = -1 if word is None else self.words.setdefault(word, len(self.words))
        self._codes += code.to_bytes(4, "little", signed=True)

    def array(self) -> NDArray[np.int32]:
        """(n,), -1 where there is no word."""
        return np.frombuffer(self._codes, dtype="<i4").astype(np.int32)


def is_picture(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return name.lower().endswith(ENDINGS)


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of change (ns) of a file; BadFile names one that is missing or cannot be asked."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        raise BadFile(f"{path} is missing") from None
    except OSError as error:
        raise BadFile(f"{path} cannot be read ({error.strerror})") from error
    return stat.st_size, stat.st_mtime_ns


def read_whole(path: Path, before: tuple[int, int] | None = None) -> bytes:
    """A file's bytes; BadFile where it changes while it is read, or is another than `before`, see `stamp`."""
    first = stamp(path) if before is None else before
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadFile(f"{path} is missing") from None
    except OSError as error:
        raise BadFile(f"{path} cannot be read ({error.strerror})") from error
    if stamp(path) != first or len(data) != first[0]:
        raise BadFile(f"{path} changed while it was read; start again when nothing writes there")
    return data
