"""A worker on a cache that many hosts see: it is started in a job of its own, and meets the others in files alone.

In the folder of the run, `<cache>/runs/slurm-<token>`: `order` (what it is sent), `sent/` (weights), `locks` (whether
locks hold between hosts), `workers/<number>-<attempt>.hello` and `.ended`, `events/<number>-<attempt>`, beside what
`SharedStore` keeps there.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.events import BatchDone, Event
from robustbench_ms.evaluation.executors.sending import SentFile, here, opened, placed, places_here, unpacked
from robustbench_ms.evaluation.store import SharedStore
from robustbench_ms.evaluation.work import work
from robustbench_ms.files import replacing

__all__ = ["FOLDERS", "ClusterStore", "Tail", "noted", "read_note", "serve"]

FOLDERS = ("pins", "data", "failures", "begun", "events", "workers", "sent", "jobs")
"""Of a run."""
PARENT = "parent"
"""What the parent claims under the run's token for as long as it lives."""
_FLUSH = 0.5
"""Seconds for which the events of batches gather."""


class ClusterStore(SharedStore):
    """The store of one worker of several hosts.

    Where locks do not hold between these there are no marks either: nobody could say whose they are. A model that was
    pinned is probed by all workers at once; one that kills them there is not stopped by name, as the parent starts a
    worker three times at most.
    """

    def __init__(self, folder: Path, claims: Claims, run: Path, *, locks: bool) -> None:
        super().__init__(folder, claims, run)
        self._locks = locks
        self._probing: set[tuple[str, str]] = set()

    def begin_probe(self, card: str, stage: str) -> int | None:
        if not self._locks or self.pinned(card) is not None:
            return 0
        deaths = super().begin_probe(card, stage)
        if deaths is not None:
            self._probing.add((card, stage))
        return deaths

    def end_probe(self, card: str, stage: str) -> None:
        if (card, stage) in self._probing:
            self._probing.discard((card, stage))
            super().end_probe(card, stage)

    def withdraw(self) -> None:
        """This worker is about to be ended from outside: nothing that it was at is to blame."""
        self.release()
        for card, stage in list(self._probing):
            self.end_probe(card, stage)

    def _deaths(self, what: str) -> int:
        return super()._deaths(what) if self._locks else 0

    def _begin(self, what: str) -> None:
        if self._locks:
            super()._begin(what)

    def _end(self, what: str) -> None:
        if self._locks:
            super()._end(what)


def serve(run: str, number: int, attempt: int, workers: int) -> None:
    """The life of worker `number` of `workers`; called by submitit in a process of its own."""
    folder = Path(run)
    name = f"{number}-{attempt}"
    cache = folder.parent.parent
    claims = Claims(cache / "cells")
    locks = read_note(folder / "locks")
    if locks is None:  # the first worker, which finds it out: the parent holds this byte
        locks = claims.note is None and not claims.claim(folder.name, PARENT)
        claims.release(folder.name, PARENT)
    noted(folder / "workers" / f"{name}.hello", {"host": here(), "pid": os.getpid(), "locks": locks})
    store = ClusterStore(cache / "cells", claims, folder, locks=bool(locks))
    signal.signal(signal.SIGUSR2, lambda *_: _give_up(store))  # Slurm's, some time before the job's limit
    end: dict[str, Any] = {}
    try:
        order = unpacked((folder / "order").read_bytes())
        shown = opened(order, places_here(order.places, cache=cache))
        cards = placed(order, folder / "sent", _missing)
        start, first = number * len(order.jobs) // workers, number % len(cards)
        jobs = [*order.jobs[start:], *order.jobs[:start]]
        with (folder / "events" / name).open("ab") as file:
            told = time.monotonic()
            for event in work(shown, [*cards[first:], *cards[:first]], jobs, store, order.settings):
                _tell(file, event)
                if not isinstance(event, BatchDone) or time.monotonic() - told > _FLUSH:
                    file.flush()
                    told = time.monotonic()
    except UserError as error:
        end["refused"] = str(error)
    except DeviceLost:
        os.kill(os.getpid(), signal.SIGKILL)  # with its marks left as they are: the parent has another start
    noted(folder / "workers" / f"{name}.ended", {"host": here(), **end})


def _give_up(store: ClusterStore) -> None:
    # No exception: it would be raised within a model, and blamed on it.
    store.withdraw()
    os.kill(os.getpid(), signal.SIGKILL)


def _missing(file: SentFile) -> bytes:
    raise UserError(f"{file.name} is not in the folder of the run, or came damaged")


def noted(path: Path, value: Any) -> None:
    """Write a small fact, whole."""
    with replacing(path) as part:
        part.write_text(json.dumps(value), encoding="utf-8")


def read_note(path: Path) -> Any:
    """Such a fact; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _tell(file: IO[bytes], event: Event) -> None:
    said = pickle.dumps(event)
    file.write(len(said).to_bytes(4, "little") + said)


class Tail:
    """The events that workers have written, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def new(self) -> Iterator[Event]:
        """Those since the last look; what is half-written comes with the next one."""
        for path in sorted(self._folder.iterdir()):
            with path.open("rb") as file:
                file.seek(self._read.get(path.name, 0))
                text = file.read()
            at = 0
            while (start := at + 4) <= len(text):
                end = start + int.from_bytes(text[at:start], "little")
                if end > len(text):
                    break
                yield pickle.loads(text[start:end])  # noqa: S301 - made by our own workers
                at = end
                self._read[path.name] = self._read.get(path.name, 0) + (end - start + 4)
