"""A run from its suite to its records: an executor starts the workers, and what they finished is collected.

A finished cell goes to the cache at once: the cache is the journal, and a run that is killed and started again ends in
the same records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from robustbench_ms.catalog.registry import task_of
from robustbench_ms.catalog.targets import load
from robustbench_ms.errors import BadFile
from robustbench_ms.evaluation.cells import load_cell, old_cells
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.collect import collect
from robustbench_ms.evaluation.events import Event, Note, Probed, RecordDone
from robustbench_ms.evaluation.executors import EXECUTORS
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.jobs import Conditions, Job, refuse_taken, refuse_twins
from robustbench_ms.evaluation.threads import finished_with, noting
from robustbench_ms.records.record import Record, read_record, write_record
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.devices import find_device

__all__ = ["run"]

_KEPT = (
    "git restore brings a committed one back, rbms accept keeps one as the reference, and --name gives the new one a "
    "file of its own"
)


def run(
    suite: Suite, cards: Sequence[Card], places: Places, settings: Settings | None = None
) -> Iterator[Event]:
    """Measure every cell of a suite that is not finished yet, and write a record for each card.

    A card that fails is stopped (Trouble) and the rest runs. Raises UserError before anything is measured, DeviceLost
    where the process cannot go on.
    """
    settings = settings or Settings()
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    subjects = [replicate for card in cards for replicate in card.replicates()]
    refuse_twins(subjects, suite)
    if settings.engine is None:
        find_device(settings.device)  # that it is there, before a folder is made
    execute = load(EXECUTORS[settings.chosen_executor])
    folder = places.cache / "cells"
    if not folder.is_dir():  # nothing is finished: what cannot be written is told before any work is done
        places.writable(folder, "cache")
    shown = Conditions(suite, task_of(suite), places, settings.keep(places.cache))
    first = shown.conditions[0]
    if shown.known(first):  # since its check
        yield from map(Note, shown.data(first).facts.notes)
    yield from map(Note, shown.first.notes)
    results = places.writable(places.results / suite.label, "results")
    paths = {card.name: results / f"{card.file_name}.json" for card in subjects}
    refuse_taken(subjects, paths)

    names = tuple(card.name for card in subjects)
    jobs = [Job(condition, names) for condition in shown.conditions]
    claims = Claims(folder)
    if claims.note:
        yield Note(claims.note)
    if old := old_cells(folder):
        yield Note(f"{old} finished cells in {folder} are of an older form, which is not read; delete them")

    def otherwise(probed: Probed) -> int | None:
        asked = shown.question(shown.conditions[0])  # open since the probe
        return finished_with(probed, asked.protocol, folder, paths[probed.card])

    store = yield from noting(execute(Run(shown, subjects, jobs, settings, folder, claims)), otherwise)

    reports = [(card, report) for card in subjects if (report := store.pinned(card.name)) is not None]
    # Of data that nobody was asked about the digests are not worth their time.
    questions = [shown.question(condition) for condition in shown.conditions] if reports else []
    for card, report in reports:
        rows = [
            (asked.condition, asked.fields, load_cell(folder, asked.protocol, report.cells)[0])
            for asked in questions
        ]
        keys = [key(asked.condition) for asked in questions]
        errors = {at: told for at in keys if (told := store.spoilt(card.name, at)) is not None}
        errors |= dict([failed] if (failed := store.failed(card.name)) else [])
        record, samples = collect(shown, report, rows, errors, started)
        path = paths[card.name]
        with claims.holding(path):
            replaced = _stood(path, record)
            written = write_record(record, samples, path)
        if written and replaced:
            yield Note(f"{path}: {replaced}")
        yield RecordDone(replace(record, path=path), path, written, replaced if written else None)
    store.close()


def _stood(path: Path, record: Record) -> str | None:
    """Of whom or of what is the record whose place a new one takes, and how to keep both.

    None where there is none, or one of the same subject of whose cells every one is asked still; and after an edit that
    changed no number.
    """
    if not path.exists():
        return None
    try:
        old = read_record(path)
    except BadFile as error:
        told = str(error).removeprefix(f"{path}: ")
        return f"what stood here could not be read ({told}), and was replaced"
    asked = {m.key: m.protocol for m in record.measurements}
    lost = [m.key for m in old.measurements if m.error is None and asked.get(m.key) != m.protocol]
    if old.subject["digest"] == record.subject["digest"]:
        if lost:
            return (
                f"a record of another question stood here, and was replaced: of its {len(old.measurements)} cells "
                f"{len(lost)} are asked no more, or of other data ({lost[0]} first), started {old.started}; {_KEPT}"
            )
        now = {m.key: m.values for m in record.measurements}
        alike = old.subject.get("cells") == record.subject.get("cells")
        if alike or all(now[m.key] == m.values for m in old.measurements if m.error is None):
            return None
    weights = (old.card["weights"] or {}).get("file")
    return (
        f"the record of another subject stood here, and was replaced: {old.name}"
        f"{f' with {weights}' if weights else ''}, started {old.started} ({old.subject['digest']}); {_KEPT}"
    )
