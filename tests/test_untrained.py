"""Models whose weights nobody trained: found when they are built, told, and never ranked."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_ms.api import as_card
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import UserError
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.subjects.untrained import seeded
from robustbench_ms.subjects.weights import state_digest
from tests import fakes


class Random(fakes.Coarse):
    """Of a fixed head, a bias of one's own, and a buffer: what is drawn is added to one of them."""

    def __init__(self, parameter=None, buffer=None):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(10) if parameter is None else parameter)
        self.register_buffer("features", torch.zeros(10) if buffer is None else buffer)

    def forward(self, images):
        return super().forward(images) + self.offset + self.features


def by_torch():
    return Random(torch.rand(10))


def by_numpy():
    return Random(torch.tensor(np.random.rand(10), dtype=torch.float32))


def by_python():
    return Random(torch.full((10,), random.random()))


def one_of_two_shapes():
    return Random(torch.zeros(10 if torch.rand(()) < 0.6 else 1))


def a_head_beside_fixed_weights():
    return nn.Sequential(fakes.build(), nn.Linear(10, 10))


def with_a_seed_inside():
    torch.manual_seed(3)
    return by_torch()


def buffers_only():
    return Random(buffer=torch.rand(10))


def not_a_number():
    return Random(torch.full((10,), float("nan")))


def no_parameters():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def a_bare_function():
    shift = torch.rand(3)
    return lambda images: images.mean(dim=(2, 3)) + shift


KEPT = fakes.build()


def always_the_same():
    return KEPT


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def lazy_norm():
    return nn.Sequential(nn.LazyBatchNorm2d(affine=False), fakes.build())


def load(card, places):
    index = Index(np.arange(8), Images(3, 32, 32), 10, asked="", opener=None)
    return load_model(card, index, device=torch.device("cpu"), places=places)


def card_of(build, **facts):
    return Card(build.__name__, f"{build.__module__}:{build.__name__}", **facts)


RESNET = {"depth": 8, "width": 4, "classes": 10}


@pytest.mark.parametrize(
    ("build", "parameter"),
    [
        (by_torch, "offset"),
        (by_numpy, "offset"),
        (by_python, "offset"),
        (one_of_two_shapes, "offset"),
        (a_head_beside_fixed_weights, "1.weight"),
        ("robustbench_ms.models:resnet_cifar", "conv1.weight"),
    ],
)
def test_what_another_seed_builds_otherwise_is_untrained_and_one_seed_builds_it_again(
    places, build, parameter
):
    card = card_of(build) if callable(build) else Card("own", build, args=RESNET)

    one, other = load(card, places), load(card, places)

    assert one.card.untrained
    assert one.warnings == other.warnings
    assert one.warnings[0].startswith("untrained: it has no weights, and its")
    assert f"its {parameter} is another" in one.warnings[0]
    assert state_digest(one.module) == state_digest(other.module)


@pytest.mark.parametrize(
    "build",
    [
        with_a_seed_inside,
        buffers_only,
        not_a_number,
        no_parameters,
        a_bare_function,
        always_the_same,
        fakes.build,
    ],
)
def test_what_every_seed_builds_alike_is_taken_as_it_is(places, build):
    model = load(card_of(build), places)

    assert not model.card.untrained
    assert model.warnings == ()


def test_a_model_that_was_handed_over_or_comes_from_a_library_is_taken_as_it_is(places, monkeypatch):
    given = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    monkeypatch.setattr("timm.create_model", lambda name, pretrained: by_torch())

    for card in (as_card(given), as_card(given.forward), Card("timms", "timm:test_resnet")):
        model = load(card, places)
        assert not model.card.untrained
        assert model.warnings == ()
    assert load(as_card(given), places).module is given


@pytest.mark.parametrize("why", ["weights", "untrained"])
def test_it_is_built_once_where_its_weights_are_known(places, tmp_path, why):
    calls = []

    def build():
        calls.append(1)
        return by_torch()

    path = fakes.weights_of(by_torch(), tmp_path)
    facts = {"weights": (Weights(str(path)),)} if why == "weights" else {"untrained": True}
    model = load(Card("net", build, **facts), places)

    assert calls == [1]
    assert model.warnings == ()
    assert load(Card("net", build), places).card.untrained
    assert calls == [1] * 3


def test_a_function_that_can_be_called_once_is_taken_as_it_is_and_that_is_said(places):
    calls = []

    def build():
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("a name\nis taken")
        return by_torch()

    model = load(Card("net", build), places)

    assert not model.card.untrained
    assert model.warnings == (
        (
            "nobody knows whether it is trained: it could not be built a second time and compared "
            "(KeyError: 'a name\\nis taken')"
        ),
    )


def test_a_function_that_makes_another_thing_at_its_second_call_is_one_too(places):
    made = iter([by_torch(), len])

    model = load(Card("net", lambda: next(made)), places)

    assert model.warnings[0].startswith(
        "nobody knows whether it is trained: it could not be built a second time"
    )


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            fakes.breaks,
            "model breaks: tests.fakes:breaks could not be called (RuntimeError: the constructor fails)",
        ),
        (lazy, "model lazy: its 1.weight has no values before its first sample"),
        (lazy_norm, "model lazy_norm: its 0.running_mean has no values before its first sample"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(places, build, words):
    with pytest.raises(UserError) as caught:
        load(card_of(build), places)

    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("build", [by_torch, by_numpy, by_python, with_a_seed_inside, fakes.breaks])
def test_the_callers_generators_go_on_as_if_nothing_was_built(places, build):
    def draws():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    with seeded(5):
        expected = draws()
    with seeded(5):
        try:
            load(card_of(build), places)
        except UserError:
            assert build is fakes.breaks
        assert draws() == expected


def test_a_run_says_it_the_record_keeps_it_and_the_table_ranks_the_others(rbms, tiny, tmp_path):
    models = ["tests.test_untrained:by_torch", "tests.fakes:build", "tests.fakes:other"]
    command = ["run", tiny, *(word for model in models for word in ("-m", model))]

    found = rbms(*command)

    assert found.code == 0
    said = "untrained: it has no weights, and its offset is another with each seed it is built under"
    assert f"model {models[0]}: {said}" in found.err
    assert f"{models[0]} (untrained)*" in found.out
    assert f"* {models[0]} (untrained): {said}" in found.out.replace("\\", "")
    folder = tmp_path / "results" / "tiny"
    record = read_record(folder / "tests.test_untrained-by_torch.json")
    assert record.card["untrained"] is True
    assert record.health["warnings"].count(said) == 1
    table = rbms("leaderboard", "tiny", "--json").json()["tiny"][0]
    rows = {row["card"]: row for row in table["rows"]}
    assert rows[f"{models[0]} (untrained)"]["rank"] is None
    assert rows[f"{models[0]} (untrained)"]["ranks"] is None
    assert sorted(rows[model]["rank"] for model in models[1:]) == [1, 2]
    assert max(rows[model]["ranks"][1] for model in models[1:]) == 2
    again = rbms(*command)
    assert again.out.count("(unchanged)") == 3
