"""Files that take their place whole: what is read is never half-written, and what a dead writer left is swept.

Only a file is replaced: of a symlink the file that it leads to, and a device or pipe is written to as it is.

What is half-written lies beside its place as `.<name>.<random token>.part`. Its writer holds a lock on it, which the
kernel frees when the process dies, whatever killed it; so a part file whose lock can be taken is nobody's.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["lock", "probe", "replacing", "sweep"]

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on a platform without locks."""
_PART = re.compile(r"\..*\.[0-9a-f]{16}\.part", re.DOTALL)
_DAY = 86_400.0
"""Seconds after which a part file is nobody's where no lock can say so."""
_own: set[Path] = set()
"""The part files of this process."""


def lock(file: int) -> bool | None:
    """Take the lock of an open file without waiting: whether it was free; None where there are no locks.

    flock and not lockf: the block that writes a part file opens and closes it again, and closing any descriptor of a
    file drops all lockf locks that the process has on it.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _make(path: Path) -> tuple[Path, int]:
    """A part file for `path`, made exclusively and locked, and its open descriptor; OSError where it cannot be."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        # A sweep that came between the two has the lock, or has removed the file: another is made.
        if lock(file) is not False and os.fstat(file).st_nlink > 0:
            _own.add(part)
            return part, file
        os.close(file)


def _descriptor(path: Path) -> int | None:
    """The number of an open file of this process that a path stands for: 1 of /dev/stdout, whatever it leads to."""
    for _ in range(10):
        path = Path(os.path.realpath(path.parent)) / path.name
        if found := re.fullmatch(rf"/proc/(?:self|{os.getpid()})/(?:task/\d+/)?fd/(\d+)", str(path)):
            return int(found[1])
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _is_stream(path: Path) -> bool:
    """Whether a device, pipe or socket stands there, which a file must not take the place of."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class replacing:  # noqa: N801 - reads as a verb where it is used
    """A path beside `path` that takes its place when the block ends well, and vanishes when it does not.

    Of a symlink beside the file that it leads to. Where `path` is a device or a pipe it is that path itself, and what a
    block that fails has written stays written. /dev/stdout and its like get what was written after what they have.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        """Return the path to write to, an empty file of this process alone; OSError where it cannot be made."""
        self._number = _descriptor(self._path)
        if self._number is not None:
            self._folder = tempfile.TemporaryDirectory()
            self._part = Path(self._folder.name) / "part"
            self._part.touch()
            return self._part
        self._stream = _is_stream(self._path)
        if self._stream:
            return self._path
        if self._path.is_symlink():
            self._path = Path(os.path.realpath(self._path))
        self._part, self._file = _make(self._path)
        return self._part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Rename, or remove what was half-written."""
        if self._number is not None:
            if kind is None:
                with os.fdopen(os.dup(self._number), "wb") as out:
                    out.write(self._part.read_bytes())
            self._folder.cleanup()
            return
        if self._stream:
            return
        try:
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)
            _own.discard(self._part)
            os.close(self._file)  # and with it the lock, when nothing of that name is left to sweep


def probe(folder: Path) -> None:
    """Write a small file in `folder` and remove it; OSError where that cannot be done."""
    part, file = _make(folder / "write")
    try:
        os.write(file, bytes(4096))  # a full disk still has room for a name
    finally:
        part.unlink(missing_ok=True)
        _own.discard(part)
        os.close(file)


def sweep(folder: Path) -> int:
    """Remove the part files in `folder` that dead writers left, and return how many there were.

    Those whose lock can be taken; where there are no locks, those older than a day. Never one of this process, and
    nothing that is no part file. What cannot be removed, or has gone meanwhile, is left alone.
    """
    swept = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            path = folder / entry.name
            if _PART.fullmatch(entry.name) and path not in _own:
                with contextlib.suppress(OSError):
                    swept += _removed(path)
    return swept


def _removed(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        free = lock(file)
        if free or (free is None and time.time() - os.fstat(file).st_mtime > _DAY):
            path.unlink()
            return True
    finally:
        os.close(file)
    return False
