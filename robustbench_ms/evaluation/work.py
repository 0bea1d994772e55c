"""The loop of a worker: it loads each card once, asks it the probe, takes jobs and answers what is its own.

Workers meet in the store alone. Whether they are one process or many, on one machine or several, the loop is this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from robustbench_ms.datasets.protocol import Data, Progress
from robustbench_ms.errors import DeviceLost, Misbehaved, UserError
from robustbench_ms.evaluation.answer import Runner, Shows, measure
from robustbench_ms.evaluation.collect import described_card
from robustbench_ms.evaluation.environment import describe_environment
from robustbench_ms.evaluation.events import (
    CellDone,
    CellsFound,
    CellStarted,
    Event,
    Note,
    Opening,
    Planned,
    Probed,
    Trouble,
)
from robustbench_ms.evaluation.jobs import Conditions, Job, Question, fitting_batch, fitting_step
from robustbench_ms.evaluation.store import Report, Store
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import Condition, key
from robustbench_ms.specs.settings import Settings
from robustbench_ms.subjects.devices import find_device, keep_freed_memory, lost_devices
from robustbench_ms.subjects.fitting import misfit
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.identity import Unwell, exact_arithmetic, identify
from robustbench_ms.subjects.loading import Model, load_model
from robustbench_ms.subjects.watching import WATCH

__all__ = ["work"]

PAUSE = 0.1
"""Seconds between two looks at what others are measuring, at first."""
LONGEST = 2.0
"""Seconds to which these pauses double: many workers that wait would keep a shared disk busy with looking."""


def work(
    shown: Conditions, cards: Sequence[Card], jobs: Iterable[Job], store: Store, settings: Settings
) -> Iterator[Event]:
    """Answer the jobs that no other worker answers, until all of them are finished or failed.

    Raises UserError where no card is left that could answer or the store cannot keep what is measured, DeviceLost where
    the process cannot go on.
    """
    device = find_device(settings.device)
    keep_freed_memory()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    worker = _Worker(shown, store, settings, device)
    lost = False
    WATCH.limit, WATCH.failed = settings.timeout, store.fail
    try:
        yield from worker.load(cards)
        yield from worker.answer(jobs)
    except DeviceLost:
        lost = True
        raise
    finally:
        WATCH.limit = None
        store.release(lost=lost)


class _Worker:
    """What the loop keeps between its jobs."""

    def __init__(self, shown: Conditions, store: Store, settings: Settings, device: torch.device) -> None:
        self.shown, self.store, self.device = shown, store, device
        self.fixed = settings.batch_size
        self.environment = describe_environment(device)
        self.models: dict[str, Model] = {}
        self.runners: dict[str, Runner] = {}
        self.found: set[tuple[Condition, str]] = set()
        """Cells that were told to be finished already."""
        self.threads: set[str] = set()
        """Models that were told to leave threads of their own."""
        self.refused: dict[str, UserError] = {}
        """Cards that this worker cannot ask, for what the user can mend; another one may have what it lacks."""
        self.told: set[str] = set()
        """Those of them that were told."""

    def load(self, cards: Sequence[Card]) -> Iterator[Event]:
        """Load every card, then open what they are shown, then ask the probe.

        UserError where no card is left: there is nothing to measure.
        """
        yield from self._each("load", cards, self._load)
        yield from self._tell_refused(cards)
        for canvas in dict.fromkeys(self._canvas(model) for model in self.models.values()):
            yield from _told(self.shown.opening(self.shown.conditions[0], canvas))
        yield from self._each("probe", [card for card in cards if card.name in self.models], self._probe)
        yield from self._tell_refused(cards)

    def _tell_refused(self, cards: Sequence[Card]) -> Iterator[Event]:
        if self.refused and all(card.name in self.refused or self.store.failed(card.name) for card in cards):
            name, error = next(iter(self.refused.items()))
            raise type(error)(f"model {name}: {error}") from error
        for name in [name for name in self.refused if name not in self.told]:
            self.told.add(name)
            yield Trouble(name, str(self.refused[name]))

    def _each(
        self, stage: str, cards: Sequence[Card], do: Callable[[Card], Iterable[Event]]
    ) -> Iterator[Event]:
        """One card after the other, those first that no other worker is at."""
        waiting = list(cards)
        while waiting:
            later = []
            for card in waiting:
                deaths = self.store.begin_probe(card.name, stage)
                if deaths is None:
                    later.append(card)
                    continue
                told: list[Event] = []
                try:
                    if self.store.failed(card.name) is None:
                        told += do(card)
                except UserError as error:
                    why = str(error).removeprefix(f"model {card.name}: ")
                    if isinstance(error, (Unwell, Misbehaved)):
                        self.store.fail(card.name, stage, why)
                        told.append(Trouble(card.name, why))
                    else:
                        self.refused[card.name] = type(error)(why)
                finally:
                    self.store.end_probe(card.name, stage)
                yield from told
                yield from self._left_threads()
            if len(later) == len(waiting):
                time.sleep(PAUSE)
            waiting = later

    def _canvas(self, model: Model) -> str | Canvas:
        return model.canvas or self.shown.suite.canvas

    def _batch(self, data: Data) -> tuple[int, int]:
        """How many samples of the data a model is shown at once, and how many are loaded and perturbed."""
        values = data.facts.layout.values
        batch = self.fixed or fitting_batch(data.facts.layout, self.device)
        return batch, self.fixed or fitting_step(batch, values, self.device)

    def _load(self, card: Card) -> Iterable[Event]:
        with lost_devices():
            self.models[card.name] = load_model(
                card,
                self.shown.first,
                device=self.device,
                places=self.shown.places,
                canvas=self.shown.suite.canvas,
            )
        return ()

    def _probe(self, card: Card) -> Iterator[Event]:
        model = self.models[card.name]
        canvas = self._canvas(model)
        condition = self.shown.conditions[0]
        data = self.shown.data(condition, canvas)
        batch, _ = self._batch(data)
        environment = self.environment
        with Guard(card.name):
            found = self.shown.task.calibrate(model, self.shown.source, self.shown.other)
            model = replace(model, calibration=found)
            described = identify(model, self.shown.task, data.facts, batch)
            clean = not (condition and data.facts.corrupted)
            if clean and (told := misfit(model, self.shown.task, data)) is not None:
                described = replace(described, warnings=(*described.warnings, told))
            report = Report(
                described_card(model), described.digest, described.fields, described.cells,
                described.warnings, described.nondeterministic, environment,
            )  # fmt: skip
            notes = list(_notes(model, described.warnings))
        first = self.store.pinned(card.name) is None
        holds = self.store.pin(card.name, report)
        if holds.subject != report.subject:
            apart = [
                f"{name} {mine} instead of {theirs}"
                for name, mine, theirs in (
                    ("threads", environment.threads, holds.environment.threads),
                    ("device", environment.device, holds.environment.device),
                    ("cpu", environment.cpu, holds.environment.cpu),
                    ("torch", environment.torch, holds.environment.torch),
                )
                if mine != theirs
            ]
            why = f" ({', '.join(apart)})" if apart else ""
            yield Note(
                f"model {card.name}: this worker's raw answers are others than the first one's{why}; it leaves the "
                "model to the others"
            )
            return
        if first:
            yield Probed(card.name, report.subject, report.cells, model.weights_sha256, environment.threads)
            yield from notes
        self.runners[card.name] = Runner(model, holds.cells, canvas, batch)

    def answer(self, jobs: Iterable[Job]) -> Iterator[Event]:
        """Take the jobs in turn, and those again of which others had cells, until nothing is left."""
        if isinstance(jobs, Sequence):  # of a queue nobody knows what it will bring
            yield from self._plan(jobs)
        waited, pause = False, PAUSE
        with lost_devices(), exact_arithmetic(), ThreadPoolExecutor(1, "corrupting") as ahead:
            pending = jobs
            while True:
                later, measured = [], False
                for job in pending:
                    busy, some = yield from self._job(job, ahead)
                    later += [busy] if busy is not None else []
                    measured |= some
                if not later:
                    return
                if not measured:
                    if not waited:
                        waited = True
                        keys = key(later[0].condition) + (
                            f" and {len(later) - 1} more" if len(later) > 1 else ""
                        )
                        yield Note(f"waiting for another run, which is measuring {keys}")
                    time.sleep(pause)
                pause = PAUSE if measured else min(2 * pause, LONGEST)
                pending = later

    def _plan(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """What is known to be finished before the first job's turn: of data that need not be read for it."""
        total = sum(len(self._wanted(job)) for job in jobs)
        for job in jobs:
            if not self.shown.known(job.condition):
                continue
            asked = self.shown.question(job.condition)
            for runner in self._wanted(job):
                finished, damage = self.store.finished(asked.protocol, runner.cells)
                if damage:
                    yield Note(damage)
                if finished:
                    self.found.add((job.condition, runner.name))
        left = total - len(self.found)
        yield Planned(total, len(self.found), left * len(self.shown.first.ids))

    def _wanted(self, job: Job) -> list[Runner]:
        """Its cards that this worker answers for, but for cells that are known to be finished."""
        names = [
            name for name in job.cards if name in self.runners and (job.condition, name) not in self.found
        ]
        return [self.runners[name] for name in names if self.store.failed(name) is None]

    def _job(self, job: Job, ahead: ThreadPoolExecutor) -> Generator[Event, None, tuple[Job | None, bool]]:
        """Measure what is this worker's of a job; (what others are at, whether anything was measured)."""
        wanted = self._wanted(job)
        if not wanted:
            return None, False
        yield from _told(self.shown.opening(job.condition))
        asked = self.shown.question(job.condition)
        if self.store.pin_data(key(job.condition), asked.protocol) != asked.protocol:
            yield Note(
                f"{key(job.condition)}: this worker has other data than the first one; it measures none of it"
            )
            return None, False
        claimed = self.store.claim(
            asked.protocol, {runner.name: runner.cells for runner in wanted}, key(job.condition)
        )
        yield from map(Note, claimed.notes)
        if claimed.done:
            self.found |= {(job.condition, name) for name in claimed.done}
            yield CellsFound(key(job.condition), claimed.done, asked.n * len(claimed.done))
        ours = [self.runners[name] for name in claimed.ours]
        for canvas in dict.fromkeys(runner.canvas for runner in ours):
            yield from self._measure(asked, [one for one in ours if one.canvas == canvas], ahead)
        busy = replace(job, cards=claimed.busy) if claimed.busy else None
        return busy, bool(claimed.ours)

    def _measure(
        self, asked: Question, runners: Sequence[Runner], ahead: ThreadPoolExecutor
    ) -> Iterator[Event]:
        """Show a condition, on one canvas, to those whose canvas that is."""
        name, canvas = key(asked.condition), runners[0].canvas
        data = yield from _told(self.shown.opening(asked.condition, canvas, shown=True))
        yield CellStarted(name, tuple(runner.name for runner in runners))
        perturbation = self.shown.perturbation(asked.condition, canvas)
        truths = self.shown.places.cache / "truths"
        size = self._batch(data)[1] * data.facts.layout.values
        shows = Shows(self.shown.task, data, perturbation, size, self.device, ahead, truths)
        finished = yield from measure(asked, runners, shows)
        for runner, answered in finished:
            cell = replace(
                answered,
                question=asked.fields,
                weights=runner.model.weights_sha256,
                environment=self.environment,
            )
            self.store.keep(asked.protocol, runner.cells, cell)
            self.found.add((asked.condition, runner.name))
            yield CellDone(name, runner.name, cell.values)
        for runner in runners:
            if runner.error is not None:
                self.store.fail(runner.name, name, runner.error)
            elif runner.spoilt is not None:
                self.store.spoil(asked.protocol, runner.cells, runner.name, name, runner.spoilt)
        self.store.release()
        yield from self._left_threads()

    def _left_threads(self) -> Iterator[Event]:
        """Of each model once."""
        for name, count in Guard.left.items():
            if name not in self.threads:
                self.threads.add(name)
                yield Note(f"model {name}: it leaves threads of its own running, {count} so far")
        Guard.left.clear()


def _told(steps: Generator[Progress, None, Data]) -> Generator[Event, None, Data]:
    """The opening of data as a run tells it."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            data: Data = end.value
            return data
        yield Opening(step.what, step.done, step.total) if step.total else Note(step.what)


def _notes(model: Model, warnings: Sequence[str]) -> Iterator[Note]:
    for told in model.notes:
        yield Note(f"model {model.card.name}: {told}")
    if own := model.kept_attention():
        yield Note(
            f"model {model.card.name}: its backbone keeps attention of its own ({own}) beside what was put in"
        )
    for warning in warnings:
        yield Note(f"model {model.card.name}: {warning}")
