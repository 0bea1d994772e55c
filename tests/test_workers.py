"""Several workers, several runs, and what becomes of them when some die: the records are those of one alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.events import CellDone, CellStarted, Note, RecordDone, Trouble
from robustbench_ms.evaluation.executors import EXECUTORS
from robustbench_ms.evaluation.executors.several import Merged
from robustbench_ms.evaluation.jobs import Conditions, Job
from robustbench_ms.evaluation.run import run, task_of
from robustbench_ms.evaluation.store import DIED, CacheStore
from robustbench_ms.evaluation.work import work
from robustbench_ms.records.comparison import Side
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import key
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from tests import fakes, queued
from tests.running import card_of, measure, only
from tests.warmed import forking

ROOT = Path(__file__).parent.parent


def places_at(folder):
    return Places(folder / "data", folder / "results", folder / "cache")


def of_module(name, called=None):
    """A card that any process can build."""
    return replace(find_card(f"tests.fakes:{name}"), name=called or name)


def told(folder, suite="tiny"):
    """What the records of a folder of results say, and their bits."""
    found = {}
    for path in sorted((folder / "results" / suite).glob("*.json")):
        record = read_record(path)
        Side.of(record)  # the bits beside it are its own
        found[path.stem] = record.answers(), record.samples().correct.tolist()
    return found


# several workers


WIDE = """\
dataset = "digits"
profile = "cifar"
limit = 24
[matrix]
corruption = ["brightness", "contrast", "fog", "gaussian_noise"]
severity = [1, 2, 3, 4, 5]
"""
NETWORKS = ("digits-resnet8@0", "digits-amsra-net@0", "digits-resnet8-ema@0")


# Those below start processes that import torch, some three seconds each: the first three take above ten together.


def test_workers_of_which_one_is_killed_end_in_the_record_of_one_alone(tmp_path):
    path = tmp_path / "wide.toml"
    path.write_text(WIDE)
    cards = [find_card(name) for name in NETWORKS]
    list(run(read_suite(path), cards, places_at(tmp_path / "alone"), Settings(threads=1)))

    events, killed = [], None
    for event in run(read_suite(path), cards, places_at(tmp_path / "two"), Settings(threads=1, workers=2)):
        events.append(event)
        if killed is None and len(only(events, CellDone)) == 20:
            killed = multiprocessing.active_children()[0]
            os.kill(killed.pid, signal.SIGKILL)

    assert told(tmp_path / "two", "wide-limit24") == told(tmp_path / "alone", "wide-limit24")
    assert any("died (signal 9" in note.message for note in only(events, Note))
    cells = [(event.key, event.card) for event in only(events, CellDone)]
    assert set(cells) <= {(key, card.name) for key in _keys(tmp_path, "wide-limit24") for card in cards}
    assert len(cells) <= 63 + 3  # at most one job is repeated
    assert not list((tmp_path / "two" / "cache" / "runs").iterdir())


def test_workers_on_a_cache_that_cannot_be_written_read_what_is_finished(tiny, places, tmp_path, monkeypatch):
    """Where the run's own folder cannot be made it lies elsewhere, and nothing of it stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cards = [of_module("build", "net")]
    list(run(read_suite(tiny), cards, places, Settings(threads=1)))
    (places.cache / "runs").write_text("in the way")

    events = list(run(read_suite(tiny), cards, places, Settings(threads=1, workers=2)))

    assert not only(events, CellStarted)
    assert [done.written for done in only(events, RecordDone)] == [False]
    assert not list(tmp_path.glob("rbms-run-*"))


def _keys(folder, suite):
    record = read_record(next((folder / "alone" / "results" / suite).glob("*.json")))
    return [m.key for m in record.measurements]


def test_a_model_that_kills_its_process_is_stopped_by_name_and_costs_no_other_its_numbers(tiny, tmp_path):
    good = [of_module("build", "good"), of_module("other", "fine")]
    list(run(read_suite(tiny), good, places_at(tmp_path / "alone"), Settings(threads=1)))
    bad = [of_module("segfaults", "bad"), of_module("segfaults_at_once", "worse")]

    events = list(
        run(
            read_suite(tiny),
            [*bad, *good],
            places_at(tmp_path / "two"),
            Settings(threads=1, workers=2, batch_size=8),
        )
    )

    stopped = {event.card: event.message for event in only(events, Trouble)}
    assert stopped.keys() == {"bad", "worse"}
    assert stopped["worse"] == f"probe: {DIED}"
    assert stopped["bad"].endswith(DIED)
    found, alone = told(tmp_path / "two"), told(tmp_path / "alone")
    assert found.keys() == {"bad", "good", "fine"}
    assert {name: found[name] for name in alone} == alone
    (broken,) = [m for m in found["bad"][0]["measurements"] if m["error"]]
    assert broken["error"] == DIED


def test_what_several_workers_cannot_load_is_told_once():
    merged, trouble = Merged(), Trouble("bad", "no module named 'nowhere'")
    told = [
        Trouble("bad", "no module named 'nowhere'"),
        Trouble("bad", "clean: NaN"),
        Trouble("worse", "clean: NaN"),
    ]

    assert [new for event in (trouble, *told) for new in merged.new(event)] == [trouble, *told[1:]]


def test_what_cannot_be_sent_is_refused_with_what_to_do(tiny, places):
    def closure():
        return fakes.build()

    with pytest.raises(
        UserError, match=r'model mine is at hand in this process alone .* give it as "package\.module'
    ):
        list(run(read_suite(tiny), [Card("mine", build=closure)], places, Settings(workers=2)))


def test_a_script_without_a_guard_is_told_so_and_runs_once(tiny, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nimport robustbench_ms as rbms\nprint('once')\n"
        f"rbms.run({str(tiny)!r}, 'tests.fakes:build', workers=2, results={str(tmp_path / 'r')!r}, "
        f"cache={str(tmp_path / 'c')!r})\n"
    )

    found = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert found.returncode != 0
    assert 'if __name__ == "__main__":' in found.stderr
    assert not list((tmp_path / "c" / "cells").glob("*.npz"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"executor": "devcies"}, "no executor named 'devcies'; did you mean 'devices'"),
        ({"executor": "local", "workers": 2}, "executor local is one worker"),
        ({"threads": 0}, "threads must be 1 or more"),
        ({"workers": 0}, "workers must be 1 or more"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tiny, places, options, words):
    with pytest.raises(UserError, match=words):
        measure(tiny, [card_of(fakes.build())], places, **options)
    assert not places.cache.exists()


# several runs


def several(context, jobs):
    """Run them at once, each in a process of its own; the exit codes and the cells that each finished."""
    finished = context.SimpleQueue()
    started = [context.Process(target=_runs, args=(finished, i, *job)) for i, job in enumerate(jobs)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    cells = {}
    while not finished.empty():
        number, key, card = finished.get()
        cells.setdefault(number, []).append((key, card))
    return [process.exitcode for process in started], cells


def _runs(finished, number, suite, names, places, threads, fatal):
    cards = [of_module(name) for name in names]
    for event in run(read_suite(suite), cards, places, Settings(threads=threads, batch_size=20)):
        if isinstance(event, CellStarted):
            fatal -= 1
            if fatal == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(event, CellDone):
            finished.put((number, event.key, event.card))


@pytest.fixture(scope="module")
def processes():
    return forking()


@pytest.mark.parametrize(("count", "fatal"), [(2, 0), (4, 0), (4, 1)])
def test_equal_runs_at_once_measure_each_cell_once(tiny, tmp_path, processes, count, fatal):
    """Where one is killed, the others go on without a wait, and its cell is measured by one of them."""
    names, places = ("Sleepy", "other"), places_at(tmp_path / "both")
    jobs = [(tiny, names, places, 1, fatal if i == 0 else 0) for i in range(count)]
    codes, cells = several(processes, jobs)

    assert codes == [-signal.SIGKILL if fatal else 0, *[0] * (count - 1)]
    done = [cell for found in cells.values() for cell in found]
    assert len(done) == len(set(done)) == 10
    list(
        run(
            read_suite(tiny),
            [of_module(n) for n in names],
            places_at(tmp_path / "alone"),
            Settings(threads=1),
        )
    )
    assert told(tmp_path / "both") == told(tmp_path / "alone")


def test_runs_that_share_some_models_share_their_cells(tiny, tmp_path, processes):
    places = places_at(tmp_path / "both")
    jobs = [(tiny, ("Sleepy", "other"), places, 1, 0), (tiny, ("Sleepy", "Probabilities"), places, 1, 0)]
    codes, cells = several(processes, jobs)

    assert codes == [0, 0]
    done = [cell for found in cells.values() for cell in found]
    assert len(done) == len(set(done)) == 15
    assert told(tmp_path / "both").keys() == {"Sleepy", "other", "Probabilities"}


def test_runs_of_unlike_threads_leave_whole_records(write_suite, tmp_path, processes):
    path, places = write_suite(), places_at(tmp_path / "both")
    jobs = [(path, ("Sleepy",), places, threads, 0) for threads in (1, 2)]
    codes, _ = several(processes, jobs)

    assert codes == [0, 0]
    (answers, bits) = told(tmp_path / "both")["Sleepy"]
    assert len(answers["measurements"]) == len(bits) == 5


# the seam for others


@pytest.fixture
def _queued():
    if "queued" not in EXECUTORS:
        EXECUTORS.register("queued", "tests.queued:execute")
    queued.HANDED_OUT.clear()


@pytest.mark.usefixtures("_queued")
def test_an_executor_of_another_kind_ends_in_the_same_record(tiny, tmp_path):
    cards = [of_module("build", "a"), of_module("StuckNorm", "warned"), of_module("nan_later", "nan")]
    list(run(read_suite(tiny), cards, places_at(tmp_path / "alone"), Settings(threads=1)))
    places = places_at(tmp_path / "queued")
    half = replace(read_suite(tiny), matrix={"corruption": ("brightness",), "severity": (1, 3)})
    list(run(half, cards[:2], places, Settings(threads=1)))

    events = list(run(read_suite(tiny), cards, places, Settings(threads=1, executor="queued")))

    assert len(queued.HANDED_OUT) == 5
    assert len([e for e in only(events, CellDone) if e.card != "nan"]) == 4  # the other half alone
    found, alone = told(tmp_path / "queued"), told(tmp_path / "alone")
    assert found == alone
    assert found["warned"][0]["health"]["warnings"]
    assert [m["error"] for m in found["nan"][0]["measurements"] if m["error"]]
    assert len(only(events, RecordDone)) == 3


def test_a_worker_that_answers_otherwise_hands_the_model_back(tiny, places):
    """As one with another number of threads may: no record mixes who answered."""
    suite = read_suite(tiny)
    shown = Conditions(suite, task_of(suite), places)
    cells = places.writable(places.cache / "cells", "cache")
    first, second = (CacheStore(cells, Claims(cells)) for _ in range(2))
    cards = [card_of(fakes.build(), "same"), card_of(fakes.other(), "apart")]
    jobs = [Job(condition, ("same", "apart")) for condition in shown.conditions]
    list(work(shown, cards, jobs[:1], first, Settings()))
    report = first.pins["apart"]
    second.pins = {
        **first.pins,
        "apart": replace(report, subject="f" * 16, environment=replace(report.environment, threads=64)),
    }

    events = list(work(shown, cards, jobs, second, Settings()))

    (note,) = [n.message for n in only(events, Note) if "apart" in n.message]
    assert "this worker's raw answers are others than the first one's (threads" in note
    assert {event.card for event in only(events, CellDone)} == {"same"}
    assert not second.failures


def test_a_worker_whose_model_has_another_attribute_goes_on_with_the_same_cells(tiny, places):
    """A process number for one: each worker would keep cells of its own, and the record would lack the others'."""
    suite = read_suite(tiny)
    shown = Conditions(suite, task_of(suite), places)
    cells = places.writable(places.cache / "cells", "cache")
    first, second = (CacheStore(cells, Claims(cells)) for _ in range(2))
    jobs = [Job(condition, ("net",)) for condition in shown.conditions]

    def worked(store, jobs, process):
        model = fakes.build()
        model.process = process
        return list(work(shown, [card_of(model, "net")], jobs, store, Settings()))

    worked(first, jobs[:2], 1)
    second.pins = dict(first.pins)
    events = worked(second, jobs, 2)

    assert [event.key for event in only(events, CellDone)] == [key(job.condition) for job in jobs[2:]]
    kept = first.pins["net"].cells
    assert kept != first.pins["net"].subject
    assert {path.stem.rpartition("-")[2] for path in cells.glob("*.npz")} == {kept}


def test_a_worker_with_other_data_measures_none_of_it(tiny, places):
    suite = read_suite(tiny)
    shown = Conditions(suite, task_of(suite), places)
    cells = places.writable(places.cache / "cells", "cache")
    store = CacheStore(cells, Claims(cells), data={"clean": "other"})
    jobs = [Job(condition, ("net",)) for condition in shown.conditions]

    events = list(work(shown, [card_of(fakes.build(), "net")], jobs, store, Settings()))

    assert {event.key for event in only(events, CellDone)} == {
        f"corruption={c},severity={s}" for c in ("brightness", "contrast") for s in (1, 3)
    }
    assert any("other data than the first one" in note.message for note in only(events, Note))


# what is compared before anything runs


def test_conditions_of_unlike_samples_are_refused_before_anything_runs(places, write_suite, pictures):
    """As a published corrupted set is, of which one file was cut off."""
    folder = places.data / "CIFAR-10-C"
    folder.mkdir(parents=True)
    (places.data / "cifar10").mkdir()
    np.save(places.data / "cifar10" / "test_images.npy", pictures[0])
    np.save(places.data / "cifar10" / "test_labels.npy", pictures[1])
    np.save(folder / "labels.npy", np.tile(pictures[1][::-1], 5))
    np.save(folder / "fog.npy", np.tile(pictures[0], (5, 1, 1, 1)))
    path = write_suite(
        "disk",
        [
            ('"arrays"', '"cifar10-c"'), ('profile = "cifar"\n', ""), ('["brightness", "contrast"]', '["fog"]'),
            ('[files]\nimages = "images.npy"\nlabels = "labels.npy"\n', ""),
        ],
    )  # fmt: skip

    with pytest.raises(
        UserError, match="corruption=fog,severity=1 has other labels, and clean has 40; all conditions"
    ):
        measure(path, [card_of(fakes.build())], places)
    assert not list(places.cache.rglob("*.npz"))
