"""Pictures in tar files: with a .cls beside each, as WebDataset writes them, or packed folders of classes."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.layouts.found import Codes, Found, Names, is_picture, stamp
from robustbench_ms.errors import BadFile

__all__ = ["TarFiles", "find_in_tars"]

_BLOCK = 512


@dataclass
class TarFiles:
    """Members of tar files, by where their bytes lie."""

    tars: tuple[Path, ...]
    names: Names
    at: NDArray[np.int64]
    """(n, 3): which tar, offset, size."""
    known: NDArray[np.int64]
    """(tars, 2): size and time of change of each, when its members were listed."""

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """The member's name."""
        return self.names[row]

    def read(self, row: int) -> bytes:
        """The member's bytes; BadFile where the tar is missing or has changed."""
        which, offset, size = map(int, self.at[row])
        path = self.tars[which]
        if stamp(path) != tuple(map(int, self.known[which])):
            raise BadFile(
                f"{path} changed since its pictures were listed; start again when nothing writes there"
            )
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise BadFile(f"{path} is cut short: {self.names[row]} is not whole")
        return data

    def stamps(self) -> NDArray[np.int64]:
        """(n, 2): the member's size, the tar's time of change (ns)."""
        return np.stack([self.at[:, 2], self.known[self.at[:, 0], 1]], axis=1)

    def take(self, rows: NDArray[np.int64]) -> TarFiles:
        """The members of these rows, in this order."""
        return TarFiles(self.tars, self.names.take(rows), self.at[rows], self.known)


@dataclass
class _Members:
    """What was found so far, and the sample that is being read."""

    names: Names = field(default_factory=Names)
    codes: Codes = field(default_factory=Codes)
    at: bytearray = field(default_factory=bytearray)
    labelled: int = 0
    other: int = 0
    key: str | None = None
    picture: tuple[str, int, int, int] | None = None
    word: str | None = None

    def close(self, tar: Path) -> None:
        """Keep the sample that was read."""
        if self.picture is not None:
            name, *where = self.picture
            self.names.append(name)
            self.codes.append(self.word)
            self.at += np.array(where, np.int64).tobytes()
            self.labelled += self.word is not None
        elif self.word is not None:
            raise BadFile(f"{tar}: {self.key}.cls is the label of no picture")
        self.key = self.picture = self.word = None


def find_in_tars(tars: Sequence[Path]) -> Found:
    """The pictures of tar files, the class index of each beside it as .cls; else their first folders are the classes.

    A picture and its .cls have one name up to the last dot, and follow each other. Members without a folder and
    without a .cls have no label. BadFile names a tar that is cut short, compressed, or lacks a label.
    """
    found = _Members()
    known = []
    for number, path in enumerate(tars):
        known.append(stamp(path))
        try:
            with tarfile.open(path, "r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # it would keep an object a member
                    if member.isfile():
                        _add(found, member, number, tar, path)
                found.close(path)
                end = tar.offset
        except (tarfile.TarError, EOFError) as error:
            raise BadFile(
                f"{path} is cut short, compressed or no tar file ({error}); a compressed one must be unpacked, as its "
                "pictures are read one by one"
            ) from error
        except OSError as error:
            raise BadFile(f"{path} cannot be read ({error.strerror})") from error
        with path.open("rb") as file:
            # Blocks of zeros end a tar; without any it may lack members, and nothing else would say so.
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise BadFile(f"{path} is cut short: the marks of its end are missing")
    if found.labelled not in {0, len(found.names)}:
        lacking = found.names[int(np.flatnonzero(found.codes.array() < 0)[0])]
        raise BadFile(f"{tars[0].parent}: {lacking} has no .cls beside it, and other pictures have one")
    codes = found.codes
    if not found.labelled and all("/" in name for name in found.names):
        codes = Codes()
        for name in found.names:
            codes.append(name.partition("/")[0])
    notes: tuple[str, ...] = ()
    if found.other:
        notes = (
            f"{tars[0].parent}: {found.other:,} members of tars were left out: neither pictures nor .cls",
        )
    at = np.frombuffer(bytes(found.at), np.int64).reshape(-1, 3)
    files = TarFiles(tuple(tars), found.names, at, np.array(known, np.int64).reshape(-1, 2))
    return Found(files, tuple(codes.words), codes.array(), numbered=found.labelled > 0, notes=notes)


def _add(found: _Members, member: tarfile.TarInfo, number: int, tar: tarfile.TarFile, path: Path) -> None:
    name = member.name.removeprefix("./")
    key, _, ending = name.rpartition(".")
    if name.rpartition("/")[2].startswith("."):  # hidden, as macOS writes some
        found.other += 1
        return
    if key != found.key:
        found.close(path)
        found.key = key
    if ending.lower() == "cls":
        data = tar.extractfile(member)
        word = "" if data is None else data.read().decode("ascii", "replace").strip()
        if not word.isdigit():
            raise BadFile(f"{path}: {name} must hold one class index, not {word[:20]!r}")
        found.word = str(int(word))
    elif is_picture(f".{ending}"):
        if found.picture is not None:
            raise BadFile(f"{path}: {found.picture[0]} and {name} are two pictures of one sample")
        found.picture = (name, number, member.offset_data, member.size)
    else:
        found.other += 1
