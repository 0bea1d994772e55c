"""What picture files say of themselves, read once: their digests and sizes, remembered by path, size and time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.pictures import LYING, header_of
from robustbench_ms.datasets.protocol import Broken, Progress
from robustbench_ms.datasets.shapes import Rows
from robustbench_ms.errors import BadFile
from robustbench_ms.files import lock, replacing, sweep

if TYPE_CHECKING:
    from robustbench_ms.datasets.listing import Listing

__all__ = ["NAMED", "Known", "cores", "digested", "fault", "refused", "turn"]

NAMED = 20
"""Broken pictures that one sentence names."""
_CHUNK = 256
"""Files that are read between two looks at the clock."""
_SAVED = 30.0
"""Seconds after which what was read so far is remembered: a run that is killed goes on there."""


@dataclass(frozen=True)
class Known:
    """What a row's file says of itself, a row each."""

    sha256: NDArray[np.uint8]
    """(n, 32)."""
    facts: NDArray[np.int32]
    """(n, 3): height, width and EXIF's orientation, 1 to 8."""

    def sizes(self, *, exif: bool) -> NDArray[np.int64]:
        """(n, 2): height and width, as they are decoded."""
        sizes = self.facts[:, :2].astype(np.int64)
        if exif:
            lying = np.isin(self.facts[:, 2], LYING)
            sizes[lying] = sizes[lying, ::-1]
        return sizes


def cores() -> int:
    """Threads that decode: Pillow and SHA-256 let go of the interpreter."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digested(listing: Listing, rows: Rows, cache: Path) -> Generator[Progress, None, Known]:
    """What the files of some rows say of themselves; what is not remembered is read.

    BadFile names up to twenty that are no picture.
    """
    where = hashlib.sha256(str(listing.where.resolve()).encode()).hexdigest()[:32]
    note = cache / "digests" / f"photographs-{where}.npz"
    stamps = listing.files.stamps()[rows]
    keys = np.fromiter((_key(listing.files.name(int(row))) for row in rows), np.uint64, len(rows))
    told = Known(np.zeros((len(rows), 32), np.uint8), np.zeros((len(rows), 3), np.int32))
    left = _recall(note, keys, stamps, told)
    if not len(left):
        return told
    with turn(note, f"digests of {listing.where}") as waiting:
        yield from waiting
        left = _recall(note, keys, stamps, told)  # of who had the turn before
        yield from _read(listing, rows, left, told, lambda done: _remember(note, keys, stamps, told, done))
    return told


def _read(
    listing: Listing, rows: Rows, left: Rows, told: Known, keep: Callable[[Rows], None]
) -> Generator[Progress, None, None]:
    """Read the files of the places `left`, and remember them from time to time."""
    what = f"digesting the pictures of {listing.where}"
    total, saved = len(left), time.monotonic()
    good: list[int] = []
    broken: list[Broken] = []

    def one(place: int) -> Broken | None:
        row = int(rows[place])
        try:
            found = header_of(listing.files.read(row), listing.files.name(row))
        except BadFile as error:
            return fault(listing, row, error)
        told.sha256[place] = np.frombuffer(bytes.fromhex(found.sha256), np.uint8)
        told.facts[place] = found.height, found.width, found.orientation
        return None

    if total:
        yield Progress(what, 0, total)
    try:
        with ThreadPoolExecutor(cores(), "digesting") as pool:
            for start in range(0, total, _CHUNK):
                chunk = [int(place) for place in left[start : start + _CHUNK]]
                with warnings.catch_warnings():  # here, and not in each thread, which would undo another's
                    warnings.simplefilter("ignore")
                    for place, wrong in zip(chunk, pool.map(one, chunk), strict=True):
                        if wrong is None:
                            good.append(place)
                        else:
                            broken.append(wrong)
                if len(broken) >= NAMED:
                    break
                if time.monotonic() - saved > _SAVED:
                    keep(np.array(good, np.int64))
                    saved = time.monotonic()
                yield Progress(what, start + len(chunk), total)
    finally:
        keep(np.array(good, np.int64))
    if broken:
        raise refused(listing, broken)


def fault(listing: Listing, row: int, error: BadFile) -> Broken:
    """A row that cannot be decoded, as it is told."""
    name = listing.files.name(row)
    return int(listing.ids[row]), name, str(error).removeprefix(name).lstrip(": ")


def refused(listing: Listing, broken: list[Broken], looked: str = "") -> BadFile:
    """The error that names broken pictures, and what to put into a suite to go on without them."""
    named = broken[:NAMED]
    told = "; ".join(f"{name} {why}" for _, name, why in named)
    ids = ", ".join(str(i) for i, _, _ in named)
    count = "1 picture" if len(broken) == 1 else f"{len(broken)} pictures"
    count += " or more" if len(broken) >= NAMED else ""
    return BadFile(
        f"{listing.where}: {count} cannot be shown{looked}: {told}. Mend what is broken, or leave it out of every "
        f"condition, in the suite with skip = [{ids}]"
    )


class turn:  # noqa: N801 - reads as a verb where it is used
    """One process at a time makes `path`; the steps of waiting for it, and no lock where there can be none."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what, self._file = path, what, -1
        self.held = False
        """Whether it is this process's turn for certain."""

    def __enter__(self) -> Generator[Progress, None, None]:
        """The waiting, a step where there is some."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(
                self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666
            )
        return self._wait()

    def _wait(self) -> Generator[Progress, None, None]:
        told = False
        while self._file >= 0 and (free := lock(self._file)) is not None:
            if free:
                self.held = True
                return
            if not told:
                yield Progress(f"waiting for another process: {self._what}")
            told = True
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)


def _key(name: str) -> int:
    # Of 64 bits: names that share them would share size and time as well before one is taken for the other.
    return int.from_bytes(
        hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little"
    )


def _recall(note: Path, keys: NDArray[np.uint64], stamps: NDArray[np.int64], told: Known) -> Rows:
    """Fill in what is remembered; the places that are not. A note that is damaged is only slower."""
    every: Rows = np.arange(len(keys))
    old = _noted(note)
    if old is None or not len(old["keys"]):
        return every
    at = np.minimum(np.searchsorted(old["keys"], keys), len(old["keys"]) - 1)
    same = (old["keys"][at] == keys) & (old["stamps"][at] == stamps).all(axis=1)
    told.sha256[same], told.facts[same] = old["sha256"][at[same]], old["facts"][at[same]]
    left: Rows = every[~same]
    return left


def _noted(note: Path) -> dict[str, NDArray[Any]] | None:
    try:
        with note.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = {name: file[name] for name in ("keys", "stamps", "sha256", "facts")}
    except Exception:  # noqa: BLE001 - a damaged archive raises half a dozen kinds
        return None
    whole = {"keys": (), "stamps": (2,), "sha256": (32,), "facts": (3,)}
    n = len(found["keys"])
    return found if all(found[name].shape == (n, *rest) for name, rest in whole.items()) else None


def _remember(
    note: Path, keys: NDArray[np.uint64], stamps: NDArray[np.int64], told: Known, read: Rows
) -> None:
    """Add the places `read` to the note; a cache that cannot be written is only slower."""
    if not len(read):
        return
    new: dict[str, NDArray[Any]] = {
        "keys": keys[read],
        "stamps": stamps[read],
        "sha256": told.sha256[read],
        "facts": told.facts[read],
    }
    old = _noted(note)
    if old is not None:
        others = ~np.isin(old["keys"], new["keys"])
        new = {name: np.concatenate([old[name][others], values]) for name, values in new.items()}
    order = np.argsort(new["keys"], kind="stable")
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        sweep(note.parent)
        with replacing(note) as part, part.open("wb") as file:
            columns: dict[str, Any] = {name: values[order] for name, values in new.items()}
            np.savez(file, **columns)
