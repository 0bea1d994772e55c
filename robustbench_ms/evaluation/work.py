"""Answering one condition: batch > card.

Each batch is loaded once, corrupted once (on a GPU while the batch before it is answered) and shown to every card.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.errors import DeviceLost
from robustbench_ms.evaluation.cells import FinishedCell
from robustbench_ms.evaluation.events import BatchDone, Event, Note, Trouble
from robustbench_ms.evaluation.jobs import Question
from robustbench_ms.specs.conditions import Condition, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import lost_devices, out_of_memory
from robustbench_ms.subjects.identity import Subject
from robustbench_ms.subjects.loading import Model
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Batch, Task

__all__ = ["Runner", "measure"]


@dataclass
class Runner:
    """A card that answers, and what became of it."""

    model: Model
    subject: Subject
    batch: int
    """How many samples it takes at once; halved when memory runs out."""
    errors: dict[Condition, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The card's name."""
        return self.model.card.name


@dataclass(frozen=True)
class _Shown:
    """A batch as it is shown, and what it took to make it."""

    batch: Batch
    data_seconds: float
    corruption_seconds: float


def measure(
    suite: Suite,
    task: Task,
    places: Places,
    asked: Question,
    runners: Iterable[Runner],
    step: int,
    device: torch.device,
    ahead: ThreadPoolExecutor,
) -> Generator[Event, None, list[tuple[Runner, FinishedCell]]]:
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
        finished.append((runner, FinishedCell(values, Outcomes(rows), len(data), took)))
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


def _answer(runner: Runner, samples: Tensor) -> Tensor:
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
