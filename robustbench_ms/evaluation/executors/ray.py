"""Ray: an actor for each GPU of a cluster, or for each k CPU cores; jobs come from the parent's queue, cells go home.

Where they run is Ray's to say. It retries nothing: an actor that dies is followed by a new one, which probes anew, and
the parent hands its job out again. Only the parent calls; an actor says what it has to ask in what it returns, so that
nothing listens on the parent's side.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import Event, Note, Planned
from robustbench_ms.evaluation.executors.actor import Actor
from robustbench_ms.evaluation.executors.devices import compile_first
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.executors.queue import Queue, QueueStore, Turn
from robustbench_ms.evaluation.executors.sending import Order, packed
from robustbench_ms.evaluation.executors.several import Merged, stopped
from robustbench_ms.evaluation.store import CacheStore
from robustbench_ms.specs.engines import Engine
from robustbench_ms.specs.places import ray_address
from robustbench_ms.specs.settings import Settings

__all__ = ["execute"]

PATIENCE = 25.0
"""Seconds that a cluster has to answer."""
UNPLACED = 30.0
"""Seconds without a word from any worker after which the parent says what it waits for."""
STORE = 80 * 2**20
"""Bytes of a local Ray's object store, beside what the weights take."""


@dataclass(eq=False)
class _Worker:
    """An actor, and what stands for it here."""

    number: int
    actor: Any
    store: QueueStore
    name: str
    ready: bool = False


def execute(run: Run) -> Generator[Event, None, CacheStore]:
    """Start the actors, answer what they ask, and put another in the place of each that dies."""
    ray = _imported()
    with _quietly(run.shown.places.cache / "ray.log"):
        ours = not ray.is_initialized()
        order, sent = packed(run, replace(run.settings, workers=None, executor=None, on=None))
        if ours:
            _connect(
                ray, run.settings, sum(f.path.stat().st_size for files in order.files.values() for f in files)
            )
        parent = None
        try:
            parent = _Parent(ray, run, order, sent)
            return (yield from parent.serve())
        finally:
            if parent is not None:
                parent.close()
            if ours:
                ray.shutdown()


class _Parent:
    """The parent's side of a run."""

    def __init__(self, ray: Any, run: Run, order: Order, sent: bytes) -> None:
        self.ray, self.run = ray, run
        self.queue, self.merged = Queue(run), Merged()
        self.told: set[str] = set()
        engine = run.settings.engine or Engine("ray")
        cpus = engine.cpus
        gpu, fits = _resources(ray, run.settings, cpus)
        self.count = engine.workers or fits
        threads = run.settings.threads or cpus
        device = "cuda" if gpu else run.settings.device or "cpu"
        if not gpu and ray_address() is None:
            compile_first(run.shown, [device])
        self.kind = ray.remote(num_cpus=cpus, num_gpus=int(gpu), max_restarts=0, max_task_retries=0)(Actor)
        self.sent = ray.put(sent)
        self.settings = replace(order.settings, device=device, threads=threads)
        self.files = {
            f.sha256: [ray.put(f.path.read_bytes())] for files in order.files.values() for f in files
        }
        self.workers: dict[int, _Worker] = {}
        """The last that was started of each number."""
        self.pending: dict[Any, _Worker] = {}
        self.waiting: list[_Worker] = []
        self.refusals: dict[str, str] = {}

    def serve(self) -> Generator[Event, None, CacheStore]:
        """The loop: what workers say, in the order in which it comes."""
        run = self.run
        for number in range(self.count):
            self._start(number)
        cells = len(run.jobs) * len(run.cards)
        yield Planned(cells, 0, cells * len(run.shown.first.ids))
        silent = True
        while self.pending:
            heard, _ = self.ray.wait(list(self.pending), num_returns=1, timeout=UNPLACED if silent else None)
            if not heard and silent:
                yield Note("no worker has begun yet: Ray waits for free resources, or starts them slowly")
            silent = False
            for ref in heard:
                yield from self._heard(ref, self.pending.pop(ref))
            if self.queue.stirred:
                self.queue.stirred = False
                waiting, self.waiting = self.waiting, []
                for worker in waiting:
                    self._hand(worker)
        yield from stopped(run.cards, self.queue.store, self.told)
        left = self.queue.left()
        if left and self.refusals:
            raise UserError(
                "no worker is left: " + "; ".join(f"{who}: {why}" for why, who in self.refusals.items())
            )
        for card, count in left.items():
            yield Note(f"model {card}: no worker could measure {count} of its cells; run again for them")
        return self.queue.store

    def close(self) -> None:
        """However the run ended: nobody goes on for it, and what its workers were at is free for the next."""
        for worker in self.workers.values():
            worker.store.withdraw()
            self._kill(worker)

    def _start(self, number: int) -> None:
        actor = self.kind.remote(self.sent, self.files, self.settings)
        self.workers[number] = _Worker(number, actor, QueueStore(self.queue), f"worker {number}")
        self._answer(self.workers[number], None)

    def _kill(self, worker: _Worker) -> None:
        with suppress(Exception):  # it may be dead, or out of reach
            self.ray.kill(worker.actor)

    def _answer(self, worker: _Worker, answer: Any) -> None:
        said = None if answer is None else pickle.dumps(answer)
        self.pending[worker.actor.talk.remote(said)] = worker

    def _hand(self, worker: _Worker) -> None:
        turn = worker.store.take()
        if turn is Turn.WAIT:
            self.waiting.append(worker)
        else:
            self._answer(worker, (None if turn is Turn.END else turn,))

    def _heard(self, ref: Any, worker: _Worker) -> Iterator[Event]:
        """What became of a call: what the worker said, or that it died."""
        try:
            said = pickle.loads(self.ray.get(ref))  # noqa: S301 - made by our own actor
        except self.ray.exceptions.RayActorError as error:
            yield from self._died(worker, error)
            return
        for kind, what in said:
            if kind == "event":
                yield from self.merged.new(what)
            elif kind == "ready":
                worker.ready, worker.name = True, f"worker {worker.number} on {what}"
            elif kind == "ask":
                name, words, named = what
                if name == "take":
                    self._hand(worker)
                else:
                    self._answer(worker, (getattr(worker.store, name)(*words, **named),))
                return
            elif kind == "refused":
                worker.store.withdraw()
                host, why = what
                yield from self._gone(f"worker {worker.number} on {host}", why)
                return
            elif kind == "broken":
                raise RuntimeError(f"{worker.name}: {what}")
            else:
                worker.store.withdraw()
                return
        self._answer(worker, None)

    def _died(self, worker: _Worker, error: Exception) -> Iterator[Event]:
        worker.store.died()
        self._kill(worker)  # where it was only unreachable: nobody must hear of it again
        if not worker.ready:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            yield from self._gone(worker.name, f"it ended before it began ({lines[-1] if lines else error})")
            return
        yield from stopped(self.run.cards, self.queue.store, self.told)
        yield Note(f"{worker.name} died; another takes its place")
        self._start(worker.number)

    def _gone(self, name: str, why: str) -> Iterator[Event]:
        """A worker that cannot work is not followed by another; what many say alike is told once."""
        if why not in self.refusals:
            self.refusals[why] = name
            yield Note(f"{name} measures nothing: {why}")


def _imported() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(
            f'--on ray needs the package {error.name!r}: pip install "robustbench-ms[ray]"'
        ) from error
    return ray


_PROBE = """
import logging, sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
except Exception as error:
    print(" ".join(str(error).split()))
    sys.exit(1)
"""


def _connect(ray: Any, settings: Settings, size: int) -> None:
    """A local Ray of our own, or the cluster that RAY_ADDRESS names; UserError where that does not answer."""
    address = ray_address()
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        engine = settings.engine or Engine("ray")
        wanted = (engine.workers or 1) * engine.cpus
        try:
            ray.init(
                address="local",
                num_cpus=max(wanted, len(os.sched_getaffinity(0))),
                include_dashboard=False,
                object_store_memory=STORE + 2 * size,
                **quiet,
            )
        except Exception as error:
            told = " ".join(str(error).split())
            raise UserError(f"Ray could not be started on this machine: {told}") from error
        return
    # Ray waits for minutes, on no condition that can be set: another process is given up instead of this one.
    try:
        tried = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", _PROBE, address],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"the Ray cluster at {address} (RAY_ADDRESS) did not answer within {PATIENCE:.0f} seconds; is it up, and "
            "reachable from here?"
        ) from None
    if tried.returncode == 0:
        try:
            ray.init(address=address, **quiet)
        except Exception as error:
            raise _unlike(address, " ".join(str(error).split())) from error
        return
    raise _unlike(address, (tried.stdout or tried.stderr).strip().rpartition("\n")[2])


def _unlike(address: str, told: str) -> UserError:
    return UserError(
        f"the Ray cluster at {address} (RAY_ADDRESS) cannot be joined: {told or 'it ended the connection'}"
    )


def _resources(ray: Any, settings: Settings, cpus: int) -> tuple[bool, int]:
    """Whether workers take GPUs, and how many workers the cluster has room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if settings.device not in {None, "cpu", "cuda"}:
        raise UserError(
            f"Ray chooses the device of a worker: --device is cuda or cpu with it, not {settings.device}"
        )
    if settings.device == "cuda" and not gpus:
        raise UserError("no node of the Ray cluster has a GPU")
    gpu = settings.device != "cpu" and gpus > 0
    fits = sum(
        min(int(node.get("CPU", 0)) // cpus, int(node.get("GPU", 0)) if gpu else sys.maxsize)
        for node in nodes
    )
    if not fits:
        most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        raise UserError(f"no node of the Ray cluster has {cpus} cores for a worker; the largest has {most}")
    return gpu, fits


@contextmanager
def _quietly(log: Path) -> Iterator[None]:
    """Ray's lines go to a file: those of its logger, and those that it prints of actors' deaths whatever it is told."""
    from ray._private import worker

    logger = logging.getLogger("ray")
    handlers, propagates = logger.handlers[:], logger.propagate
    handler: logging.Handler
    try:
        handler = logging.FileHandler(log)
    except OSError:  # a cache that is only read
        handler = logging.NullHandler()
    prints = getattr(worker, "print_to_stdstream", None)

    def told(data: Any, **_: Any) -> None:
        for line in data["lines"]:
            handler.emit(logging.LogRecord("ray", logging.WARNING, "", 0, line, (), None))

    logger.handlers, logger.propagate = [handler], False
    worker.print_to_stdstream = told
    try:
        yield
    finally:
        worker.print_to_stdstream = prints
        logger.handlers, logger.propagate = handlers, propagates
        handler.close()
