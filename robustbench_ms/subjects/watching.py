"""A model that does not come back: named while it runs and, where a time is set for a batch, interrupted or ended.

One thread of the process looks at the one call that is under way. An interrupt reaches Python's own code, and calls of
C that the signal breaks (`time.sleep`, a read); what it does not reach ends with the process. C code that keeps
Python's lock keeps this thread from looking, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["ENDED", "WATCH", "TooLong", "Watch"]

LATE = 60.0
"""Seconds after which a batch is named."""
ENDED = " and could not be interrupted"
"""The end of a sentence on a model with which its process ended."""
LOST = 3
"""The exit code of a process that cannot go on."""
_SIGNAL = signal.SIGALRM
_LOG = logging.getLogger("robustbench_ms")
"""Of what must be said while the one who would say it waits."""


class TooLong(BaseException):
    """Raised within a model's code by a signal; no Exception, which a model may catch."""


@dataclass
class _Call:
    name: str
    what: str
    main: bool
    """It runs in the main thread, the only one that a signal interrupts."""
    begun: float = field(default_factory=time.monotonic)
    named: bool = False
    stopped: bool = False
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __str__(self) -> str:
        return f"model {self.name}: a batch of {self.what}"


class Watch:
    """What looks at calls. `limit` is the time that a batch may take in seconds, None for any."""

    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        self.limit: float | None = None
        self.failed: Callable[[str, str, str], object] = lambda *_: None
        """Told of a model before the process ends for it: its name, what it was asked, a sentence."""
        self._end = end
        self._call: _Call | None = None
        self._looking = False

    @contextlib.contextmanager
    def over(self, name: str, what: str) -> Iterator[None]:
        """Look at what the block does for a model. Raises TooLong within the block, in the main thread alone."""
        call = _Call(name, what, threading.current_thread() is threading.main_thread())

        def interrupt(*_: object) -> None:
            if not call.over:
                raise TooLong(self._told)

        before = signal.signal(_SIGNAL, interrupt) if call.main and self.limit is not None else None
        self._call = call
        if not self._looking:
            self._looking = True
            threading.Thread(target=self._look, name="rbms-watch", daemon=True).start()
        try:
            yield
        finally:
            try:
                with call.lock:  # an interrupt that is being sent comes before
                    call.over = True
            finally:
                call.over = True
                self._call = None
                if before is not None:
                    signal.signal(_SIGNAL, before)

    @property
    def _told(self) -> str:
        return f"it took longer than {self.limit:g} s for a batch (timeout)"

    def _look(self) -> None:
        while True:
            time.sleep(min(0.5, LATE / 4, (self.limit or LATE) / 4))
            call = self._call
            if call is not None:
                self._judge(call, time.monotonic() - call.begun)

    def _judge(self, call: _Call, taken: float) -> None:
        if taken > LATE and not call.named:
            call.named = True
            _LOG.warning("%s has taken %.0f s so far", call, taken)
        if self.limit is None or taken <= self.limit or call.over:
            return
        if not call.stopped:
            call.stopped = True
            self._interrupt(call)
        elif call.main and taken > 2 * self.limit:
            told = f"{self._told}{ENDED}"
            _LOG.error("%s: %s: the process ends; what was finished is kept", call, told)
            self.failed(call.name, call.what, told)
            self._end(LOST)

    def _interrupt(self, call: _Call) -> None:
        main = threading.main_thread().ident
        if not call.main or main is None:
            _LOG.warning("%s: %s; it runs in a thread, and is not stopped", call, self._told)
            return
        with call.lock:
            if not call.over:
                signal.pthread_kill(main, _SIGNAL)


WATCH = Watch()
"""The process's own."""
