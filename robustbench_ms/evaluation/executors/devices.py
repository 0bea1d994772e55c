"""Several workers on one machine: a process for each device, or `workers` of them on a CPU, the cache between them.

Processes are spawned: a fork after CUDA or compiled threads have begun would hang.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import signal
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from robustbench_ms.catalog import registry
from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.events import Event, Note
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.executors.several import TABLES, Merged, pickled, stopped
from robustbench_ms.evaluation.jobs import Conditions, Job
from robustbench_ms.evaluation.store import CacheStore, SharedStore
from robustbench_ms.evaluation.work import work
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import find_device

__all__ = ["compile_first", "execute"]


@dataclass(frozen=True)
class _Order:
    """What a worker is sent."""

    suite: Suite
    cards: Sequence[Card]
    jobs: Sequence[Job]
    settings: Settings
    places: Places
    run: Path
    """The folder of the run."""
    registered: Mapping[str, Mapping[str, Any]]
    """What the parent has registered, by the name of its table."""


@dataclass
class _Worker:
    """A process, and its end of the pipe."""

    number: int
    process: Any
    pipe: Connection
    ready: bool = False
    ended: bool = False
    """It has said that it is done."""


def execute(run: Run) -> Generator[Event, None, CacheStore]:
    """Spawn the workers, pass their events on, and put another in the place of each that dies."""
    if getattr(mp.current_process(), "_inheriting", False):
        raise UserError(
            "several workers start this script again in each of them: put what it does under "
            'if __name__ == "__main__":'
        )
    devices = _devices(run.settings)
    threads = run.settings.threads or max(1, len(os.sched_getaffinity(0)) // len(devices))
    places = run.shown.places
    store = SharedStore(run.cells, run.claims, SharedStore.fresh(places.cache))
    orders = []
    for number, device in enumerate(devices):
        start = number * len(run.jobs) // len(devices)
        settings = replace(run.settings, device=device, threads=threads, workers=None, executor=None)
        jobs = [*run.jobs[start:], *run.jobs[:start]]
        cards = [*run.cards[number % len(run.cards) :], *run.cards[: number % len(run.cards)]]
        orders.append(
            _Order(
                run.shown.suite, cards, jobs, settings, places, store.run,
                {name: table.registered for name, table in TABLES.items()},
            )
        )  # fmt: skip
    sent = [pickled(order, order.cards) for order in orders]
    compile_first(run.shown, devices)
    workers = [_start(number, order) for number, order in enumerate(sent)]
    told: set[str] = set()
    merged = Merged()
    try:
        while workers:
            ready = wait([worker.pipe for worker in workers])
            for worker in [w for w in workers if w.pipe in ready]:
                try:
                    kind, what = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.process.join()
                    if not worker.ended:
                        yield from _died(worker, devices)
                        if worker.ready:
                            workers.append(_start(worker.number, sent[worker.number]))
                        yield from stopped(run.cards, store, told)
                    continue
                if kind == "event":
                    yield from merged.new(what)
                elif kind == "ready":
                    worker.ready = True
                elif kind == "lost":
                    worker.ended = True
                    yield Note(f"{devices[worker.number] or 'the device'} is given up: {what}")
                elif kind == "refused":
                    raise what
                elif kind == "done":
                    worker.ended = True
        yield from stopped(run.cards, store, told)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
    return store


def _died(worker: _Worker, devices: Sequence[str | None]) -> Iterator[Event]:
    code = worker.process.exitcode
    how = f"signal {-code} ({signal.strsignal(-code)})" if code is not None and code < 0 else f"exit {code}"
    if not worker.ready:
        raise UserError(
            f"worker {worker.number} ended before it began ({how}); what it said stands above. A script that starts "
            'several workers needs if __name__ == "__main__": around what it does'
        )
    device = devices[worker.number]
    yield Note(
        f"worker {worker.number}{f' on {device}' if device else ''} died ({how}); another takes its place"
    )


def _devices(settings: Settings) -> list[str | None]:
    """The device of each worker."""
    device = find_device(settings.device)
    if device.type == "cuda" and settings.device in {None, "cuda"}:
        count = settings.workers or torch.cuda.device_count()
        return [f"cuda:{i % torch.cuda.device_count()}" for i in range(count)]
    return [str(device)] * (settings.workers or 1)


def compile_first(shown: Conditions, devices: Sequence[str | None]) -> None:
    """Compile the loops of the perturbations once, here, not in every worker."""
    if devices[0] != "cpu":
        return
    done = set()
    for condition in shown.conditions:
        perturbation = shown.perturbation(condition) if shown.known(condition) else None
        if condition and perturbation is not None and condition[0] not in done:
            done.add(condition[0])
            rows = next(shown.data(condition).batches(1))
            perturbation(shown.data(condition).load(rows, torch.device("cpu")), condition)


def _start(number: int, order: bytes) -> _Worker:
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, order), name=f"rbms-worker-{number}", daemon=True)
    process.start()
    theirs.close()  # or a dead worker's pipe would never end
    return _Worker(number, process, ours)


def _main(pipe: Connection, sent: bytes) -> None:
    """A worker's life."""
    threading.Thread(target=_watch, args=(pipe,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and ends its workers
    try:
        order: _Order = pickle.loads(sent)  # noqa: S301 - made by the parent
    except Exception as error:  # noqa: BLE001 - a module that is not importable here
        pipe.send(
            ("refused", UserError(f"a worker cannot take what it is sent: {type(error).__name__}: {error}"))
        )
        return
    for name, rows in order.registered.items():
        for row, value in rows.items():
            TABLES[name].register(row, value)
    try:
        device = find_device(order.settings.device)
        float(torch.ones(2, device=device).sum())
    except Exception as error:  # noqa: BLE001 - a device that fails blames no card
        pipe.send(("lost", f"{type(error).__name__}: {error}".splitlines()[0]))
        return
    pipe.send(("ready", None))
    cells = order.places.cache / "cells"
    store = SharedStore(cells, Claims(cells), order.run)
    try:
        keep = order.settings.keep(order.places.cache)
        shown = Conditions(order.suite, registry.task_of(order.suite), order.places, keep)
        for event in work(shown, order.cards, order.jobs, store, order.settings):
            pipe.send(("event", event))
    except UserError as error:
        pipe.send(("refused", error))
    except DeviceLost:
        os.kill(os.getpid(), signal.SIGKILL)  # with its marks left as they are: the parent has another start
    else:
        pipe.send(("done", None))


def _watch(pipe: Connection) -> None:
    """End with the parent: it never sends, so its end of the pipe is closed when this returns."""
    try:
        wait([pipe])
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
