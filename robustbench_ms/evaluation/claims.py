"""Claims: who measures which cell, among all processes on one cache. They only save work.

Each cell has a byte of one file, found by its digest, and who holds that byte's lock is at it. The kernel frees the
locks of a process that dies, however it dies. Two cells that share a byte are never measured at once: a loss of time,
once in 10^18. Where the platform or the disk has no locks there are no claims, and everyone measures what is missing.
"""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ["Claims"]

_HELD_ELSEWHERE = {errno.EACCES, errno.EAGAIN}


@dataclass
class _File:
    """One open file of claims. Closing any descriptor of it would free all of this process's locks on it."""

    descriptor: int
    held: set[int] = field(default_factory=set)
    """The bytes that this process holds: its own locks do not exclude it."""


_files: dict[tuple[int, int], _File] = {}
"""By device and inode, as two paths may lead to one file."""


def _forget() -> None:
    """After a fork: the locks are the parent's, and so is the right to close."""
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Claims:
    """The claims on the cells of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".claims"
        self.note: str | None = None
        """Why there are no claims, for people; None where there are."""
        if self._open() is None:
            self.note = f"{folder} has no locks: another run at the same time may measure the same cells"

    def claim(self, *what: str) -> bool:
        """Whether what is named is now this caller's; True for everyone where there are no locks."""
        file = self._open()
        at = _byte(what)
        if file is None:
            return True
        if at in file.held:
            return False
        try:
            fcntl.lockf(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except OSError as error:
            if error.errno in _HELD_ELSEWHERE:
                return False
            raise
        file.held.add(at)
        return True

    def release(self, *what: str) -> None:
        """It is no longer."""
        file = self._open()
        at = _byte(what)
        if file is not None and at in file.held:
            file.held.discard(at)
            fcntl.lockf(file.descriptor, fcntl.LOCK_UN, 1, at)

    def _open(self) -> _File | None:
        """The file, opened once a process; None where there are no locks."""
        if fcntl is None or self.note is not None:
            return None
        try:
            found = self._path.stat()
            file = _files.get((found.st_dev, found.st_ino))
            if file is not None:
                return file
        except FileNotFoundError:
            pass
        except OSError:
            return None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return None
        try:
            # No digest names this byte.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 16**15)
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, 16**15)
        except OSError as error:
            if error.errno not in _HELD_ELSEWHERE:
                os.close(descriptor)
                return None
        opened = os.fstat(descriptor)
        return _files.setdefault((opened.st_dev, opened.st_ino), _File(descriptor))


def _byte(what: tuple[str, ...]) -> int:
    return int(hashlib.sha256("\0".join(what).encode()).hexdigest()[:15], 16)
