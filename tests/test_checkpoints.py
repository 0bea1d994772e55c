"""Checkpoints as people have them: which weights are taken, what is said of it, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import re

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.cards import read_card, write_card
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.subjects.checkpoints import read_checkpoint
from robustbench_ms.subjects.weights import load_into, state_digest
from tests import checkpoints
from tests.checkpoints import EMA, EXPECTED, RAW, SOME, Net, digest_of, make, named, outcome
from tests.trials.sections import PAGE


@pytest.mark.parametrize("name", SOME)
def test_a_dozen_of_them(name, tmp_path):
    assert outcome(name, tmp_path)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_each_of_the_thirty_in_a_run(name, tiny, rbms, tmp_path):
    path, expected = make(name, tmp_path), EXPECTED[name]

    found = rbms("run", tiny, "-m", "tests.checkpoints:build", "--weights", path)

    if isinstance(expected, str):
        assert (found.code, "Traceback" in found.err) == (2, False)
        assert expected in found.err
    elif name == "nan.pt":
        assert found.code != 0
        assert "NaN" in found.err
    else:
        assert found.code == 0, found.err
        (record,) = (tmp_path / "results" / "tiny").glob("*.json")
        assert json.loads(record.read_text())["subject"]["weights"] == digest_of(expected)


def test_the_page_has_them_all():
    found = {
        name: ("refused" if isinstance(expected, str) else "loaded", True)
        for name, expected in EXPECTED.items()
    }

    assert len(found) == 30
    text = PAGE.read_text(encoding="utf-8")
    version = re.search(r"tests.checkpoints --write` with version (\S+):", text)[1]
    assert checkpoints.section(found, version) in text


@pytest.fixture
def both(tmp_path):
    path = tmp_path / "both.pt"
    torch.save({"state_dict": RAW, "state_dict_ema": EMA, "ema": {"decay": 0.9}}, path)
    return path


def test_a_run_and_its_record_say_which_key_was_taken_and_another_can_be(both, tiny, rbms, tmp_path):
    told = "'state_dict_ema' of both.pt, a moving average (EMA); --weights-key takes what lies beside: state_dict"
    for options, key, state in (
        ([], "state_dict_ema", EMA),
        (["--weights-key", "state_dict"], "state_dict", RAW),
    ):
        found = rbms("run", tiny, "-m", "tests.checkpoints:build", "--weights", both, *options, "--limit", 20)
        assert found.code == 0
        (path,) = (tmp_path / "results" / "tiny-limit20").glob("*.json")
        record = json.loads(path.read_text())
        assert record["card"]["weights"]["key"] == key
        assert record["subject"]["weights"] == digest_of(state)
        assert (told in found.err) == (key == "state_dict_ema")

    found = rbms(
        "run", tiny, "-m", "tests.checkpoints:build", "--weights", both, "--weights-key", "state_dcit"
    )
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "no weights under 'state_dcit'" in found.err
    assert "did you mean 'state_dict'?" in found.err
    found = rbms("run", tiny, "-m", "tests.fakes:build", "--weights-key", "ema")
    assert found.code == 2
    assert "--weights-key is for a checkpoint" in found.err


def test_weights_under_one_key_of_nobody_elses_are_told(tmp_path):
    path = tmp_path / "gan.pt"
    torch.save({"generator": RAW, "epoch": 3}, path)

    with pytest.raises(BadFile, match="--weights-key generator takes those"):
        read_checkpoint(path)
    assert read_checkpoint(path, "generator").tensors.keys() == RAW.keys()
    torch.save({"model": {"state_dict": RAW}}, path)
    assert read_checkpoint(path).key == "model.state_dict"
    assert read_checkpoint(path, "model.state_dict").tensors.keys() == RAW.keys()


def test_a_card_says_the_key(tmp_path):
    card = Card("mine", "a:b", weights=(Weights("w.pt", key="state_dict"),))

    path = write_card(card, tmp_path / "mine.toml")

    assert 'key = "state_dict"' in path.read_text()
    assert read_card(path).weights == card.weights


class Runs:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_by_its_name_and_is_not_run(zipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pt"
    torch.save({"state_dict": RAW, "extra": Runs()}, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(
        BadFile, match=r"what reads posix\.mkdir might run code: save its state_dict alone"
    ) as error:
        read_checkpoint(path)
    assert "cut off" not in str(error.value)
    assert not (tmp_path / "made-by-a-pickle").exists()
    path.write_bytes(pickle.dumps(RAW))
    with pytest.raises(BadFile, match="was not written by torch"):
        read_checkpoint(path)


def test_a_damaged_archive_is_one_sentence(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(RAW, path)
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")  # of its last entry in the table at its end
    content[at : at + 2] = b"XX"
    path.write_bytes(content)

    with pytest.raises(BadFile, match=r"w\.pt is damaged or no file of weights \("):
        read_checkpoint(path)


def test_floats_that_are_too_long_for_a_tensor_are_no_weights(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": np.array([1.0, 2.5], np.longdouble)}, path)

    with pytest.raises(BadFile, match=r"holds no weights: .* a \(ndarray\)"):
        read_checkpoint(path)


def load(state, tmp_path):
    path = tmp_path / "w.pt"
    torch.save(state, path)
    module = Net(9)
    return load_into(module, path), state_digest(module)


def test_what_lies_outside_of_a_prefix_is_named_and_left(tmp_path):
    told, digest = load(named("model.") | checkpoints.STRAYS, tmp_path)
    assert told.notes == (
        "w.pt holds more than its weights (outside of 'model.'), which is left: train_acc.correct, loss_fn.weight",
    )
    assert digest == digest_of(RAW)
    told, _ = load(RAW | checkpoints.STRAYS, tmp_path)
    assert "which is left: train_acc.correct, loss_fn.weight" in told.notes[0]
    parts = {name.replace(".", "._orig_mod."): value for name, value in RAW.items()}
    assert load(named("backbone.", parts), tmp_path)[1] == digest_of(RAW)


def test_a_part_that_the_network_lacks_is_no_stray(tmp_path):
    for prefix in ("", "module."):
        with pytest.raises(
            UserError, match=r"another architecture: not in the model: se\.weight|\(their prefix"
        ):
            load(named(prefix, RAW | {"se.weight": torch.ones(3)}), tmp_path)


def test_where_no_prefix_makes_them_fit_it_is_named(tmp_path):
    short = {name: value for name, value in named("module.net.").items() if "head" not in name}

    with pytest.raises(
        UserError, match=re.escape("(their prefix 'module.net.' taken off): missing head.weight, head.bias")
    ):
        load(short, tmp_path)


def test_of_two_networks_the_moving_average_is_taken_and_any_other_two_are_refused(tmp_path):
    told, digest = load(named("model.") | named("model_ema.module.", EMA), tmp_path)
    assert digest == digest_of(EMA)
    assert "the prefix 'model_ema.module.' of w.pt, a moving average (EMA)" in told.notes[0]
    with pytest.raises(UserError, match=r"several such networks, under the prefixes student\., teacher\."):
        load(named("student.") | named("teacher.", EMA), tmp_path)


def test_weights_that_hold_nan_are_warned_of(tmp_path):
    assert load(checkpoints.broken(), tmp_path)[0].warnings == ("its weights hold NaN: conv.weight",)
