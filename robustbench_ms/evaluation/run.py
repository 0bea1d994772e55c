"""The only loop: condition > batch > card, as a generator of events.

A finished cell goes to the cache at once: the cache is the journal, and a run that is killed and started again ends in
the same records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from robustbench_ms.catalog.registry import task_of
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.cells import load_cell, old_cells, save_cell
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.collect import collect
from robustbench_ms.evaluation.environment import describe_environment
from robustbench_ms.evaluation.events import (
    CellDone,
    CellStarted,
    Event,
    Note,
    Planned,
    RecordDone,
    Trouble,
)
from robustbench_ms.evaluation.jobs import Question, fitting_batch, fitting_step, refuse_twins
from robustbench_ms.evaluation.work import Runner, measure
from robustbench_ms.records.record import subject_at, write_record
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import conditions, key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import find_device, lost_devices
from robustbench_ms.subjects.identity import Subject, Unwell, exact_arithmetic, identify, question
from robustbench_ms.subjects.loading import Model, blame, load_model

__all__ = ["run"]


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
    refuse_twins(subjects, suite)
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size must be 1 or more, not {batch_size}")
    task, where = task_of(suite.task), find_device(device)
    folder = places.cache / "cells"
    if not folder.is_dir():  # nothing is finished: what cannot be written is told before any work is done
        places.writable(folder, "cache")

    questions = []
    for condition in conditions(suite):
        data = task.open(suite, places, condition)
        questions.append(Question(condition, question(task, suite, data, condition), len(data)))
    batch = batch_size or fitting_batch(data.shape, where)
    step = batch_size or fitting_step(batch, data.shape, where)
    results = places.writable(places.results / suite.label, "results")

    runners: list[Runner] = []
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
        runners.append(Runner(model, subject, batch))

    pending: list[tuple[Question, list[Runner]]] = []
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
    if pending:  # a cache that cannot be written is still read
        places.writable(folder, "cache")
        if old := old_cells(folder):
            yield Note(
                f"{old} finished cells in {folder} are of an older form, which is not read; delete them"
            )
    environment, claims = describe_environment(where), Claims(folder)
    left = sum(len(lacking) for _, lacking in pending)
    total = len(runners) * len(questions)
    yield Planned(total, total - left, sum(asked.n * len(lacking) for asked, lacking in pending))

    with lost_devices(), exact_arithmetic(), ThreadPoolExecutor(1, "corrupting") as ahead:
        for asked, lacking in pending:
            active = [runner for runner in lacking if not runner.errors]
            if not active:
                continue
            yield CellStarted(key(asked.condition), tuple(r.name for r in active))
            finished = yield from measure(suite, task, places, asked, active, step, where, ahead)
            for runner, answered in finished:
                cell = replace(
                    answered,
                    question=asked.fields,
                    weights=runner.model.weights_sha256,
                    environment=environment,
                )
                save_cell(folder, asked.protocol, runner.subject.digest, cell)
                yield CellDone(key(asked.condition), runner.name, cell.values)

    for runner in runners:
        rows = [
            (asked.condition, asked.fields, load_cell(folder, asked.protocol, runner.subject.digest)[0])
            for asked in questions
        ]
        record, samples = collect(
            suite, runner.model, runner.subject, rows, runner.errors, started, task, data
        )
        path = results / f"{runner.model.card.file_name}.json"
        with claims.holding(path):
            stood = subject_at(path)
            written = write_record(record, samples, path)
        if written and stood not in {None, runner.subject.digest}:
            yield Note(f"{path}: the record of another subject ({stood}) stood here, and was replaced")
        yield RecordDone(replace(record, path=path), path, written)


def _notes(model: Model, subject: Subject) -> Iterator[Note]:
    if model.card.input.assumed:
        yield Note(
            f"model {model.card.name}: nobody said what it wants to be shown; {model.card.input.describe()}"
        )
    if own := model.kept_attention():
        yield Note(
            f"model {model.card.name}: its backbone keeps attention of its own ({own}) beside what was put in"
        )
    for warning in subject.warnings:
        yield Note(f"model {model.card.name}: {warning}")
