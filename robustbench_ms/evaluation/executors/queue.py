"""A queue of jobs that the parent of many workers keeps, and what each of them asks it instead of a cache.

No disk and no lock need be shared: pins, failures and deaths are the parent's own, and finished cells come home to its
cache. A cell is handed to one worker at a time; what a dead one had not finished is handed out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from robustbench_ms.evaluation.cells import FinishedCell
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.jobs import Job
from robustbench_ms.evaluation.store import DIED, CacheStore, Claimed, Report
from robustbench_ms.files import replacing
from robustbench_ms.specs.conditions import key

__all__ = ["Queue", "QueueStore", "Turn"]


class Turn(Enum):
    """What a worker is told that asks for a job and gets none."""

    WAIT = "others are at what is left, and may die at it"
    END = "nothing is left that it could answer"


@dataclass
class _Entry:
    """A job, and the cards whose cells nobody was handed."""

    job: Job
    free: set[str]


class Queue:
    """The jobs of a run and who has them; only the parent's loop touches it."""

    def __init__(self, run: Run) -> None:
        self.store = CacheStore(run.cells, run.claims)
        """What ends as the run's: its pins and failures."""
        self.deaths: dict[str, int] = {}
        """{what was begun: how many workers died at it}."""
        self._entries = {key(job.condition): _Entry(job, set(job.cards)) for job in run.jobs}
        self._order = dict.fromkeys(self._entries)
        """Those of which something is free, in turn."""
        self._handed: dict[tuple[str, str], QueueStore] = {}
        self.stirred = False
        """Who waits may have something to do, or to wait for, no longer."""

    def take(self, worker: QueueStore) -> Job | Turn:
        """The next job of which a worker can answer something."""
        failed = self.store.failures
        for name in list(self._order):
            entry = self._entries[name]
            entry.free -= failed.keys()
            if not entry.free:
                del self._order[name]
                continue
            if name in worker.apart:
                continue
            cards = tuple(card for card in entry.job.cards if card in entry.free & worker.answers)
            if cards:
                entry.free -= set(cards)
                self._handed |= {(name, card): worker for card in cards}
                return replace(entry.job, cards=cards)
        others = [
            cell for cell, owner in self._handed.items() if owner is not worker and cell[1] not in failed
        ]
        own = len(others) < sum(card not in failed for _, card in self._handed)
        # Its own that are left are those that another run is at: it looks at them again when its queue has ended.
        return Turn.WAIT if others and not own else Turn.END

    def done(self, name: str, card: str) -> None:
        """A cell is in the cache."""
        self._handed.pop((name, card), None)
        self.stirred |= not self._handed

    def give_back(self, worker: QueueStore, name: str | None = None) -> None:
        """What a worker was handed of a condition, or of all, and has not finished is free again."""
        self.stirred = True
        for cell in [
            cell for cell, owner in self._handed.items() if owner is worker and name in {None, cell[0]}
        ]:
            del self._handed[cell]
            self._entries[cell[0]].free.add(cell[1])
        # The suite's order, so that what comes back is not the last.
        self._order = dict.fromkeys(known for known, entry in self._entries.items() if entry.free)

    def left(self) -> dict[str, int]:
        """{card: how many of its cells nobody has finished}, stopped ones left out."""
        cells = [(name, card) for name, entry in self._entries.items() for card in entry.free] + [
            *self._handed
        ]
        found = dict.fromkeys((card for _, card in sorted(cells) if card not in self.store.failures), 0)
        for _, card in cells:
            if card in found:
                found[card] += 1
        return found


class QueueStore(CacheStore):
    """The store of one worker, which lives in the parent."""

    def __init__(self, queue: Queue) -> None:
        shared = queue.store
        super().__init__(
            shared.folder, shared.claims, shared.pins, shared.data, shared.failures, shared.spoils
        )
        self._queue = queue
        self.answers: set[str] = set()
        """The cards that it answers as they are pinned."""
        self.apart: set[str] = set()
        """The conditions of which it has other data than the first worker."""
        self._cells: dict[tuple[str, str], tuple[str, str]] = {}
        """{(protocol, subject): (condition, card)}."""
        self._begun: set[str] = set()

    def take(self) -> Job | Turn:
        """Its next job."""
        return self._queue.take(self)

    def pin(self, card: str, report: Report) -> Report:
        holds = super().pin(card, report)
        if holds.subject == report.subject:
            self.answers.add(card)
        return holds

    def pin_data(self, what: str, digest: str) -> str:
        holds = super().pin_data(what, digest)
        if holds != digest:
            self.apart.add(what)
            self._queue.give_back(self, what)
        return holds

    def claim(self, protocol: str, wanted: Mapping[str, str], key: str) -> Claimed:
        claimed = super().claim(protocol, wanted, key)
        self._cells |= {(protocol, subject): (key, card) for card, subject in wanted.items()}
        for card in claimed.done:
            self._queue.done(key, card)
        return claimed

    def keep(self, protocol: str, subject: str, cell: FinishedCell) -> None:
        super().keep(protocol, subject, cell)
        self._queue.done(*self._cells[protocol, subject])

    def fail(self, card: str, key: str, message: str) -> None:
        super().fail(card, key, message)
        self._queue.stirred = True

    def spoil(self, protocol: str, subject: str, card: str, key: str, message: str) -> None:
        super().spoil(protocol, subject, card, key, message)
        self._queue.done(key, card)

    def lacks_truth(self, name: str) -> bool:
        """Whether the parent's cache has no such file of what is true of data."""
        return not (self.folder.parent / "truths" / name).exists()

    def keep_truth(self, name: str, content: bytes) -> None:
        """Such a file, as a worker wrote it."""
        path = self.folder.parent / "truths" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(content)

    def begin_probe(self, card: str, stage: str) -> int | None:
        deaths = self._deaths(f"{stage} {card}")
        if deaths > 1:
            self.fail(card, stage, DIED)
        self._begin(f"{stage} {card}")
        return deaths

    def end_probe(self, card: str, stage: str) -> None:
        self._end(f"{stage} {card}")

    def died(self) -> None:
        """Its worker is dead: what it had begun is counted, and what it had is free again."""
        for what in self._begun:
            self._queue.deaths[what] = self._deaths(what) + 1
        self.withdraw()

    def withdraw(self) -> None:
        """Its worker has ended."""
        self.release(lost=True)
        self._queue.give_back(self)

    # The parent outlives its workers and sees them die: marks need no file, and a probe no turn.

    def _deaths(self, what: str) -> int:
        return self._queue.deaths.get(what, 0)

    def _begin(self, what: str) -> None:
        self._begun.add(what)

    def _end(self, what: str) -> None:
        self._begun.discard(what)
        self._queue.deaths.pop(what, None)
