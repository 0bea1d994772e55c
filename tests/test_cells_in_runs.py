"""What a run makes of finished cells: measures whose number was raised, a full cache, one that cannot be written."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation import answer
from robustbench_ms.evaluation import cells as module
from robustbench_ms.evaluation.cells import (
    read_cell,
    save_cell,
)
from robustbench_ms.evaluation.events import CellStarted, Note, RecordDone, Trouble
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.card import Card
from robustbench_ms.tasks.outcomes import Outcomes
from tests import fakes


def events_of(suite, places):
    return list(run(read_suite(suite), [Card("net", build=fakes.build())], places))


def test_values_of_a_measure_whose_number_was_raised_are_made_again_without_a_forward_pass(
    tiny, places, snapshot, rbms
):
    events_of(tiny, places)
    before, folder = snapshot(places.results), places.cache / "cells"
    for path in folder.glob("*.npz"):
        cell = read_cell(path)
        assert cell.measures == {**dict.fromkeys(cell.values, 1), "ece": 2}
        assert list(cell.kept) == ["ece/sums"]
        # As before there were sums, which are made of what it keeps too.
        older = {**cell.values, "ece": {"mean": 0.5, "stderr": 0.0}}
        cell = replace(cell, values=older, kept={}, measures={**cell.measures, "ece": 1})
        save_cell(folder, *path.stem.split("-"), cell)
    cells = snapshot(folder)

    events = events_of(tiny, places)

    assert not [e for e in events if isinstance(e, CellStarted)]
    assert snapshot(places.results) == before
    assert snapshot(folder) == cells
    found = rbms("check", folder)
    assert found.code == 0
    assert f"{folder}: ece of other numbers of their measures are not made again" in found.out


def test_a_measure_whose_cell_does_not_hold_what_it_needs_now_is_absent(tiny, places):
    events_of(tiny, places)
    folder = places.cache / "cells"
    for path in folder.glob("*.npz"):
        cell = read_cell(path)
        columns = {name: rows for name, rows in cell.outcomes.samples.items() if name != "top5"}
        older = replace(cell, outcomes=Outcomes(columns), measures={**cell.measures, "top5_accuracy": 0})
        save_cell(folder, *path.stem.split("-"), older)

    (done,) = (e for e in events_of(tiny, places) if isinstance(e, RecordDone))

    why = "its measure has changed, and its cell does not hold what that needs"
    for m in done.record.measurements:
        assert m.absent == {"top5_accuracy": why}
        assert "nll" in m.values


def test_a_measure_that_gives_no_number_spoils_the_cell_and_not_the_run(tiny, places, monkeypatch):
    real = answer.cell_values

    def values(*words):
        found, absent, kept = real(*words)
        return {**found, "ece": {"mean": float("nan"), "stderr": 0.0}}, absent, kept

    monkeypatch.setattr(answer, "cell_values", values)

    told = [e.message for e in events_of(tiny, places) if isinstance(e, Trouble)]

    assert len(told) == 5
    assert told[0] == "clean: measures NaN or infinity (ece)"
    assert not list((places.cache / "cells").glob("*.npz"))


def refusing(call, error, wanted=lambda *_: True):
    def refuse(*args, **options):
        if wanted(*args):
            raise OSError(error, os.strerror(error))
        return call(*args, **options)

    return refuse


def test_a_full_cache_is_one_sentence_and_what_was_finished_is_kept(tiny, places, rbms, monkeypatch):
    saved = []

    def third(file, **members):
        saved.append(members)
        return len(saved) == 3

    monkeypatch.setattr(module.np, "savez", refusing(np.savez, errno.ENOSPC, third))
    found = rbms("run", tiny, "-m", "tests.fakes:build", "--name", "net")

    assert found.code == 2
    last = found.err.strip().splitlines()[-1]
    assert last.startswith(f"rbms: the finished cell {places.cache / 'cells'}")
    assert last.endswith(
        "could not be written (No space left on device); what was finished before is kept, and the same command "
        "goes on when there is room"
    )
    kept = sorted(p.name for p in (places.cache / "cells").iterdir())
    assert len([name for name in kept if name.endswith(".npz")]) == 2
    assert not [name for name in kept if name.endswith(".part")]
    monkeypatch.undo()
    monkeypatch.setenv("RBMS_RESULTS", str(places.results))
    monkeypatch.setenv("RBMS_CACHE", str(places.cache))
    assert (
        "2 of 5 cells are finished already"
        in rbms("run", tiny, "-m", "tests.fakes:build", "--name", "net").err
    )


def test_a_cache_that_cannot_be_written_is_read_and_refused_only_where_a_cell_is_missing(
    tiny, places, monkeypatch, snapshot
):
    events_of(tiny, places)
    before = snapshot(places.cache)
    folder = places.cache / "cells"
    first = min(folder.glob("*.npz"))
    real = os.open
    # As root, whom no permission stops, runs the tests too.
    monkeypatch.setattr(
        os, "open", refusing(real, errno.EROFS, lambda path, *_: str(path).startswith(str(places.cache)))
    )

    (done,) = (e for e in events_of(tiny, places) if isinstance(e, RecordDone))
    assert not done.written
    assert snapshot(places.cache) == before

    first.write_bytes(b"damaged")
    monkeypatch.setattr(module.Path, "replace", refusing(module.Path.replace, errno.EROFS))
    told = []
    with pytest.raises(UserError, match=r"the cache folder .* cannot be written \(Read-only file system\)"):
        told.extend(run(read_suite(tiny), [Card("net", build=fakes.build())], places))
    notes = [e.message for e in told if isinstance(e, Note)]
    assert notes[1].endswith("it cannot be set aside (Read-only file system) and is passed over")
    assert not [e for e in told if isinstance(e, CellStarted)]
