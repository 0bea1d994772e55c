"""What a probe cannot show of a model decides which finished cells are its own."""

from __future__ import annotations

import importlib
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_ms import run as run_models
from robustbench_ms.catalog.find import find_card
from robustbench_ms.gating.references import relation
from robustbench_ms.specs.card import Card
from robustbench_ms.subjects.loading import build_module
from robustbench_ms.subjects.made import made_of, own
from tests import fakes

SOURCE = '''
import torch
from torch import nn

class Threshold(nn.Module):
    """Class 1 of what is darker than t: no weights, and nothing that noise shows."""

    def __init__(self, t):
        super().__init__()
        self.t = t

    def forward(self, x):
        return nn.functional.one_hot((x.mean((1, 2, 3)) < self.t).long(), 10).float()

class Noisy(nn.Module):
    def __init__(self, sigma):
        super().__init__()
        self.sigma = sigma
        self.last = nn.Linear(3, 10)

    def forward(self, x):
        seen = x.mean((2, 3))
        return self.last(seen + self.sigma * torch.randn_like(seen))

class Counting(Threshold):
    calls = 0

    def forward(self, x):
        self.calls += 1
        self.kept = [x]
        return super().forward(x)

class ByBatch(nn.Module):
    def forward(self, x):
        seen = x.flatten(1)[:, :10]
        return (seen - seen.mean(0)) / (seen.std(0, correction=0) + 1e-3)
'''


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A module of a user's own, in a file of its own."""
    (tmp_path / "their_nets.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "their_nets.py"
    sys.modules.pop("their_nets", None)


def card(name, build, **args):
    return Card(name, f"their_nets:{build}", args=args, untrained=True)


def accuracies(record):
    return [m.values["accuracy"]["mean"] for m in record.measurements]


def test_models_that_noise_does_not_tell_apart_keep_to_their_own_cells(made, tmp_path):
    def run(*cards, cache):
        return run_models(
            "quick",
            list(cards),
            limit=20,
            device="cpu",
            results=tmp_path / cache / "r",
            cache=tmp_path / cache,
        )

    low, high = card("low", "Threshold", t=0.2), card("high", "Threshold", t=0.33)
    one, other = run(low, high, cache="both")
    (alone,) = run(high, cache="alone")

    assert one.subject["digest"] == other.subject["digest"]  # by the probe
    assert one.subject["cells"] != other.subject["cells"]
    assert accuracies(one) != accuracies(other)
    assert accuracies(other) == accuracies(alone)
    (again,) = run(high, cache="both")
    assert again.environments == other.environments


def test_an_edited_line_is_measured_again(made, tmp_path):
    def run():
        (record,) = run_models(
            "quick", [card("t", "Threshold", t=0.33)], limit=20, device="cpu",
            results=tmp_path / "r", cache=tmp_path / "c",
        )  # fmt: skip
        sys.modules.pop("their_nets", None)
        return record

    before = run()
    made.write_text(SOURCE.replace("< self.t", "< self.t - .13 "))
    with pytest.warns(UserWarning, match="the record of another subject stood here, and was replaced"):
        after = run()
    made.write_text(SOURCE.replace("< self.t", "< self.t - .13") + "# a comment")
    again = run()  # of equal numbers nothing is said

    assert accuracies(after) != accuracies(before)
    assert accuracies(after) == accuracies(again)
    assert relation(after, before)[0].endswith(
        "and other arguments, attributes or source: its answers decide"
    )
    assert "this very model" in relation(again, again)[0]


def test_of_a_model_that_never_answers_twice_its_arguments_are_the_subject(made, tmp_path):
    few, many = run_models(
        "quick", [card("few", "Noisy", sigma=0.01), card("many", "Noisy", sigma=30.0)], limit=20, device="cpu",
        results=tmp_path / "r", cache=tmp_path / "c",
    )  # fmt: skip

    assert few.health["nondeterministic"]
    assert few.subject["digest"] != many.subject["digest"]
    assert accuracies(few) != accuracies(many)


def test_of_a_model_that_reads_the_batch_its_size_counts(made, tmp_path):
    def run(size):
        (record,) = run_models(
            "quick", [card("b", "ByBatch")], limit=20, device="cpu", batch_size=size,
            results=tmp_path / "r", cache=tmp_path / "c",
        )  # fmt: skip
        return record

    whole = run(20)
    with pytest.warns(UserWarning, match="the record of another subject stood here"):
        two = run(2)
    assert whole.subject["cells"] != two.subject["cells"]
    assert accuracies(whole) != accuracies(two)


def test_a_model_that_counts_its_calls_is_not_measured_again(made, tmp_path):
    import their_nets

    model = their_nets.Counting(0.33)
    first, second = (
        run_models(
            "quick", [model], limit=20, device="cpu", results=tmp_path / "r", cache=tmp_path / "c",
        )[0]
        for _ in range(2)
    )  # fmt: skip

    assert model.calls > 96
    assert first.subject == second.subject


def test_what_is_shipped_or_a_librarys_is_told_by_its_digests_alone():
    for name in ("digits-resnet8", "motions-linear", "scenes-ground"):
        one = find_card(name)
        assert made_of(one, build_module(one, 10)[0], every=False) == {}
    assert made_of(Card("r", "torchvision:resnet18"), nn.Linear(1, 1), every=False) == {}


class Held:
    """Holds a value under a name, as a model of one's own."""

    def __init__(self, name, value):
        setattr(self, name, value)

    def __call__(self, x):
        return x

    def answer(self, x):
        return x


def closing(t, other=1):
    held = object()

    def model(x, low=other):
        return held and x > t + low

    return model


def scaled(x, t=1):
    return t * x


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (closing, 1, 2),
        (lambda low: closing(1, low), 1, 2),
        (lambda t: Held("t", t), 0.2, 0.33),
        (lambda t: Held("_t", t), 0.2, 0.33),
        (lambda t: Held("t", torch.tensor(t)), 0.2, 0.33),
        (lambda t: Held("t", np.array([t])), 0.2, 0.33),
        (lambda t: Held("told", {"t": t, "device": torch.device("cpu")}), 0.2, 0.33),
        (lambda t: Held("t", t).answer, 0.2, 0.33),
        (lambda t: partial(scaled, t=t), 0.2, 0.33),
        (lambda t: nn.Sequential(fakes.build(), Told(t)), 0.2, 0.33),
    ],
)
def test_what_a_model_is_made_of_is_told_and_addresses_are_not(every, make, one, other):
    def told(value):
        return made_of(Card("c", "x:y"), make(value), every=every)

    assert told(one) == told(one) != {}
    assert told(one) != told(other)


class Told(nn.Module):
    def __init__(self, t):
        super().__init__()
        self._t = t


@pytest.mark.parametrize("every", [False, True])
def test_arguments_and_a_librarys_attributes_are_told_where_they_count(every):
    def told(module, **args):
        return made_of(Card("c", "x:y", args=args), module, every=every)

    assert told(fakes.build()) == told(fakes.build())
    assert told(fakes.build(), t=1) != told(fakes.build(), t=2)
    assert told(fakes.build(), t=object()) == told(fakes.build(), t=object())
    drops = [nn.Sequential(fakes.build(), nn.Dropout(p)) for p in (0.1, 0.9)]
    assert (told(drops[0]) != told(drops[1])) == every  # a library's own, which answers show
    assert told(fakes.build())["source"] != told(nn.Linear(1, 1)).get("source")


def test_an_edited_base_class_is_another_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "their_child.py").write_text("from their_base import Base\nclass Child(Base): pass\n")
    told = []
    for t in (1, 2):
        (tmp_path / "their_base.py").write_text(f"class Base:\n    def __call__(self, x): return x > {t}\n")
        importlib.invalidate_caches()
        told.append(
            made_of(
                Card("c", "their_child:Child"), importlib.import_module("their_child").Child(), every=False
            )
        )
        for name in ("their_child", "their_base"):
            del sys.modules[name]
    assert told[0]["source"] != told[1]["source"]


def test_what_a_notebook_names_is_a_part_of_what_is_written_there(monkeypatch):
    """Without a file, what the code names counts: plain values, and functions with what these name."""
    here = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", here)
    exec("def helper(x): return x + B\ndef model(x): return helper(x) > A\nA = B = OTHER = 1", vars(here))

    def told(**names):
        vars(here).update(names)
        return made_of(Card("c", here.model), here.model, every=False)

    first = told()
    assert told(OTHER=2) == first != {}
    assert told(A=2) != first
    assert told(A=1) == first
    assert told(B=2) != first


def test_installed_files_are_nobodys_own():
    import json

    assert own(fakes.__file__)
    assert not own(torch.__file__)
    assert not own(json.__file__)
    assert not own(None)
    assert not own(sys.modules[find_card.__module__].__file__)
