"""The Python face: modules and callables at hand."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

import robustbench_ms as rbms
from robustbench_ms.catalog import find
from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.evaluation.events import Event, Planned, RecordDone, Trouble
from robustbench_ms.records.record import read_record
from tests import fakes


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch):
    monkeypatch.setattr(find, "_registered", {})


def test_a_module_is_measured_and_given_back_as_it_was(tiny, tmp_path):
    module = torch.nn.Sequential(fakes.build(), torch.nn.Dropout(0.5))
    module[0].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    seen = []

    (record,) = rbms.run(str(tiny), models=[module], on_event=seen.append, results=tmp_path / "r")

    assert record.path == tmp_path / "r" / "tiny" / "Sequential.json"
    assert read_record(record.path).answers() == record.answers()
    assert record.samples().correct.shape == (5, 40)
    assert module.training
    assert module[1].training
    assert not module[0].training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert record.health["nondeterministic"] is False  # its dropout was off
    assert all(isinstance(event, Event) for event in seen)
    assert isinstance(seen[-1], RecordDone)
    assert [e.reused for e in seen if isinstance(e, Planned)] == [0]


def test_the_mode_is_given_back_when_the_run_fails_too(tiny):
    module = fakes.Coarse(classes=7)

    with pytest.raises(UserError, match="answers for 7 classes"):
        rbms.run(tiny, [module])
    assert module.training


def test_a_callable_that_is_no_module_is_shown_rgb_between_0_and_1(tiny):
    shown = []

    def bright(images):
        shown.append(images)
        return torch.nn.functional.one_hot(images.mean((1, 2, 3)).mul(10).long().clamp(0, 9), 10).float()

    (record,) = rbms.run(tiny, bright)

    assert record.name == "bright"
    assert record.card["build"] == f"{bright.__module__}:{bright.__qualname__}"
    assert record.subject["weights"] is None
    assert all(x.dtype == torch.float32 and x.shape[1:] == (3, 32, 32) for x in shown)
    assert 0 <= min(x.min() for x in shown) < max(x.max() for x in shown) <= 1
    images = np.load(tiny.parent / "images.npy")
    assert torch.allclose(shown[4], torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)


def test_a_model_that_fails_is_warned_of_and_the_others_are_returned(tiny):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        records = rbms.run(tiny, ["tests.fakes:nan_at_once", "tests.fakes:build"])
    assert str(told[0].message) == "tests.fakes:nan_at_once: clean: NaN for 40 of 40 images, first 0"
    assert len(told) == 5

    first, second = records
    assert (first.name, second.name) == ("tests.fakes:nan_at_once", "tests.fakes:build")
    assert all(m.error for m in first.measurements)
    assert not any(m.error for m in second.measurements)
    seen = []
    rbms.run(tiny, ["tests.fakes:nan_at_once"], on_event=seen.append)
    assert [type(e) for e in seen if isinstance(e, Trouble)] == [Trouble] * 5


def test_one_model_alone_needs_no_list(tiny):
    names = [
        rbms.run(tiny, model)[0].name
        for model in ("tests.fakes:build", fakes.build(), rbms.Card("c", fakes.other()))
    ]

    assert names == ["tests.fakes:build", "Coarse", "c"]


def test_limit_and_seed(tiny):
    (whole,), (part,), (other,) = (
        rbms.run(tiny, ["tests.fakes:build"], **options) for options in ({}, {"limit": 10}, {"seed": 3})
    )

    assert [r.suite["name"] for r in (whole, part, other)] == ["tiny", "tiny-limit10", "tiny-seed3"]
    assert part.measurements[0].n == 10
    assert whole.cell("clean").protocol == other.cell("clean").protocol
    suite = rbms.find_suite(str(tiny))
    assert rbms.run(suite, ["tests.fakes:build"])[0].answers() == whole.answers()


@pytest.mark.parametrize("option", ["limit", "seed", "batch_size", "workers", "threads", "timeout"])
@pytest.mark.parametrize("value", ["20", [20]])
def test_what_is_no_number_is_named(tiny, option, value):
    kind = "some seconds" if option == "timeout" else "a whole number"
    with pytest.raises(UserError, match=f"^{option} must be {kind}, not {re.escape(repr(value))}$"):
        rbms.run(tiny, "tests.fakes:build", **{option: value})


@pytest.mark.parametrize("models", [[3], [None], [["tests.fakes:build"]]])
def test_what_is_no_model_is_named(tiny, models):
    with pytest.raises(UserError, match="a spelling, a Card, a module or a callable is wanted, not"):
        rbms.run(tiny, models)


def test_register_is_for_this_process_and_save_for_good(tiny, tmp_path):
    known = rbms.Input(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3))
    card = rbms.register("tests.fakes:build", name="mine", input=known, args={"seed": 2})

    assert rbms.find_card("mine") is card
    assert "mine" in find.card_names()
    (first,) = rbms.run(tiny, ["mine"])
    path = card.save(tmp_path / "mine.toml")
    find._registered.clear()
    with pytest.raises(UnknownName, match="no model named 'mine'"):
        rbms.find_card("mine")
    seen = []
    (second,) = rbms.run(tiny, [path], on_event=seen.append)

    assert second.answers() == first.answers()
    assert [event for event in seen if isinstance(event, Planned)] == [Planned(5, 5, 0)]
    assert not seen[-1].written


def test_a_registered_name_may_end_as_a_files_does():
    card = rbms.register("tests.fakes:build", name="best.pt")

    assert rbms.find_card("best.pt") is card
    with pytest.raises(UnknownName, match=r"did you mean 'script:other\.pt'"):
        rbms.find_card("other.pt")


def test_a_module_or_a_builder_is_registered_too(tiny):
    rbms.register(fakes.build(), name="module")
    rbms.register(fakes.build, name="builder")

    module, builder = rbms.run(tiny, ["module", "builder"])

    assert module.subject == builder.subject
    with pytest.raises(UserError, match="cannot be imported by another process"):
        rbms.find_card("builder").save("builder.toml")


def test_arguments_that_json_cannot_hold_do_not_stop_a_run_at_its_end(tiny):
    def build(act, when, much, number):
        del act, when, much, number
        return fakes.build()

    import datetime as dt

    args = {
        "act": torch.nn.ReLU,
        "when": dt.date(2026, 1, 2),
        "much": float("inf"),
        "number": np.float32(0.5),
    }
    rbms.register(build, name="rich", args=args)

    (record,) = rbms.run(tiny, ["rich"])

    assert read_record(record.path).card["args"] == {
        "act": "torch.nn.modules.activation:ReLU",
        "when": "2026-01-02",
        "much": "inf",
        "number": 0.5,
    }


@pytest.mark.parametrize(
    ("name", "words"), [("resnet20", "is a shipped card"), ("a/b", "letters, digits"), ("", "letters")]
)
def test_a_name_that_cannot_be_registered(name, words):
    with pytest.raises(UserError, match=words):
        rbms.register("tests.fakes:build", name=name)


def test_a_build_target_that_wants_other_arguments_is_told(tiny):
    rbms.register("tests.fakes:build", name="mine", args={"classse": 3})

    with pytest.raises(
        UserError, match=r"tests\.fakes:build cannot be called with the card's args: got an unexpected"
    ):
        rbms.run(tiny, ["mine"])


def test_weights_are_a_file_or_several_of_a_seed_each(tiny, tmp_path, monkeypatch):
    fakes.weights_of(fakes.Coarse(4), tmp_path, "w.safetensors")
    torch.save(fakes.Coarse(4).state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    rbms.register(fakes.build, name="one", weights="w.pt")
    files = [tmp_path / "w.pt", tmp_path / "w.safetensors"]
    seeds = [rbms.Weights(str(file), seed=seed) for seed, file in enumerate(files)]
    rbms.register(fakes.build, name="two", weights=seeds)

    records = rbms.run(tiny, ["one", "two"], results=tmp_path / "r")

    assert [record.name for record in records] == ["one", "two@0", "two@1"]
    assert len({record.subject["digest"] for record in records}) == 1


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"weights": "gone.pt"}, "weights: no file gone.pt"),
        ({"weights": 3}, "weights are a file or a Weights, not int"),
        ({"weights": [rbms.Weights("a"), rbms.Weights("b")]}, "a seed each"),
        ({"wieghts": "w.pt"}, "did you mean 'weights'"),
        ({"precision": "bf61"}, "did you mean 'bf16'"),
        ({"tasks": "classificatoin"}, "did you mean 'classification'"),
        ({"args": [3]}, "args are names with values"),
        ({"input": {"mean": 0.5}}, "input is an Input, not dict"),
        ({"weights": rbms.Weights("a"), "untrained": True}, "exclude each other"),
    ],
)
def test_what_no_card_can_have_is_told_where_it_is_registered(facts, words):
    with pytest.raises(UserError, match=words):
        rbms.register("tests.fakes:build", name="mine", **facts)
    with pytest.raises(UserError, match="build is a model, a function"):
        rbms.register("no spelling", name="mine")


def test_a_name_is_asked_for_where_two_models_differ(tiny, tmp_path):
    place = {"results": tmp_path / "r", "limit": 10}
    (first,) = rbms.run(tiny, fakes.Coarse(0), **place)
    (again,) = rbms.run(tiny, fakes.Coarse(0), **place)
    assert again.answers() == first.answers()

    with pytest.raises(
        UserError, match=r"Coarse\.json is the record of another model named 'Coarse'.*give name="
    ):
        rbms.run(tiny, fakes.Coarse(1), **place)
    assert read_record(first.path).subject == first.subject
    with pytest.raises(UserError, match="two models are named 'Coarse'"):
        rbms.run(tiny, [fakes.Coarse(0), fakes.Coarse(1)], **place)
    with pytest.raises(UserError, match="one name for each model is wanted, and there are 1 for 2"):
        rbms.run(tiny, [fakes.Coarse(0), fakes.Coarse(1)], name="mine", **place)
    both = rbms.run(tiny, [fakes.Coarse(0), fakes.Coarse(1)], name=["a", "b"], **place)
    assert [record.path.name for record in both] == ["a.json", "b.json"]
    with pytest.warns(
        UserWarning, match="the record of another subject stood here, and was replaced: Coarse"
    ):
        rbms.run(tiny, fakes.Coarse(1), name="Coarse", **place)


def test_the_public_names_are_there():
    assert set(rbms.__all__) <= set(dir(rbms))
    for name in rbms.__all__:
        assert getattr(rbms, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = rbms.rnu
