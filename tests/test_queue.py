"""The parent's queue and its workers, over threads in place of Ray: who is handed what, what deaths and others cost."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.checking import check
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.events import CellDone, CellStarted, Note, Planned, RecordDone, Trouble
from robustbench_ms.evaluation.executors import actor, queue, ray, sending
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.executors.queue import Queue, QueueStore, Turn
from robustbench_ms.evaluation.jobs import Conditions, Job
from robustbench_ms.evaluation.run import run, task_of
from robustbench_ms.evaluation.store import DIED
from robustbench_ms.specs.card import Card, Output, Weights
from robustbench_ms.specs.engines import Engine
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.subjects.weights import find_weights
from tests import boxes, fakes, threaded_ray
from tests.running import card_of, only
from tests.test_workers import of_module, places_at, told

TWO = Settings(threads=1, on=Engine.read("ray:workers=2"))


@pytest.fixture
def threaded(monkeypatch):
    """Ray's place is taken by threads."""
    monkeypatch.setattr(ray, "_imported", lambda: threaded_ray)
    monkeypatch.setattr(actor, "_fetched", lambda files, file: files[file.sha256][0].result())
    threaded_ray.ACTORS.clear()
    threaded_ray.MORTAL.clear()
    return threaded_ray


@pytest.fixture
def weighted(tmp_path):
    """A card whose weights lie in a file of the parent's alone."""
    folder = tmp_path / "parents"
    folder.mkdir()
    fakes.weights_of(fakes.Coarse(seed=3), folder)
    return replace(of_module("build", "weighted"), weights=(Weights("w.safetensors"),), folder=folder)


def cells_of(places):
    return sorted(path.name for path in (places.cache / "cells").glob("*.npz"))


@pytest.mark.usefixtures("threaded")
def test_cells_come_home_and_records_are_those_of_one_alone(tiny, tmp_path, weighted):
    cards = [weighted, of_module("StuckNorm", "warned"), of_module("nan_at_once", "nan")]
    list(run(read_suite(tiny), cards, places_at(tmp_path / "alone"), Settings(threads=1)))
    places = places_at(tmp_path / "home")

    events = list(run(read_suite(tiny), cards, places, TWO))

    assert told(tmp_path / "home") == told(tmp_path / "alone")
    assert cells_of(places) == cells_of(places_at(tmp_path / "alone"))
    assert not list((tmp_path / "cache").rglob("cells/*.npz"))  # the workers' own
    assert only(events, Planned) == [Planned(15, 0, 15 * 40)]
    done = [(event.key, event.card) for event in only(events, CellDone)]
    assert len(done) == len(set(done)) == 10
    assert {event.card for event in only(events, Trouble)} == {"nan"}


@pytest.mark.usefixtures("threaded")
def test_what_is_true_of_detections_comes_home_too(tmp_path):
    """`rbms check` measures cells again by it; the data set is one that was registered here."""
    boxes.register()
    path = tmp_path / "found.toml"
    path.write_text(boxes.SUITE)
    card = Card("finds", build="tests.boxes.model:finds", tasks=("detection",), output=Output(score=0.05))

    events = list(run(read_suite(path).limited(8), [card], places_at(tmp_path / "home"), TWO))

    assert len(only(events, CellDone)) == 5
    names = [sorted(path.name for path in folder.glob("*.npz")) for folder in tmp_path.rglob("truths")]
    assert len(names) == 2  # the workers' own, and the parent's
    assert names[0] == names[1] != []
    (checked,) = check([tmp_path / "home" / "cache"])
    assert (checked.cells, checked.faults, checked.notes) == (5, (), ())


def test_a_worker_that_dies_costs_one_job_and_no_number(tiny, tmp_path, threaded):
    cards = [of_module("build", "a"), of_module("other", "b")]
    list(run(read_suite(tiny), cards, places_at(tmp_path / "alone"), Settings(threads=1)))
    threaded.MORTAL[0] = 16

    events = list(run(read_suite(tiny), cards, places_at(tmp_path / "home"), TWO))

    assert told(tmp_path / "home") == told(tmp_path / "alone")
    assert len(threaded.ACTORS) == 3
    (note,) = [event.message for event in only(events, Note) if "died" in event.message]
    assert note.startswith("worker 0 on ")
    assert note.endswith("died; another takes its place")
    assert len(only(events, CellDone)) <= 12


def test_what_is_finished_is_not_measured_again_by_a_parent_that_is_started_again(tiny, tmp_path, threaded):
    cards, places, first = [of_module("build", "a"), of_module("other", "b")], places_at(tmp_path / "home"), 0
    events = run(read_suite(tiny), cards, places, TWO)
    for event in events:
        first += isinstance(event, CellDone)
        if first == 4:
            events.close()
            break
    kept = len(cells_of(places))

    again = list(run(read_suite(tiny), cards, places, TWO))

    assert len(only(again, CellDone)) == 10 - kept
    assert len(cells_of(places)) == 10
    assert {event.record.name for event in only(again, RecordDone)} == {"a", "b"}


@pytest.mark.usefixtures("threaded")
def test_a_run_that_is_closed_leaves_no_cell_claimed(tiny, tmp_path):
    """The process lives on, and with it whatever it holds: the next run would wait for nobody."""
    cards, places = [of_module("build", "a"), of_module("other", "b")], places_at(tmp_path / "home")
    events = run(read_suite(tiny), cards, places, TWO)
    next(event for event in events if isinstance(event, CellStarted))
    events.close()

    for event in run(read_suite(tiny), cards, places, TWO):
        assert not (isinstance(event, Note) and "waiting" in event.message), event.message
    assert len(cells_of(places)) == 10


# what workers lack


@pytest.mark.usefixtures("threaded")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("versions", r"worker \d on \S+: Python is 2\.7 here and 3\.\d+ where the run was started"),
        ("damage", "what it was sent came damaged"),
        ("weights", r"model weighted: w\.safetensors came damaged"),
        ("device", "the device cpu does not compute"),
        ("module", "model lost: no module named 'nowhere'"),
        ("data", r"images\.npy"),
        ("other", r"its data set arrays in .* shows 39 samples instead of 40: copy there"),
        ("labels", r"its data set arrays in .* shows other samples or labels"),
    ],
)
def test_a_worker_that_lacks_something_says_what(
    write_suite, tmp_path, weighted, monkeypatch, pictures, what, words
):
    path, cards = write_suite(), [weighted]
    honest = sending.unpacked
    if what == "versions":
        mine = sending._versions()
        monkeypatch.setattr(
            sending, "_versions", lambda: {**mine, "Python": "2.7"} if _on_a_worker() else mine
        )
    elif what == "damage":
        monkeypatch.setattr(actor, "unpacked", lambda sent: honest(sent[:-1] + b"?"))
    elif what == "weights":
        monkeypatch.setattr(
            "robustbench_ms.evaluation.executors.actor._fetched", lambda files, file: b"other"
        )
    elif what == "device":
        monkeypatch.setattr(sending.torch, "ones", _fails)
    elif what == "module":
        cards = [Card("lost", build="nowhere:build")]
    else:
        monkeypatch.setattr(actor, "opened", _elsewhere(path, tmp_path, pictures, what))

    with pytest.raises(UserError, match=words) as found:
        list(run(read_suite(path), cards, places_at(tmp_path / "home"), TWO))
    assert "\n" not in str(found.value)
    assert "no worker is left: worker" in str(found.value)


def _on_a_worker():
    import threading

    return threading.current_thread() is not threading.main_thread()


def _fails(*_, **__):
    raise RuntimeError("no kernel image is available\nmore lines")


def _elsewhere(path, tmp_path, pictures, what):
    """`opened` as on a node whose files are others, or not there."""
    folder = tmp_path / "node"
    folder.mkdir()
    images, labels = pictures
    if what == "other":
        images, labels = images[:39], labels[:39]
    if what != "data":
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", labels[::-1] if what == "labels" else labels)

    def opened(order, places):
        return sending.opened(replace(order, suite=replace(order.suite, folder=folder)), places)

    return opened


@pytest.mark.usefixtures("threaded")
def test_a_model_at_hand_is_refused_with_what_to_do(tiny, places):
    with pytest.raises(
        UserError, match=r'model mine is at hand in this process alone .* give it as "package\.module'
    ):
        list(run(read_suite(tiny), [Card("mine", build=lambda: fakes.Coarse(0))], places, TWO))


@pytest.mark.parametrize(
    ("on", "device", "words"),
    [
        ("ray:cpus=64", None, "no node of the Ray cluster has 64 cores for a worker; the largest has 2"),
        ("ray", "cuda", "no node of the Ray cluster has a GPU"),
        ("ray", "cuda:1", "Ray chooses the device of a worker: --device is cuda or cpu with it, not cuda:1"),
    ],
)
@pytest.mark.usefixtures("threaded")
def test_what_the_cluster_has_not(tiny, places, on, device, words):
    with pytest.raises(UserError, match=words):
        list(run(read_suite(tiny), [of_module("build")], places, Settings(device, on=Engine.read(on))))


# the queue by itself


@pytest.fixture
def queued(tiny, places):
    suite = read_suite(tiny)
    shown = Conditions(suite, task_of(suite), places)
    cells = places.writable(places.cache / "cells", "cache")
    cards = [card_of(fakes.build(), "a"), card_of(fakes.other(), "b")]
    jobs = [Job(condition, ("a", "b")) for condition in shown.conditions]
    made = Queue(Run(shown, cards, jobs, Settings(), cells, Claims(cells)))

    def worker(*answers):
        store = QueueStore(made)
        store.answers |= set(answers)
        return store

    return made, worker


def test_cards_that_a_worker_does_not_answer_are_left_to_others(queued):
    made, worker = queued
    one, both = worker("a"), worker("a", "b")

    assert [one.take().cards for _ in range(5)] == [("a",)] * 5
    assert [both.take().cards for _ in range(5)] == [("b",)] * 5
    assert one.take() is both.take() is Turn.END  # they look at their own again
    assert made.left() == {"a": 5, "b": 5}


def test_what_a_dead_worker_had_comes_first_again_and_who_waits_is_told(queued):
    made, worker = queued
    first, second = worker("a", "b"), worker("a", "b")
    had = first.take()
    for _ in range(4):
        name = queue.key(second.take().condition)
        for card in ("a", "b"):
            made.done(name, card)
    assert second.take() is Turn.WAIT
    made.stirred = False

    first.died()

    assert made.stirred
    assert second.take() == had


def test_two_deaths_at_a_cell_stop_its_model_alone(queued):
    _, worker = queued
    for deaths in (0, 1):
        store = worker("a", "b")
        name = queue.key(store.take().condition)
        claimed = store.claim("p", {"a": "s", "b": "t"}, name)
        assert claimed.ours == (("a", "b") if deaths == 0 else ("a",))  # after a death one at a time
        store.died()
    store = worker("a", "b")
    name = queue.key(store.take().condition)
    store.claim("p", {"a": "s", "b": "t"}, name)

    assert store.failures == {"a": (name, DIED)}


def test_a_worker_with_other_data_of_one_condition_gets_the_others(queued):
    _, worker = queued
    first, apart = worker("a", "b"), worker("a", "b")
    name = queue.key(first.take().condition)
    first.pin_data(name, "digest")
    first.died()

    assert queue.key(apart.take().condition) == name
    assert apart.pin_data(name, "another") == "digest"
    assert queue.key(apart.take().condition) != name
    assert queue.key(worker("a").take().condition) == name


def test_what_is_true_of_data_comes_home_once(queued, tmp_path):
    _, worker = queued
    store = worker()
    assert store.lacks_truth("x-4.npz")
    store.keep_truth("x-4.npz", b"whole")
    assert not store.lacks_truth("x-4.npz")
    assert (store.folder.parent / "truths" / "x-4.npz").read_bytes() == b"whole"


def test_places_are_the_parents_where_they_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("RBMS_DATA", str(tmp_path / "own"))
    (tmp_path / "data").mkdir()

    assert sending.places_here(Places(tmp_path / "data", tmp_path, tmp_path)).data == tmp_path / "data"
    assert sending.places_here(Places(tmp_path / "gone", tmp_path, tmp_path)).data == tmp_path / "own"
    assert sending.places_here(Places(tmp_path / "gone", tmp_path, tmp_path)).cache == tmp_path / "cache"
    said = {"imagenet": tmp_path / "data", "imagenet-r": tmp_path / "gone"}
    assert sending.places_here(Places(tmp_path, tmp_path, tmp_path, said)).named == {
        "imagenet": tmp_path / "data"
    }


def test_a_folder_of_a_model_travels_whole(tmp_path):
    folder = tmp_path / "net"
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "inner" / "w.bin").write_bytes(b"w")
    card, files = sending.travelling(
        Card("net", build="hf:net", weights=(Weights(str(folder)),)), places_at(tmp_path)
    )
    order = pickle.loads(pickle.dumps(sending.Order(None, [card], {"net": files}, [], None, None, "", 0, {})))

    (there,) = sending.placed(order, tmp_path / "node", lambda file: file.path.read_bytes())

    assert there.weights[0].file == "net"
    assert (there.folder / "net" / "inner" / "w.bin").read_bytes() == b"w"
    list(sending.placed(order, tmp_path / "node", _fails))  # what is there is not fetched again


def test_weights_of_an_installed_package_travel_as_a_file(tmp_path, monkeypatch):
    package = tmp_path / "site" / "some_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "w.pth").write_bytes(b"w")
    monkeypatch.syspath_prepend(tmp_path / "site")
    weights = Weights("models/w.pth", package="some_weights", by="position")
    card, files = sending.travelling(
        Card("net", build="timm:resnet18", weights=(weights,)), places_at(tmp_path)
    )
    order = sending.Order(None, [card], {"net": files}, [], None, None, "", 0, {})

    (there,) = sending.placed(order, tmp_path / "node", lambda file: file.path.read_bytes())

    assert there.weights[0] == replace(weights, file="w.pth", package=None)
    assert find_weights(there.weights[0], there, places_at(tmp_path)).read_bytes() == b"w"


def test_a_config_of_mmdet_does_not_travel(tmp_path):
    with pytest.raises(UserError, match=r"model net: a config of mmdet does not travel"):
        sending.travelling(Card("net", build="mmdet:net.py"), places_at(tmp_path))
