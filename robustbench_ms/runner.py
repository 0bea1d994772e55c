"""The only loop: condition > batch > card, as a generator of events.

Each batch is loaded once, corrupted once (on a GPU while the batch before it is answered) and shown to every card
that lacks the cell. A finished cell goes to the cache at once: the cache is the journal, and a run that is killed and
started again ends in the same records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.assembly import assemble
from robustbench_ms.cells import FinishedCell, load_cell, save_cell
from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.events import BatchDone, CellDone, CellStarted, Event, Note, Planned, RecordDone, Trouble
from robustbench_ms.records.record import write_record
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import Condition, conditions, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import find_device, lost_devices, out_of_memory
from robustbench_ms.subjects.identity import Subject, Unwell, digest, exact_arithmetic, identify, question
from robustbench_ms.subjects.loading import Model, blame, load_model
from robustbench_ms.tasks import find_task
from robustbench_ms.tasks.protocol import Batch, Task

__all__ = ["run"]


@dataclass
class _Runner:
    """A card that answers, and what became of it."""

    model: Model
    subject: Subject
    batch: int
    """How many samples it takes at once; halved when memory runs out."""
    errors: dict[Condition, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.model.card.name


@dataclass(frozen=True)
class _Question:
    condition: Condition
    fields: Mapping[str, Any]
    n: int

    @property
    def protocol(self) -> str:
        return digest(self.fields)


@dataclass(frozen=True)
class _Shown:
    """A batch as it is shown, and what it took to make it."""

    batch: Batch
    data_seconds: float
    corruption_seconds: float


def run(
    suite: Suite,
    cards: Sequence[Card],
    places: Places,
    *,
    device: str | None = None,
    batch_size: int | None = None,
) -> Iterator[Event]:
    """Measure every cell of a suite that is not finished yet, and write a record for each card.

    `device` is "cpu", "cuda" or "cuda:1"; None takes CUDA where there is one. `batch_size` is how many images are
    shown at once; inputs are the same at any size. A card that fails is stopped (Trouble) and the rest runs.
    Raises UserError before anything is measured, DeviceLost where the process cannot go on.
    """
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    subjects = [replicate for card in cards for replicate in card.replicates()]
    _refuse_twins(subjects, suite)
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size must be 1 or more, not {batch_size}")
    task, where = find_task(suite.task), find_device(device)
    folder = places.writable(places.cache / "cells", "cache")

    questions = []
    for condition in conditions(suite):
        data = task.open(suite, places, condition)
        questions.append(_Question(condition, question(task, suite, data, condition), len(data)))
    batch = batch_size or _batch_size(data.shape, where)
    step = batch_size or _step(batch, data.shape, where)
    results = places.writable(places.results / suite.label, "results")

    runners: list[_Runner] = []
    for card in subjects:
        with lost_devices():
            model = load_model(
                card, classes=data.classes, channels=data.shape[0], device=where, places=places
            )
        try:
            with blame(card):
                subject = identify(model, task, data, batch)
        except Unwell as error:
            yield Trouble(card.name, str(error))
            continue
        yield from _notes(model, subject)
        runners.append(_Runner(model, subject, batch))

    pending: list[tuple[_Question, list[_Runner]]] = []
    for asked in questions:
        lacking = []
        for runner in runners:
            cell, damage = load_cell(folder, asked.protocol, runner.subject.digest)
            if damage:
                yield Note(damage)
            if cell is None:
                lacking.append(runner)
        if lacking:
            pending.append((asked, lacking))
    left = sum(len(lacking) for _, lacking in pending)
    total = len(runners) * len(questions)
    yield Planned(total, total - left, sum(asked.n * len(lacking) for asked, lacking in pending))

    with lost_devices(), exact_arithmetic(), ThreadPoolExecutor(1, "corrupting") as ahead:
        for asked, lacking in pending:
            active = [runner for runner in lacking if not runner.errors]
            if not active:
                continue
            yield CellStarted(key(asked.condition), tuple(r.name for r in active))
            finished = yield from _measure(suite, task, places, asked, active, step, where, ahead)
            for runner, cell in finished:
                save_cell(folder, asked.protocol, runner.subject.digest, cell)
                yield CellDone(key(asked.condition), runner.name, cell.values)

    for runner in runners:
        rows = [
            (asked.condition, asked.fields, load_cell(folder, asked.protocol, runner.subject.digest)[0])
            for asked in questions
        ]
        record, samples = assemble(
            suite, runner.model, runner.subject, rows, runner.errors, started, task, data
        )
        path = results / f"{runner.model.card.file_name}.json"
        written = write_record(record, samples, path)
        yield RecordDone(replace(record, path=path), path, written)


def _measure(
    suite: Suite,
    task: Task,
    places: Places,
    asked: _Question,
    runners: Iterable[_Runner],
    step: int,
    device: torch.device,
    ahead: ThreadPoolExecutor,
) -> Generator[Event, None, list[tuple[_Runner, FinishedCell]]]:
    """Answer one condition; yields events and returns [(runner, finished cell)]."""
    data = task.open(suite, places, asked.condition)
    active = list(runners)
    outcomes: dict[str, list[dict[str, Tensor]]] = {r.name: [] for r in active}
    seconds = {r.name: {"data": 0.0, "corruption": 0.0, "model": 0.0, "scoring": 0.0} for r in active}

    def show(start: int) -> _Shown:
        begin = time.perf_counter()
        with torch.inference_mode():
            batch = task.load(data, start, min(start + step, len(data)), device)
            loaded = time.perf_counter()
            batch = task.corrupt(batch, suite, asked.condition)
        return _Shown(batch, loaded - begin, time.perf_counter() - loaded)

    for shown in _made(show, range(0, len(data), step), ahead if device.type == "cuda" else None):
        for runner in list(active):
            begin = time.perf_counter()
            halved = runner.batch
            try:
                with lost_devices(), torch.inference_mode():
                    outputs = _answer(runner, shown.batch.samples)
                    answered = time.perf_counter()
                    outcomes[runner.name].append(task.outcomes(outputs, shown.batch.targets))
            except DeviceLost:
                raise
            except Exception as error:  # noqa: BLE001 - any failure of a stranger's model stops that model alone
                runner.errors[asked.condition] = f"{type(error).__name__}: {error}".splitlines()[0]
                active.remove(runner)
                yield Trouble(runner.name, f"{key(asked.condition)}: {runner.errors[asked.condition]}")
                continue
            if runner.batch < halved:
                yield Note(f"model {runner.name}: memory ran out; its batch is now {runner.batch}")
            spent = seconds[runner.name]
            spent["data"] += shown.data_seconds
            spent["corruption"] += shown.corruption_seconds
            spent["model"] += answered - begin
            spent["scoring"] += time.perf_counter() - answered
        yield BatchDone(key(asked.condition), len(shown.batch.ids) * len(active))
        if not active:
            break

    finished = []
    for runner in active:
        begin = time.perf_counter()
        parts = outcomes[runner.name]
        rows = {name: np.concatenate([part[name].cpu().numpy() for part in parts]) for name in parts[0]}
        broken = [name for name, row in rows.items() if row.dtype.kind == "f" and not np.isfinite(row).all()]
        if broken:
            runner.errors[asked.condition] = f"answers NaN or infinity ({', '.join(broken)})"
            yield Trouble(runner.name, f"{key(asked.condition)}: {runner.errors[asked.condition]}")
            continue
        values = task.score(rows)
        seconds[runner.name]["scoring"] += time.perf_counter() - begin
        took = {name: round(value, 3) for name, value in seconds[runner.name].items()}
        finished.append((runner, FinishedCell(values, rows, len(data), took)))
    return finished


def _made(
    show: Callable[[int], _Shown], starts: Iterable[int], ahead: ThreadPoolExecutor | None
) -> Iterator[_Shown]:
    """Each batch in turn; with `ahead`, made there while the one before it is answered.

    Not on a CPU: model and corruptions take every thread in turn, and side by side they hold each other up.
    """
    if ahead is None:
        yield from map(show, starts)
        return
    submitted = (ahead.submit(show, start) for start in starts)
    # In pairs, so that the next is submitted before this one is waited for.
    for made, _ in pairwise(chain(submitted, [Future()])):
        yield made.result()


def _answer(runner: _Runner, samples: Tensor) -> Tensor:
    """Raw outputs of a batch; where memory runs out, the runner's batch is halved and the rest goes on in halves."""
    answers: list[Tensor] = []
    done = 0
    while done < len(samples):
        part = samples[done : done + runner.batch]
        try:
            answers.append(runner.model(part))
        except Exception as error:
            if not out_of_memory(error) or len(part) == 1:
                raise
            runner.batch = max(1, len(part) // 2)
            if part.device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        done += len(part)
    return answers[0] if len(answers) == 1 else torch.cat(answers)


def _notes(model: Model, subject: Subject) -> Iterator[Note]:
    if model.card.input.assumed:
        yield Note(
            f"model {model.card.name}: nobody said what it wants to be shown; {model.card.input.describe()}"
        )
    for warning in subject.warnings:
        yield Note(f"model {model.card.name}: {warning}")


def _refuse_twins(cards: Sequence[Card], suite: Suite) -> None:
    if not cards:
        raise UserError("no model given; name one with -m")
    seen: dict[str, Card] = {}
    for card in cards:
        if suite.task not in card.tasks:
            raise UserError(
                f"model {card.name} does {', '.join(card.tasks)}, and suite {suite.name} asks for {suite.task}"
            )
        if not card.file_name:
            raise UserError(
                f"a model named {card.name!r} would have a record without a name; give it another --name"
            )
        if card.file_name in seen:
            raise UserError(
                f"two models are named {card.name!r}, and a name is a record: drop one, or give it another --name"
            )
        seen[card.file_name] = card


def _batch_size(shape: Sequence[int], device: torch.device) -> int:
    """Some 8 MB of canvas pixels at once on a GPU; on a CPU what keeps a small network's maps in its caches."""
    pixels = int(np.prod(shape))
    cuda = device.type == "cuda"
    return int(np.clip((2**25 if cuda else 2**17) // pixels, 16, 512 if cuda else 256))


def _step(batch: int, shape: Sequence[int], device: torch.device) -> int:
    """How many samples are loaded and corrupted at once: whole batches, on a CPU up to some 1 MB of them.

    A corruption has fixed costs, and what keeps a model's maps in the caches is few small images for it.
    """
    return batch if device.type == "cuda" else batch * max(1, 2**20 // (batch * int(np.prod(shape))))
