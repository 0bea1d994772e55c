"""Answering one condition: batch > card.

Each batch is loaded once, corrupted once (on a GPU while the batch before it is answered) and shown to every card.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import measures_of
from robustbench_ms.datasets.protocol import Batch, Data
from robustbench_ms.errors import DeviceLost, Misbehaved, UserError
from robustbench_ms.evaluation.cells import FinishedCell, keep_truth
from robustbench_ms.evaluation.events import BatchDone, Event, Note, Trouble
from robustbench_ms.evaluation.jobs import Question
from robustbench_ms.evaluation.split import Split
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.conditions import key
from robustbench_ms.subjects.asking import ask
from robustbench_ms.subjects.devices import lost_devices, out_of_memory
from robustbench_ms.subjects.guard import first_line
from robustbench_ms.subjects.loading import Model
from robustbench_ms.subjects.seals import CHANGES, Seals
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.measure import Mean, Scorer, cell_values, numbers_of
from robustbench_ms.tasks.outcomes import Outcomes, merged, unsound
from robustbench_ms.tasks.protocol import Perturbation, Task

__all__ = ["Runner", "Shows", "measure"]


@dataclass
class Runner:
    """A card that answers, and what became of it."""

    model: Model
    cells: str
    """Under what its finished cells are kept; the first worker's, whatever another's attributes are."""
    canvas: str | Canvas
    """What samples are shown to it on."""
    batch: int
    """How many samples it takes at once; halved when memory runs out."""
    error: str | None = None
    """Why it was stopped."""
    spoilt: str | None = None
    """Why its last cell came to nothing; it goes on to the next."""

    @property
    def name(self) -> str:
        """The card's name."""
        return self.model.card.name


@dataclass(frozen=True)
class Shows:
    """How one condition's samples are shown: opened, perturbed and helped out."""

    task: Task
    data: Data
    perturbation: Perturbation | None
    step: int
    """How many numbers are loaded and perturbed at once, see `Data.batches`."""
    device: torch.device
    ahead: ThreadPoolExecutor
    truths: Path
    """The folder of what is true of data, a file a data digest, where a task's measures need it."""


@dataclass(frozen=True)
class _Shown:
    """A batch as it is shown, and what it took to make it."""

    batch: Batch
    data_seconds: float
    corrupting: tuple[Any, Any]
    """Two moments of a `Split`."""


def measure(
    asked: Question, runners: Iterable[Runner], shows: Shows
) -> Generator[Event, None, list[tuple[Runner, FinishedCell]]]:
    """Answer one condition; yields events and returns [(runner, finished cell)]."""
    task, data = shows.task, shows.data
    everyone = list(runners)
    active = list(everyone)
    for runner in everyone:
        runner.spoilt = None
    outcomes: dict[str, list[tuple[Outcomes, NDArray[np.int64]]]] = {r.name: [] for r in active}
    split = Split([r.name for r in active], shows.device)
    seals = Seals(shows.device)

    def show(rows: NDArray[np.int64]) -> _Shown:
        begin = time.perf_counter()
        with torch.no_grad():  # not inference_mode, whose tensors no gradient can pass
            batch = data.load(rows, shows.device)
            took, loaded = time.perf_counter() - begin, split.mark()
            if asked.condition and shows.perturbation is not None:
                batch = shows.perturbation(batch, asked.condition)
        return _Shown(replace(batch, condition=asked.condition), took, (loaded, split.mark()))

    ahead = shows.ahead if shows.device.type == "cuda" else None
    truths: list[tuple[Outcomes, NDArray[np.int64]]] = []
    idle = time.perf_counter()
    for shown in _made(show, data.batches(shows.step), ahead):
        together = [runner.name for runner in active]
        split.add("data", together, shown.data_seconds)
        split.between("corruption", together, *shown.corrupting)
        if ahead is not None:
            split.add("waiting", together, time.perf_counter() - idle)
        true = task.truth(shown.batch)
        truths += [] if true is None else [(true, shown.batch.rows)]
        batch = shown.batch
        seals.begin(batch.samples)
        for runner in list(active):
            begin = split.mark()
            halved, changed = runner.batch, False
            try:
                with lost_devices():
                    try:
                        answers = _answer(runner, task, batch)
                    finally:  # one that fails may have changed it before
                        changed = seals.broken(runner.name, batch.samples)
                    if changed:
                        raise Misbehaved(CHANGES)  # noqa: TRY301
                    answered = split.mark()
                    outcomes[runner.name].append((task.outcomes(answers, batch), batch.rows))
            except DeviceLost:
                raise
            except Exception as error:  # noqa: BLE001 - any failure of a stranger's model stops that model alone
                runner.error = (
                    str(error)
                    if isinstance(error, UserError)
                    else f"{type(error).__name__}: {first_line(error)}"
                )
                active.remove(runner)
                if changed:  # made again for those that come after
                    batch = show(batch.rows).batch
                    seals.whole(runner.name, batch.samples)
                yield Trouble(runner.name, f"{key(asked.condition)}: {runner.error}")
                continue
            if runner.batch < halved:
                yield Note(f"model {runner.name}: memory ran out; its batch is now {runner.batch}")
            split.between("model", [runner.name], begin, answered)
            split.between("scoring", [runner.name], answered, split.mark())
        yield BatchDone(key(asked.condition), len(shown.batch) * len(active))
        if not active:
            break
        idle = time.perf_counter()

    truth = merged(truths) if active and truths else None
    if truth is not None:
        keep_truth(shows.truths, data.facts.digest, data.facts.n, truth)
    finished: list[tuple[Runner, FinishedCell]] = []
    changing = seals.late()
    for place, runner in enumerate(everyone):
        if runner.error is not None:
            continue
        if runner.name in changing:
            runner.error = CHANGES
        elif before := next((one.name for one in everyone[:place] if one.name in changing), None):
            runner.spoilt = f"it was shown images that model {before} had changed"
        if told := runner.error or runner.spoilt:
            yield Trouble(runner.name, f"{key(asked.condition)}: {told}", stopped=runner.error is not None)
            continue
        begin = time.perf_counter()
        found = merged(outcomes[runner.name])
        scorers = measures_of(asked.fields["task"])
        runner.spoilt = _spoilt(found, scorers, data.facts.ids)
        if runner.spoilt is not None:
            yield Trouble(runner.name, f"{key(asked.condition)}: {runner.spoilt}", stopped=False)
            continue
        values, absent, kept = cell_values(scorers, found, truth, data.facts.ids, data.facts.groups)
        broken = [name for name, value in values.items() if not np.isfinite(value["mean"])]
        if broken:
            runner.spoilt = f"measures NaN or infinity ({', '.join(broken)})"
            yield Trouble(runner.name, f"{key(asked.condition)}: {runner.spoilt}", stopped=False)
            continue
        split.add("scoring", [runner.name], time.perf_counter() - begin)
        groups = {} if data.facts.groups is None else {"groups": data.facts.groups}
        cell = FinishedCell(
            values,
            found,
            data.facts.n,
            split.seconds(runner.name),
            absent,
            {**kept, **groups},
            measures=numbers_of(scorers),
        )
        finished.append((runner, cell))
    return finished


def _spoilt(found: Outcomes, scorers: Sequence[Scorer], ids: NDArray[np.int64]) -> str | None:
    """What of a cell's answers is no number; None where all is well."""
    infinite = {one.column for one in scorers if isinstance(one, Mean) and one.infinite}
    masks = unsound(found, infinite)
    told = [
        f"{what} for {int(mask.sum()):,}"
        for what, mask in zip(("NaN", "infinity"), masks, strict=True)
        if mask.any()
    ]
    if not told:
        return None
    first = ids[np.flatnonzero(masks[0] | masks[1])[0]]
    return f"{' and '.join(told)} of {len(ids):,} images, first {first:,}"


def _made(
    show: Callable[[NDArray[np.int64]], _Shown],
    helpings: Iterable[NDArray[np.int64]],
    ahead: ThreadPoolExecutor | None,
) -> Iterator[_Shown]:
    """Each batch in turn; with `ahead`, made there while the one before it is answered.

    Not on a CPU: model and corruptions take every thread in turn, and side by side they hold each other up.
    """
    if ahead is None:
        yield from map(show, helpings)
        return
    submitted = (ahead.submit(show, rows) for rows in helpings)
    # In pairs, so that the next is submitted before this one is waited for.
    for made, _ in pairwise(chain(submitted, [Future()])):
        yield made.result()


def _answer(runner: Runner, task: Task, batch: Batch) -> Answers:
    """Answers to a batch; where memory runs out, the runner's batch is halved and the rest goes on in halves."""
    answers: list[Answers] = []
    done = 0
    while done < len(batch):
        part = batch.part(done, done + runner.batch)
        try:
            answers.append(ask(task, runner.model, part, key(batch.condition or ())))
        except Misbehaved as error:
            if not out_of_memory(error.__cause__) or len(part) == 1:
                raise
            runner.batch = max(1, len(part) // 2)
            if part.samples.device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        done += len(part)
    return Answers.joined(answers)
