"""The cache of finished cells: a file that was cut off or changed is noticed, set aside and measured again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import BadFile
from robustbench_ms.evaluation import cells as module
from robustbench_ms.evaluation.cells import (
    CellFacts,
    FinishedCell,
    cell_facts,
    load_cell,
    old_cells,
    read_cell,
    save_cell,
)
from robustbench_ms.evaluation.events import CellStarted, Note, RecordDone
from robustbench_ms.evaluation.run import run
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.specs.card import Card
from robustbench_ms.tasks.outcomes import Items, Outcomes
from tests import fakes
from tests.records import ENVIRONMENT


def cell_of(n=40):
    random = np.random.default_rng(n)
    boxes = np.sort(random.integers(0, n, 3 * n))
    return FinishedCell(
        values={"accuracy": {"mean": 0.25, "stderr": 0.1}, "nll": {"mean": 1 / 3, "stderr": float("nan")}},
        outcomes=Outcomes(
            {
                "prediction": random.integers(0, 10, n, dtype=np.int32),
                "confidence": random.random(n, dtype=np.float32),
                "correct": random.random(n) < 0.5,
                "nll": random.random(n, dtype=np.float32),
            },
            {
                "detections": Items(boxes, {"box": random.random((3 * n, 4)), "label": boxes % 7}),
                "truths": Items(boxes[:0], {"box": np.zeros((0, 4))}),
            },
        ),
        n=n,
        seconds={"data": 0.1, "model": 2.0},
        absent={"ap_small": "no small object"},
        kept={"ap/replicates": random.random(20, dtype=np.float32)},
        question={"task": "classification", "n": n, "sizes": [1, 2]},
        weights="ab" * 32,
        environment=ENVIRONMENT,
    )


def same(one, other):
    """Whether two cells are equal, arrays and all."""

    def arrays(cell):
        return {name: (rows.dtype.str, rows.tolist()) for name, rows in module._arrays(cell).items()}

    def facts(cell):
        return repr(replace(cell, outcomes=None, kept={}))

    return arrays(one) == arrays(other) and facts(one) == facts(other)


def rewritten(path, change=None, *, digest=True, **members):
    """Change the header of a cell and its arrays (None takes one away), and make the digest fit, or not."""
    with np.load(path) as file:
        kept = dict(file)
    told = json.loads(str(kept.pop("cell")))
    if change is not None:
        change(told)
    kept = {name: rows for name, rows in (kept | members).items() if rows is not None}
    if digest:
        told["arrays"] = module.arrays_digest(kept)
        told.pop("digest")
        told["digest"] = content_digest(told)
    np.savez(path, cell=np.array(json.dumps(told)), **kept)


def test_a_finished_cell_is_read_as_it_was_kept(tmp_path):
    cell = cell_of()

    save_cell(tmp_path, "p" * 16, "s" * 16, cell)
    found, damage = load_cell(tmp_path, "p" * 16, "s" * 16)

    assert damage is None
    assert same(found, cell)
    path = tmp_path / f"{'p' * 16}-{'s' * 16}.npz"
    assert list(tmp_path.iterdir()) == [path]
    assert load_cell(tmp_path, "q" * 16, "s" * 16) == (None, None)
    assert load_cell(tmp_path / "absent", "p", "s") == (None, None)
    assert load_cell(path, "p", "s") == (None, None)
    with np.load(path) as file:
        assert set(file.files) == {
            "cell", "prediction", "confidence", "correct", "nll", "detections/owner", "detections/box",
            "detections/label", "truths/owner", "truths/box", "kept/ap/replicates",
        }  # fmt: skip


def test_what_a_cell_is_of_is_known_without_its_arrays(tmp_path):
    save_cell(tmp_path, "p", "s", cell_of())
    path = tmp_path / "p-s.npz"

    assert cell_facts(path) == CellFacts(
        "p", "s", {"task": "classification", "n": 40, "sizes": [1, 2]}, "ab" * 32, None, 40
    )
    path.write_bytes(path.read_bytes()[:100])
    assert cell_facts(path) is None
    assert cell_facts(tmp_path / "absent.npz") is None


@pytest.mark.parametrize("spelling", ["keys", "spaces", "floats"])
def test_the_header_may_be_spelled_otherwise(tmp_path, spelling):
    cell = replace(cell_of(), values={"accuracy": {"mean": 1.0, "stderr": 0.0}})
    save_cell(tmp_path, "p", "s", cell)
    path = tmp_path / "p-s.npz"
    with np.load(path) as file:
        members = dict(file)
    told = json.loads(str(members.pop("cell")))
    text = {
        "keys": json.dumps(dict(reversed(told.items()))),
        "spaces": json.dumps(told, indent=3),
        "floats": json.dumps(told).replace('"mean": 1.0', '"mean": 1').replace("0.1", "1e-1"),
    }[spelling]
    assert text != json.dumps(told)
    np.savez_compressed(path, cell=np.array(text), **members)

    assert same(read_cell(path), cell)


def edited(name, value):
    def change(told):
        told[name] = value

    return change


WRONG = {
    "an edited accuracy": (
        {"change": edited("values", {"accuracy": {"mean": 0.9, "stderr": 0.1}}), "digest": False},
        "its digest does not fit",
    ),
    "another n": ({"change": edited("n", 41)}, "unequal length"),
    "another question": ({"change": edited("question", {}), "digest": False}, "its digest does not fit"),
    "no number": (
        {"change": edited("values", {"accuracy": {"mean": float("nan"), "stderr": 0.1}}), "digest": False},
        "Out of range float values",
    ),
    "null": ({"change": edited("values", {"nll": {"mean": None, "stderr": None}})}, "the mean of nll is no number"),
    "another's place": ({"change": edited("subject", "t")}, "it is another's: of protocol p and subject t"),
    "a newer form": ({"change": edited("format", 3)}, "its header is of no format"),
    "a missing column": ({"nll": None, "digest": False}, "its array nll is missing"),
    "a missing owner": ({"truths/owner": None}, "its array truths/owner is missing"),
    "a strange array": ({"nllx": np.zeros(40)}, "its array nllx is none of its own"),
    "edited bits": ({"correct": np.ones(40, bool), "digest": False}, "its digest does not fit"),
    "another dtype": ({"nll": np.zeros(40), "digest": False}, "its digest does not fit"),
    "edited replicates": ({"kept/ap/replicates": np.zeros(20, np.float32), "digest": False}, "its digest does not fit"),
    "strange owners": ({"detections/owner": np.full(120, 40)}, "its table detections has owners that are no samples"),
    "uneven items": ({"detections/label": np.zeros(119)}, "unequal length"),
}  # fmt: skip


@pytest.mark.parametrize(("harm", "words"), WRONG.values(), ids=WRONG)
def test_a_cell_that_is_not_as_it_was_kept_is_set_aside(tmp_path, harm, words):
    save_cell(tmp_path, "p", "s", cell_of())
    rewritten(tmp_path / "p-s.npz", **harm)

    with pytest.raises(BadFile, match=words):
        read_cell(tmp_path / "p-s.npz")
    assert (tmp_path / "p-s.npz").exists()
    found, damage = load_cell(tmp_path, "p", "s")
    assert found is None
    assert words in damage
    assert damage.endswith("set aside as p-s.broken, measured again")
    assert [p.name for p in tmp_path.iterdir()] == ["p-s.broken"]


def test_a_copied_cell_is_not_taken_for_anothers(tmp_path):
    save_cell(tmp_path, "p", "s", cell_of())
    (tmp_path / "q-s.npz").write_bytes((tmp_path / "p-s.npz").read_bytes())

    found, damage = load_cell(tmp_path, "q", "s")

    assert found is None
    assert "it is another's: of protocol p and subject s" in damage
    assert load_cell(tmp_path, "p", "s")[0] is not None


@pytest.mark.parametrize(
    "change",
    [
        {"values": {"accuracy": {"mean": float("nan"), "stderr": 0.1}}},
        {"outcomes": Outcomes({"a/b": np.zeros(40)})},
        {"outcomes": Outcomes({"cell": np.zeros(40)})},
        {"outcomes": Outcomes({}, {"kept": Items(np.zeros(0, np.int64), {})})},
        {"outcomes": Outcomes({"words": np.array([{}] * 40)})},
    ],
)
def test_what_is_no_cell_is_not_kept(tmp_path, change):
    with pytest.raises(ValueError, match=r"no name for|is nan|no bytes"):
        save_cell(tmp_path, "p", "s", replace(cell_of(), **change))
    assert list(tmp_path.iterdir()) == []


def test_cells_of_the_old_form_are_counted_and_not_read(tmp_path, tiny, places):
    told = json.dumps({"values": {}, "n": 3, "seconds": {}})
    np.savez(tmp_path / "p-s.npz", told=np.array(told), correct=np.ones(3, bool))
    before = (tmp_path / "p-s.npz").read_bytes()

    assert load_cell(tmp_path, "p", "s") == (None, None)
    assert (tmp_path / "p-s.npz").read_bytes() == before
    save_cell(tmp_path, "q", "s", cell_of())
    (tmp_path / "r-s.npz").write_bytes(b"")
    assert old_cells(tmp_path) == 1
    assert old_cells(tmp_path / "absent") == 0

    folder = places.cache / "cells"
    folder.mkdir(parents=True)
    (folder / "p-s.npz").write_bytes(before)
    notes = [
        e.message
        for e in run(read_suite(tiny), [Card("net", build=fakes.build())], places)
        if isinstance(e, Note)
    ]
    old, shown = notes
    assert old == f"1 finished cells in {folder} are of an older form, which is not read; delete them"
    assert shown.startswith("model net: its input: RGB in 0..1")


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
        assert same(found, cell)


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
            del members["cell"]
        else:
            members["cell"] = np.array("{}")
        np.savez(path, **members)

    events = measure()

    notes = [e.message for e in events if isinstance(e, Note)]
    shown, damage = notes
    assert shown.startswith("model net: its input: ")
    assert f"{path.name} was damaged" in damage
    assert len([e for e in events if isinstance(e, CellStarted)]) == 1
    assert path.with_suffix(".broken").exists()
    (done,) = (e for e in events if isinstance(e, RecordDone))
    assert not done.written
    assert snapshot(places.results) == before
