"""Who measures which cell now: locks on single bytes of one file, which the kernel frees when their process dies.

Claims only save work: two that measure one cell write equal values. The file is `.claims` beside the cells; it stays
empty, nobody reads it and no sweep takes it. A cell's byte is given by its protocol and its subject, a record's by its
resolved path.

The locks are POSIX's (`lockf`), which hold between hosts on a shared disk too. They know two traps. They do not exclude
within a process: a set does. And closing any descriptor of a file drops all locks that the process has on it: so the
file is opened once a process, is known by device and inode, as two paths may lead to it, and stays open.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robustbench_ms.files import fcntl

__all__ = ["Claims"]

_TAKEN = {errno.EACCES, errno.EAGAIN}
_CLOSED = -1
_NOBODYS = 16**15
"""A byte that no digest names, to see whether there are locks."""
_PAUSE = 0.01
"""Seconds until a lock is asked for again that the kernel took for a deadlock."""


class _Open:
    """One `.claims`, open for as long as this process lives."""

    def __init__(self, file: int) -> None:
        self.file = file
        self.held: set[int] = set()
        """The bytes that this process has claimed."""
        self.free = threading.Condition()
        self.without: str | None = None
        """Why there are no locks on it."""

    def lock(self, at: int) -> bool:
        """Lock a byte without waiting: False where another process has it, True too where there are no locks."""
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            self.without = error.strerror
        return True

    def wait(self, at: int) -> None:
        """Lock a byte, however long another process has it."""
        while True:
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX, 1, at)
            except OSError as error:
                # The kernel knows processes and no threads: it may see a circle where there is none.
                if error.errno == errno.EDEADLK:
                    time.sleep(_PAUSE)
                    continue
                self.without = error.strerror
            return

    def unlock(self, at: int) -> None:
        if self.without is None:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, at)


_open: dict[tuple[int, int], _Open] = {}
"""By device and inode; never closed, so that an inode here is no other file's."""
_opening = threading.Lock()


def _forget() -> None:
    """In a forked child: its parent's locks are not its own. Closing here frees none of the parent's."""
    global _opening  # noqa: PLW0603 - another thread may have held it at the fork
    for known in _open.values():
        with suppress(OSError):
            os.close(known.file)
        known.file = _CLOSED
    _open.clear()
    _opening = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _byte(*words: str) -> int:
    """60 bits of what a lock is of."""
    return int(hashlib.sha256("\0".join(words).encode(errors="surrogateescape")).hexdigest()[:15], 16)


class Claims:
    """The claims on the cells of one folder, `cells/` of a cache."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".claims"
        self._mine: dict[int, _Open] = {}
        self._without: str | None = None
        self._known()

    @property
    def note(self) -> str | None:
        """One sentence where platform or disk have no locks; None where they have."""
        if self._without is None:
            return None
        return (
            f"there are no locks on {self._path} ({self._without}): two runs at once may measure a cell twice, "
            "with equal values"
        )

    def claim(self, *what: str) -> bool:
        """Claim what is named (a cell: its protocol and subject), without waiting: whether it is the caller's now.

        Who has it looks into the cache again, measures, writes and releases it. Where there are no locks only claims of
        this process exclude each other.
        """
        at, known = _byte(*what), self._known()
        if known is None:
            return True
        with known.free:
            if at in known.held or not known.lock(at):
                return False
            known.held.add(at)
        self._mine[at] = known
        return True

    def release(self, *what: str) -> None:
        """Give it back; nothing happens where it was not claimed here, or before a fork."""
        at = _byte(*what)
        known = self._mine.pop(at, None)
        if known is not None:
            _give_back(known, at)

    @contextmanager
    def holding(self, path: Path) -> Iterator[None]:
        """A record's place for one writer at a time, of the runs on this cache; waits for its turn."""
        at, known = _byte("record", str(path.resolve())), self._known()
        if known is None:
            yield
            return
        with known.free:
            known.free.wait_for(lambda: at not in known.held)
            known.held.add(at)
        try:
            known.wait(at)
            yield
        finally:
            _give_back(known, at)

    def _known(self) -> _Open | None:
        """The open file; None where there is none that can be locked. Looked up anew, as the cache may be deleted."""
        if fcntl is None:
            self._without = "the platform has none"
            return None
        with _opening:
            try:
                # Not opened to see which file it is: closing it again would drop the locks on it.
                found = _open.get(_identity(self._path.stat()))
            except FileNotFoundError:
                found = None
            except OSError as error:
                self._without = error.strerror
                return None
            if found is None:
                try:
                    file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                except OSError as error:
                    self._without = error.strerror
                    return None
                found = _open.setdefault(_identity(os.fstat(file)), _Open(file))
                if found.lock(_NOBODYS):
                    found.unlock(_NOBODYS)
            self._without = found.without
            return found


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _give_back(known: _Open, at: int) -> None:
    if known.file == _CLOSED:  # a parent's; its condition may be held for ever here
        return
    with known.free:
        if at in known.held:
            known.unlock(at)
            known.held.discard(at)
            known.free.notify_all()
