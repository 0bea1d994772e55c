"""The cache of finished cells: a file that was cut off or changed is noticed, set aside and measured again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.evaluation.cells import FinishedCell, load_cell, save_cell
from robustbench_ms.evaluation.events import CellStarted, Note, RecordDone
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.card import Card
from tests import fakes


def cell_of(n=40):
    random = np.random.default_rng(n)
    return FinishedCell(
        values={"accuracy": {"mean": 0.25, "stderr": 0.1}, "nll": {"mean": 1 / 3, "stderr": float("nan")}},
        outcomes={
            "prediction": random.integers(0, 10, n, dtype=np.int32),
            "confidence": random.random(n, dtype=np.float32),
            "correct": random.random(n) < 0.5,
            "nll": random.random(n, dtype=np.float32),
        },
        n=n,
        seconds={"data": 0.1, "model": 2.0},
    )


def test_a_finished_cell_is_read_as_it_was_kept(tmp_path):
    cell = cell_of()

    save_cell(tmp_path, "p" * 16, "s" * 16, cell)
    found, damage = load_cell(tmp_path, "p" * 16, "s" * 16)

    assert damage is None
    assert (found.n, found.seconds) == (cell.n, cell.seconds)
    assert json.dumps(found.values) == json.dumps(cell.values)
    assert found.outcomes.keys() == cell.outcomes.keys()
    for name, rows in cell.outcomes.items():
        assert found.outcomes[name].dtype == rows.dtype
        assert np.array_equal(found.outcomes[name], rows)
    assert [p.name for p in tmp_path.iterdir()] == [f"{'p' * 16}-{'s' * 16}.npz"]
    assert load_cell(tmp_path, "q" * 16, "s" * 16) == (None, None)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_set_aside(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("cells")
    save_cell(folder, "p", "s", cell_of())
    path = folder / "p-s.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])

    found, damage = load_cell(folder, "p", "s")

    assert found is None
    assert "p-s.npz was damaged" in damage
    assert [p.name for p in folder.iterdir()] == ["p-s.broken"]
    save_cell(folder, "p", "s", cell_of())
    assert load_cell(folder, "p", "s")[0].n == 40


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_noticed_or_changes_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cells")
    cell = cell_of()
    save_cell(folder, "p", "s", cell)
    path = folder / "p-s.npz"
    told = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(told) - 1))
    told[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(told)

    found, damage = load_cell(folder, "p", "s")

    if damage is None:  # a byte of the archive's bookkeeping that nobody reads
        assert json.dumps(found.values) == json.dumps(cell.values)
        assert all(np.array_equal(found.outcomes[k], rows) for k, rows in cell.outcomes.items())


@pytest.mark.parametrize("harm", ["half", "empty", "lengths", "members", "words"])
def test_a_damaged_cell_is_measured_again_and_the_record_is_the_same(tiny, places, snapshot, harm):
    def measure():
        return list(run(read_suite(tiny), [Card("net", build=fakes.build())], places))

    measure()
    before = snapshot(places.results)
    path = sorted((places.cache / "cells").iterdir())[2]
    if harm in {"half", "empty"}:
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2 if harm == "half" else 0])
    else:
        with np.load(path) as file:
            members = dict(file)
        if harm == "lengths":
            members["nll"] = members["nll"][:-1]
        elif harm == "members":
            del members["told"]
        else:
            members["told"] = np.array("{}")
        np.savez(path, **members)

    events = measure()

    notes = [e.message for e in events if isinstance(e, Note)]
    assert len(notes) == 1
    assert f"{path.name} was damaged" in notes[0]
    assert len([e for e in events if isinstance(e, CellStarted)]) == 1
    assert path.with_suffix(".broken").exists()
    (done,) = (e for e in events if isinstance(e, RecordDone))
    assert not done.written
    assert snapshot(places.results) == before
