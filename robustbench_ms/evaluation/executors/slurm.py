"""Slurm, through submitit: each worker a job of its own, the cache between them in a folder that all hosts see.

The parent submits, waits, tells the workers' events as one run's, submits the dead again (twice), and ends with the
store that they met in. Killed and started again it finds the folder of the run by a digest of suite, models and
settings, and the jobs that are still in the queue by name.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.cells import cell_path
from robustbench_ms.evaluation.events import Event, Note
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.executors.sending import Order, packed, placed, travelling
from robustbench_ms.evaluation.executors.serving import FOLDERS, PARENT, ClusterStore, Tail, noted, read_note
from robustbench_ms.evaluation.executors.several import Merged, stopped
from robustbench_ms.evaluation.executors.submitting import Jobs
from robustbench_ms.evaluation.store import CacheStore
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import key
from robustbench_ms.specs.engines import Engine
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite

__all__ = ["execute", "script"]

PAUSE = 0.3
"""Seconds between two looks at the folder of the run."""
GRACE = 10.0
"""Seconds for which a job has ended before its worker counts as dead: its last file may be seen late."""
ASKED = 10.0
"""Seconds between two looks for cells that are left, once a worker has ended."""
AGAIN = 2
"""How often a worker that died is submitted again."""


@dataclass
class _Worker:
    """A worker, and the job that it is now."""

    number: int
    attempt: int
    job: Any
    over: bool = False
    """It has ended, or is given up."""
    since: float | None = None
    """When its job was first seen to have ended without a word."""

    @property
    def name(self) -> str:
        return f"{self.number}-{self.attempt}"


def execute(run: Run) -> Generator[Event, None, CacheStore]:
    """Have the workers submitted, and wait for them."""
    engine = run.settings.engine or Engine("slurm")
    places, settings = run.shown.places, _of_a_worker(run.settings, engine)
    order, sent = packed(run, settings)
    folder = _folder(order.suite, run.cards, settings, places)
    if not run.claims.claim(folder.name, PARENT):
        raise UserError(
            "another run of this suite and these models waits for its workers; wait for it, or end it"
        )
    try:
        jobs = Jobs(engine, folder, engine.workers or 1)
        found = jobs.queued() if folder.is_dir() else {}
        if found:
            yield Note(f"{len(found)} workers of an earlier run are still there; this run goes on with them")
        else:
            shutil.rmtree(folder, ignore_errors=True)  # of a run whose workers are gone
            _make(folder, order, sent)
        return (yield from _Parent(run, folder, jobs, found).wait())
    finally:
        run.claims.release(folder.name, PARENT)


def script(suite: Suite, cards: Sequence[Card], places: Places, settings: Settings) -> str:
    """The sbatch script of the first worker; nothing is submitted or written."""
    engine = settings.engine or Engine("slurm")
    folder = _folder(suite, cards, _of_a_worker(settings, engine), places)
    return Jobs(engine, folder, engine.workers or 1).script(0, 0)


def _of_a_worker(settings: Settings, engine: Engine) -> Settings:
    """What each worker is told: None as a device takes the GPU of its job where there is one."""
    threads = settings.threads or engine.cpus
    return replace(settings, threads=threads, workers=None, executor=None, on=None)


def _folder(suite: Suite, cards: Sequence[Card], settings: Settings, places: Places) -> Path:
    """The folder of the run, named for what is asked of whom and how."""
    sent = [travelling(card, places) for given in cards for card in given.replicates()]
    told = [(card, [(file.name, file.sha256) for file in files]) for card, files in sent]
    digest = hashlib.sha256(repr((suite, told, settings)).encode()).hexdigest()
    return places.cache / "runs" / f"slurm-{digest[:12]}"


def _make(folder: Path, order: Order, sent: bytes) -> None:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    placed(order, folder / "sent", lambda file: file.path.read_bytes())
    with replacing(folder / "order") as part:
        part.write_bytes(sent)


class _Parent:
    """The parent's side of a run."""

    def __init__(self, run: Run, folder: Path, jobs: Jobs, found: Mapping[int, tuple[int, Any]]) -> None:
        self.run, self.folder, self.jobs = run, folder, jobs
        self.workers = [_Worker(number, attempt, job) for number, (attempt, job) in found.items()]
        self.deaths = dict.fromkeys(range(jobs.count), 0)
        self.merged, self.tail = Merged(), Tail(folder / "events")
        self.told: set[str] = set()
        self.refusals: dict[str, str] = {}
        self.ended = False
        """A worker has come to an end of its jobs."""

    def wait(self) -> Generator[Event, None, CacheStore]:
        """Until nothing is left, or no worker."""
        if read_note(self.folder / "locks") is None:
            yield from self._first()
        locks = bool(read_note(self.folder / "locks"))
        store = ClusterStore(self.run.cells, self.run.claims, self.folder, locks=locks)
        known = {worker.number for worker in self.workers}
        for number in range(self.jobs.count):
            if number not in known:
                self._resume(number)
        looked = time.monotonic()
        while any(not worker.over for worker in self.workers):
            time.sleep(max(PAUSE, self.jobs.count / 100))  # each look touches some files a worker
            yield from self._events(store)
            for worker in [worker for worker in self.workers if not worker.over]:
                yield from self._look(worker)
            if self.ended and time.monotonic() - looked > ASKED:
                looked = time.monotonic()
                if not self._left(store):
                    break
        yield from self._events(store)
        for worker in self.workers:
            self._cancel(worker)  # it may wait in the queue for what others have finished
        left = self._left(store)
        if left and self.refusals:
            raise UserError(
                "no worker is left: " + "; ".join(f"{who}: {why}" for why, who in self.refusals.items())
            )
        for card, count in left.items():
            yield Note(
                f"model {card}: {count} of its cells were not measured by any worker; run again for them"
            )
        return store

    def _first(self) -> Iterator[Event]:
        """Submit one worker alone, and hear from it whether it sees the folder, and locks hold between hosts."""
        if not self.workers:
            self._submit(0, 0)
        worker = self.workers[0]
        hello = self.folder / "workers" / f"{worker.name}.hello"
        yield Note(f"waiting for the first worker ({self.jobs.described(worker.job)})")
        while (said := read_note(hello)) is None:
            if self._is_dead(worker):
                raise UserError(
                    f"the first worker ended and left no word in {self.folder}: the cache must be a folder that both "
                    f"ends see (--cache), with Python and this package there; its log is in {self.folder / 'jobs'}"
                )
            time.sleep(PAUSE)
        if not said["locks"]:
            yield Note(
                f"locks on {self.run.cells} do not hold between this host and {said['host']}: there are no claims, "
                "and two workers may measure a cell twice, with equal values"
            )
        noted(self.folder / "locks", said["locks"])

    def _resume(self, number: int) -> None:
        """Submit a worker, unless it has ended under an earlier parent."""
        said = [
            int(path.stem.partition("-")[2]) for path in (self.folder / "workers").glob(f"{number}-*.hello")
        ]
        last = max(said, default=-1)
        if (self.folder / "workers" / f"{number}-{last}.ended").exists():
            self.workers.append(_Worker(number, last, None))
        else:
            self._submit(number, last + 1)

    def _submit(self, number: int, attempt: int) -> None:
        try:
            job = self.jobs.submit(number, attempt)
        except UserError:
            for worker in self.workers:
                self._cancel(worker)
            raise
        self.workers.append(_Worker(number, attempt, job))

    def _cancel(self, worker: _Worker) -> None:
        """Take its job back, where it has not ended."""
        if not worker.over:
            begun = read_note(self.folder / "workers" / f"{worker.name}.hello") or {}
            self.jobs.cancel(worker.job, begun.get("pid"))
        self.jobs.wait(worker.job)

    def _events(self, store: CacheStore) -> Iterator[Event]:
        for event in self.tail.new():
            yield from self.merged.new(event)
        yield from stopped(self.run.cards, store, self.told)

    def _look(self, worker: _Worker) -> Iterator[Event]:
        """Whether a worker has ended, and how."""
        ended = read_note(self.folder / "workers" / f"{worker.name}.ended")
        if ended is not None:
            worker.over = True
            if "refused" not in ended:
                self.ended = True
            elif ended["refused"] not in self.refusals:
                self.refusals[ended["refused"]] = f"worker {worker.number} on {ended['host']}"
                yield Note(f"worker {worker.number} on {ended['host']} measures nothing: {ended['refused']}")
        elif self._is_dead(worker):
            worker.over = True
            self.deaths[worker.number] = self.deaths.get(worker.number, 0) + 1
            if self.deaths[worker.number] > AGAIN:
                yield Note(f"worker {worker.number} died {AGAIN + 1} times, and is not submitted again")
                return
            yield Note(f"worker {worker.number} died; it is submitted again")
            self._submit(worker.number, worker.attempt + 1)

    def _is_dead(self, worker: _Worker) -> bool:
        """Whether its job has ended for a while; asked after its last word was looked for."""
        if not self.jobs.is_over(worker.job):
            return False
        worker.since = worker.since or time.monotonic()
        return time.monotonic() - worker.since > GRACE

    def _left(self, store: CacheStore) -> dict[str, int]:
        """{card: how many of its cells are not in the cache}, stopped ones left out."""
        found: dict[str, int] = {}
        for card in self.run.cards:
            if store.failed(card.name) is None:
                report = store.pinned(card.name)
                subject = "" if report is None else report.cells
                asked = [
                    self.run.shown.question(job.condition).protocol
                    for job in self.run.jobs
                    if store.spoilt(card.name, key(job.condition)) is None
                ]
                missing = sum(not cell_path(self.run.cells, protocol, subject).exists() for protocol in asked)
                if missing:
                    found[card.name] = missing
        return found
