"""What a probe cannot show of a model decides which finished cells are its own."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from robustbench_ms import run as run_models
from robustbench_ms.catalog.find import find_card
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

    assert accuracies(run()) != accuracies(before)


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

    whole, two = run(20), run(2)
    assert whole.subject["cells"] != two.subject["cells"]
    assert accuracies(whole) != accuracies(two)


def test_what_is_shipped_or_a_librarys_is_told_by_its_digests_alone():
    for name in ("digits-resnet8", "motions-linear", "scenes-ground"):
        one = find_card(name)
        assert made_of(one, build_module(one, 10)[0], every=False) == {}
    assert made_of(Card("r", "torchvision:resnet18"), nn.Linear(1, 1), every=False) == {}


@pytest.mark.parametrize("every", [False, True])
def test_arguments_attributes_closures_and_sources_are_told_and_addresses_are_not(every):
    def closing(t, other=1):
        held = object()

        def model(x, low=other):
            return held and x > t + low

        return model

    def told(module, build="x:y", **args):
        return made_of(Card("c", build, args=args), module, every=every)

    assert told(closing(1)) == told(closing(1))
    assert told(closing(1)) != told(closing(2))
    assert told(closing(1)) != told(closing(1, 2))
    assert told(fakes.build()) == told(fakes.build())
    assert told(fakes.build(), t=1) != told(fakes.build(), t=2)
    assert told(fakes.build(), t=object()) == told(fakes.build(), t=object())
    drops = [nn.Sequential(fakes.build(), nn.Dropout(p)) for p in (0.1, 0.9)]
    assert (told(drops[0]) != told(drops[1])) == every  # a library's own, which answers show
    assert told(fakes.build())["source"] != told(torch.nn.Linear(1, 1)).get("source")


def test_installed_files_are_nobodys_own():
    import json

    assert own(fakes.__file__)
    assert not own(torch.__file__)
    assert not own(json.__file__)
    assert not own(None)
    assert not own(sys.modules[find_card.__module__].__file__)
