"""Pictures as files in folders: a folder a class, or all in one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.layouts.found import Codes, Found, Names, is_picture, read_whole, stamp
from robustbench_ms.errors import BadFile

__all__ = ["FolderFiles", "find_in_folders"]


@dataclass
class FolderFiles:
    """Files by their names relative to a folder."""

    root: Path
    names: Names
    _stamps: NDArray[np.int64] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """Relative to the folder, with slashes."""
        return self.names[row]

    def path(self, row: int) -> Path:
        """Where it lies."""
        return self.root / self.names[row]

    def read(self, row: int) -> bytes:
        """The file's bytes; BadFile where it is missing, or another than when it was stamped."""
        before = None if self._stamps is None else (int(self._stamps[row, 0]), int(self._stamps[row, 1]))
        return read_whole(self.path(row), before)

    def stamps(self) -> NDArray[np.int64]:
        """(n, 2) size and time of change (ns), asked of the disk once."""
        if self._stamps is None:
            found = np.empty((len(self), 2), np.int64)
            for row in range(len(self)):
                found[row] = stamp(self.path(row))
            self._stamps = found
        return self._stamps

    def take(self, rows: NDArray[np.int64]) -> FolderFiles:
        """The files of these rows, in this order."""
        return FolderFiles(self.root, self.names.take(rows))


@dataclass
class _Walk:
    """What is counted on the way."""

    root: Path
    real: str = field(init=False)
    outside: int = 0
    other: int = 0

    def __post_init__(self) -> None:
        self.real = os.path.realpath(self.root)

    def follow(self, entry: os.DirEntry[str]) -> str:
        """Where a link leads; BadFile where that is nothing."""
        real = os.path.realpath(entry.path)
        if not os.path.exists(real):  # noqa: PTH110 - a string, of which there may be a million
            raise BadFile(f"{entry.path} is a link to nothing, or to itself")
        self.outside += not real.startswith(self.real + os.sep)
        return real


def find_in_folders(root: Path) -> Found:
    """Pictures in `root`'s folders, each folder a class; or in `root` itself, without labels.

    Folders of classes may have folders. Links are followed; a note counts those that leave `root`, and another the
    files whose ending is no picture's, which are left out as hidden ones are. BadFile names a folder that cannot be
    read or a link that goes round in a circle.
    """
    names, codes, walk = Names(), Codes(), _Walk(root)
    beside, folders = 0, []
    for entry, within in _entries(root, walk):
        if within is not None:
            folders.append((entry.name, within))
        elif is_picture(entry.name):
            names.append(entry.name)
            codes.append(None)
            beside += 1
        else:
            walk.other += 1
    for name, within in sorted(folders):
        codes.words.setdefault(name, len(codes.words))
        for inner in _below(root / name, within, name, walk):
            names.append(inner)
            codes.append(name)
    if beside and beside < len(names):
        raise BadFile(
            f"{root} has pictures beside folders of pictures, such as {names[0]} and {names[beside]}: are these "
            "classes or not? Move either"
        )
    notes = []
    if walk.outside:
        notes.append(f"{root}: {walk.outside:,} links lead out of the folder, and were followed")
    if walk.other:
        notes.append(f"{root}: {walk.other:,} files were left out, as they do not end as pictures do")
    words = () if beside else tuple(codes.words)
    return Found(FolderFiles(root, names), words, codes.array(), notes=tuple(notes))


def _below(folder: Path, real: str, prefix: str, walk: _Walk, above: tuple[str, ...] = ()) -> Iterator[str]:
    """The pictures' names in a folder and its folders, relative to the root."""
    if real in above or real == walk.real:
        raise BadFile(f"{folder} leads back to {real}: links that go round in a circle")
    inner = []
    for entry, within in _entries(folder, walk):
        if within is not None:
            inner.append((entry.name, within))
        elif is_picture(entry.name):
            yield f"{prefix}/{entry.name}"
        else:
            walk.other += 1
    for name, within in sorted(inner):
        yield from _below(folder / name, within, f"{prefix}/{name}", walk, (*above, real))


def _entries(folder: Path, walk: _Walk) -> Iterator[tuple[os.DirEntry[str], str | None]]:
    """What is not hidden in a folder, and of folders where they really are."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                real = walk.follow(entry) if entry.is_symlink() else None
                if entry.is_dir():
                    yield entry, real or os.path.realpath(entry.path)
                else:
                    yield entry, None
    except NotADirectoryError:
        raise BadFile(f"{folder} is no folder") from None
    except FileNotFoundError:
        raise BadFile(f"{folder} is missing") from None
    except OSError as error:
        raise BadFile(f"{folder} cannot be read ({error.strerror})") from error
