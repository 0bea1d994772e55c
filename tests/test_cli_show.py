"""rbms show: what is known of a suite or a model, and what a model costs."""

from __future__ import annotations

import json
import re

import pytest

from robustbench_ms.catalog.find import find_card, shipped
from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.specs.metrics import COSTS


def test_show(rbms, tiny):
    assert rbms("show", "cifar10-c", "--json").json()["matrix"]["corruption"] == list(COMMON)
    card = rbms("show", "resnet20", "--json").json()
    assert card["kind"] == "card"
    assert card["weights"][0]["sha256"].startswith("12fca82f")
    assert card["published"][0]["value"] == 0.9173
    text = rbms("show", "resnet20").out
    assert "12fca82f" in text
    assert "https://github.com/akamaster" in text
    assert rbms("show", tiny, "--json").json()["name"] == "tiny"
    assert rbms("show", "digits-resnet8@2", "--json").json()["weights"][0]["seed"] == 2


def test_what_a_shipped_model_costs_stands_beside_what_was_published(rbms):
    told = rbms("show", "cifar100-resnet50-ema").out

    assert re.search(r"parameters +23,903,620 +198,368 +0\.8%\n", told)
    assert re.search(r"23,849,556 .* published 23,850,000: EMA", told)
    assert rbms("show", "digits-resnet8@1", "--json").json()["costs"]["parameters"] == 42_646
    assert "costs" not in rbms("show", "tests.fakes:build", "--json").json()


def test_published_counts_are_ours(rbms):
    """To a hundredth: published multiply-adds count the norms or not."""
    counted = json.loads((shipped("baselines") / "costs.json").read_text())
    pairs = [
        (row.value, counted[name][row.metric])
        for name in counted
        for row in find_card(name).published
        if row.metric in COSTS
    ]

    assert len(pairs) > 20
    for published, ours in pairs:
        assert ours == pytest.approx(published, rel=0.01)


def test_a_strangers_model_is_measured(rbms):
    found = rbms("show", "timm:resnet18", "--measure", "--json").json()["costs"]
    refused = rbms("show", "quick", "--measure")

    assert found["parameters"] == 11_689_512
    assert "costs of one sample of 3 x 32 x 32:" in rbms("show", "tests.fakes:build", "--measure").out
    assert (refused.code, refused.err) == (
        2,
        "rbms: --measure counts what a model costs, and quick is a suite\n",
    )


def test_a_backbone_that_keeps_attention_of_its_own_says_so(rbms, tmp_path):
    text = (
        'build = "robustbench_ms.models:backbone"\nuntrained = true\n[args]\nname = "timm:seresnet18"\n'
        'attention = "simam"\nposition = "{}"\n'
    )
    kept, replaced = tmp_path / "kept.toml", tmp_path / "replaced.toml"
    kept.write_text(text.format("stage"))
    replaced.write_text(text.format("slot"))

    told = rbms("show", kept, "--measure").out
    assert (
        "of its 12 attention blocks:\n    its backbone keeps 8 of its own beside the 4 that were put in\n"
        in told
    )
    assert "of its own" not in rbms("show", replaced, "--measure").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('build = "a:b"\nprecison = "fp32"', "'precison'"),
        ('dataset = "digits"\nprofle = "cifar"', "'profle'"),
    ],
)
def test_showing_a_file_tells_the_mistake_of_what_it_is(rbms, tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)

    found = rbms("show", path)

    assert found.code == 2
    assert words in found.err
