"""Decoded canvases in one file, uint8 (n, 3, H, W) in NumPy's format, which all processes map into their memory."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.protocol import Progress
from robustbench_ms.datasets.remembered import cores, turn

__all__ = ["MARGIN", "kept", "mapped"]

MARGIN = 1.2
"""Times its size that must be free where a file of canvases is built."""
_CHUNK = 256
"""Pictures that are decoded between two writes."""

Make = Callable[[int], NDArray[np.uint8]]


def mapped(path: Path, shape: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
    """The file, where it is there and whole."""
    try:
        found: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="r")
    except Exception:  # noqa: BLE001 - absent, cut off or something else: it is built
        return None
    whole = len(_head(shape)) + found.nbytes == path.stat().st_size
    return found if whole and found.shape == shape and found.dtype == np.uint8 else None


def kept(
    path: Path, shape: tuple[int, int, int, int], make: Make
) -> Generator[Progress, None, NDArray[np.uint8] | None]:
    """The canvases (n, 3, H, W) in a file, which is built where it is not there; None where there is no room for it.

    It grows in `<name>.building`, in order: a build that was killed goes on after the last whole picture. What `make`
    raises for a picture ends the build and removes the file, as does a disk that runs full.
    """
    if (found := mapped(path, shape)) is not None:
        return found
    alone = turn(path, f"canvases in {path.parent}")
    with alone as waiting:
        yield from waiting
        if (found := mapped(path, shape)) is not None:
            return found
        if not alone.held:  # two that add to one file would mix their pictures
            yield Progress(f"{path.parent}: no file can be locked there; pictures are decoded each time")
            return None
        try:
            built = yield from _built(path, shape, make)
        except OSError as error:
            path.with_name(f"{path.name}.building").unlink(missing_ok=True)
            yield Progress(
                f"{path.parent}: canvases cannot be kept there ({error.strerror}); pictures are decoded each time"
            )
            return None
    return mapped(path, shape) if built else None


def _built(path: Path, shape: tuple[int, int, int, int], make: Make) -> Generator[Progress, None, bool]:
    n, each = shape[0], int(np.prod(shape[1:]))
    head = _head(shape)
    building = path.with_name(f"{path.name}.building")
    path.parent.mkdir(parents=True, exist_ok=True)
    with building.open("ab") as file:
        there = file.tell()
        done = max(0, there - len(head)) // each
        wanted, free = (n - done) * each, shutil.disk_usage(path.parent).free
        if free < MARGIN * wanted:
            building.unlink()
            yield Progress(
                f"{path.parent}: {wanted / 1e9:.1f} GB of canvases want {MARGIN * wanted / 1e9:.1f} GB free, and "
                f"{free / 1e9:.1f} GB are; pictures are decoded each time"
            )
            return False
        what = f"canvases of {n:,} pictures, {n * each / 1e9:.1f} GB in {path.parent}"
        yield Progress(what, done, n)
        whole = there >= len(head)
        file.truncate(len(head) + done * each if whole else 0)
        if not whole:
            file.write(head)
        try:
            for pictures in _drawn(make, range(done, n)):
                for picture in pictures:
                    file.write(picture.data)
                file.flush()
                done += len(pictures)
                yield Progress(what, done, n)
            os.fsync(file.fileno())  # before its name says that it is whole
        except OSError:
            raise
        except Exception:
            building.unlink()
            raise
    building.replace(path)
    return True


def _head(shape: tuple[int, int, int, int]) -> bytes:
    """The first bytes of the file."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return head.getvalue()


def _drawn(make: Make, rows: range) -> Iterator[list[NDArray[np.uint8]]]:
    """The pictures of rows in their order, decoded by all cores, a chunk ahead of who takes them."""
    with ThreadPoolExecutor(cores(), "decoding") as pool:
        ahead = None
        for start in range(0, len(rows), _CHUNK):
            submitted = [pool.submit(make, row) for row in rows[start : start + _CHUNK]]
            if ahead is not None:
                yield [one.result() for one in ahead]
            ahead = submitted
        if ahead is not None:
            yield [one.result() for one in ahead]
