"""Several cards, several seeds: in rounds, shared among processes, and written into the cards."""

from __future__ import annotations

import json
import tomllib

import pytest

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError
from robustbench_ms.subjects.training import Finished, Left, rounds, train, write_weights
from robustbench_ms.subjects.weights import file_digest

CARD = """\
build = "tests.{build}" # where it is from
untrained = true

[input]
mean = [0.3]
std = [0.3]

[recipe]
dataset = "digits"
epochs = 1
batch_size = 300
held_out = 0.1
"""


@pytest.fixture
def cards(tmp_path):
    for name, build in (
        ("one", "fakes:build"),
        ("two", "test_training:dropping"),
        ("bad", "test_training:failing"),
    ):
        (tmp_path / f"{name}.toml").write_text(CARD.format(build=build))
    text = (tmp_path / "bad.toml").read_text()
    (tmp_path / "bad.toml").write_text(text.replace("batch_size = 300", "batch_size = 50"))
    return {name: tmp_path / f"{name}.toml" for name in ("one", "two", "bad")}


def run(cards, names, seeds, folder, places):
    found = [find_card(str(cards[name])) for name in names]
    steps = []
    events = list(
        rounds(found, seeds, folder, places, device="cpu", progress=lambda *told: steps.append(told))
    )
    for event in (e for e in events if isinstance(e, Finished) and e.trained):
        mine = [told[2:] for told in steps if told[:2] == (event.card, event.seed)]
        assert mine == [(i, 3) for i in (1, 2, 3)]  # of 1,080 images, 300 at once
    return events


def test_every_card_has_its_first_seed_before_any_has_its_second(cards, tmp_path, places):
    folder = tmp_path / "weights"
    events = run(cards, ["one", "two"], [3, 0], folder, places)

    done = [e for e in events if isinstance(e, Finished)]
    assert [(e.card, e.seed, e.trained) for e in done] == [
        ("one", 3, True), ("two", 3, True), ("one", 0, True), ("two", 0, True),
    ]  # fmt: skip
    assert [e.file.name for e in done] == [f"{c}-{s}.safetensors" for s in (3, 0) for c in ("one", "two")]
    assert all(e.sha256 == file_digest(e.file) for e in done)
    list(train(find_card(str(cards["two"])), tmp_path / "alone.safetensors", places, seed=3, device="cpu"))
    assert file_digest(tmp_path / "alone.safetensors") == done[1].sha256

    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    again = run(cards, ["one", "two"], [3, 0], folder, places)
    assert [e.trained for e in again] == [False] * 4
    assert before == {p: p.stat().st_mtime_ns for p in folder.iterdir()}


def test_one_networks_fault_and_another_process_leave_the_rest(cards, tmp_path, places):
    busy = train(find_card(str(cards["one"])), tmp_path / "elsewhere.safetensors", places, device="cpu")
    next(busy)
    events = run(cards, ["bad", "one", "two"], [0], tmp_path / "weights", places)
    busy.close()

    left = [e for e in events if isinstance(e, Left)]
    assert [(e.card, e.busy) for e in left] == [("bad", False), ("one", True)]
    assert "the loss is nan in epoch 1, step 9 of 21" in left[0].reason
    assert "is being trained by process" in left[1].reason
    assert [e.card for e in events if isinstance(e, Finished)] == ["two"]


def test_a_file_of_another_training_is_not_taken_for_this_one(cards, tmp_path, places):
    folder = tmp_path / "weights"
    run(cards, ["one"], [0], folder, places)
    text = cards["one"].read_text()
    cards["one"].write_text(text.replace("batch_size = 300", "batch_size = 200"))
    with pytest.raises(
        UserError, match=r"one-0.safetensors is of card one, seed 0, and differs .* in recipe batch_size"
    ):
        run(cards, ["one"], [1, 0], folder, places)
    cards["one"].write_text(text)
    (folder / "one-0.safetensors").rename(folder / "one-1.safetensors")
    with pytest.raises(
        UserError, match=r"is of card one, seed 0, and differs .*seed 1.* in seed; move it away"
    ):
        run(cards, ["one"], [1], folder, places)
    with pytest.raises(UserError, match="the card one is given twice"):
        run(cards, ["one", "one"], [1], folder, places)
    with pytest.raises(UserError, match="the seed 1 is given twice"):
        run(cards, ["one"], [1, 1], folder, places)
    (folder / "two-0.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"two-0.safetensors is damaged or no file of weights"):
        run(cards, ["two"], [0], folder, places)


def test_weights_are_written_into_the_card_and_nothing_else_of_it_changes(cards, tmp_path):
    path, weights = cards["one"], tmp_path / "weights"
    weights.mkdir()
    card = find_card(str(path))
    for seed, digest in ((0, "a" * 64), (2, "b" * 64), (0, "c" * 64)):
        write_weights(card, seed, weights / f"one-{seed}.safetensors", digest)

    assert "# where it is from" in path.read_text()
    told, old = tomllib.loads(path.read_text()), tomllib.loads(CARD.format(build="fakes:build"))
    assert told.pop("weights") == [
        {"seed": 0, "file": "weights/one-0.safetensors", "sha256": "c" * 64},
        {"seed": 2, "file": "weights/one-2.safetensors", "sha256": "b" * 64},
    ]
    del old["untrained"]
    assert told == old
    assert path.read_text().count("\n\n\n") == 0
    with pytest.raises(UserError, match="does not lie under"):
        write_weights(card, 0, tmp_path.parent / "one-0.safetensors", "a" * 64)
    before = path.read_text()
    with pytest.raises(UserError, match="would be no card"):
        write_weights(card, 5, weights / "one-5.safetensors", "no digest")
    assert path.read_text() == before


def test_the_command_line_trains_in_rounds_and_writes_the_cards(rbms, cards, tmp_path):
    folder = tmp_path / "weights"
    call = ("train", cards["one"], cards["two"], "--seeds", "0,1", "-o", folder, "--device", "cpu")

    told = rbms(*call, "--write", "--json")
    events = [json.loads(line) for line in told.out.splitlines()]
    assert told.code == 0
    assert [e["event"] for e in events] == ["epoch", "finished"] * 4
    assert events[0]["number"] == events[0]["epochs"] == 1
    assert 0 <= events[0]["held_out"] <= 1
    assert [w.sha256 for w in find_card(str(cards["two"])).weights] == [
        file_digest(folder / f"two-{seed}.safetensors") for seed in (0, 1)
    ]
    again = rbms(*call)
    assert "two-1  is there already:" in again.err
    assert again.out.count("[[weights]]") == 4

    failed = rbms("train", cards["bad"], cards["one"], "-o", folder, "--device", "cpu")
    assert failed.code == 1
    assert "bad-0 was stopped: card bad: the loss is nan" in failed.err
    assert rbms("train", cards["one"], "--seeds", "0,x", "-o", folder).code == 2
    assert (
        "go into a folder" in rbms("train", cards["one"], "--seeds", "0", "-o", folder / "a.safetensors").err
    )
    assert (
        "exclude each other" in rbms("train", cards["one"], "--seeds", "0", "--seed", "1", "-o", folder).err
    )


def test_the_command_line_trains_one_card_and_says_what_it_needs(rbms, cards, tmp_path):
    card, output = cards["one"], tmp_path / "weights" / "net-0.safetensors"

    told = rbms("train", card, "-o", output, "--device", "cpu")
    as_json = rbms("train", card, "-o", output, "--device", "cpu", "--json")

    assert told.code == as_json.code == 0
    assert "one-0  epoch 1/1  loss" in told.err
    assert "images/s" in told.err
    last = json.loads(as_json.out.splitlines()[-1])
    assert last["event"] == "finished"
    assert (last["file"], last["sha256"], last["seed"]) == (str(output), file_digest(output), 0)
    assert output.stat().st_mode == card.stat().st_mode  # what people write is not their own alone
    card.write_text(card.read_text().replace("untrained = true\n", "") + "\n" + told.out)
    suite = tmp_path / "one-suite.toml"
    suite.write_text('dataset = "digits"\nlimit = 20\n')
    assert rbms("run", suite, "-m", card).code == 0
    assert rbms("train", "nets", "-o", output).code == 2
