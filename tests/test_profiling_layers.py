"""Time and memory by module."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.profiling import layers as module
from robustbench_ms.profiling import loop, subject
from robustbench_ms.profiling.layers import Layer, Layers, layers, plain_of
from robustbench_ms.profiling.subject import Setting
from robustbench_ms.reports.layers import layers_json, layers_markdown
from robustbench_ms.specs.card import Input
from robustbench_ms.statistics.intervals import Interval
from tests.profiled import hurry

EMA = replace(find_card("digits-resnet8-ema"), input=Input(size=16))


@pytest.fixture
def few(monkeypatch):
    hurry(monkeypatch)
    monkeypatch.setattr(module, "_CALLS", 2)
    monkeypatch.setattr(loop, "_CALLS", (2, 2))


def test_modules_with_their_time_and_the_attentions_share(few, tmp_path):
    loaded = subject.load(EMA, torch.device("cpu"), None)
    found = layers(loaded, Setting(2), tmp_path / "trace.json")

    blocks = [layer for layer in found.layers if layer.attention]
    assert {layer.kind for layer in blocks} == {"EMA"}
    assert [layer.name for layer in blocks] == [f"layer{i}.0.attention" for i in (1, 2, 3)]
    assert not [layer.name for layer in found.layers if ".attention." in layer.name]
    assert {"conv1", "layer1.0.bn2", "linear"} <= {layer.name for layer in found.layers}
    assert all(layer.seconds > 0 for layer in found.layers)
    assert 0 < sum(layer.seconds for layer in found.layers) <= found.seconds
    assert found.attention == pytest.approx(sum(layer.seconds for layer in blocks) / found.seconds)
    # conv1 leaves 2 x 12 x 16 x 16 floats.
    (first,) = [layer for layer in found.layers if layer.name == "conv1"]
    assert first.memory == pytest.approx(2 * 12 * 16 * 16 * 4, rel=0.1)
    assert "module: layer1.0.attention" in (tmp_path / "trace.json").read_text()
    json.loads((tmp_path / "trace.json").read_text())
    assert not loaded.model.module._forward_hooks
    assert not loaded.model.module.conv1._forward_pre_hooks


def test_the_plain_network_is_the_card_without_its_attention():
    plain = plain_of(EMA)

    assert plain.name == "digits-resnet8-ema without ema"
    assert plain.args == {"depth": 8, "width": 12, "classes": 10}
    assert plain_of(find_card("digits-resnet8")) is None
    assert plain_of(find_card("digits-amsra-net")) is None
    args = plain_of(find_card("imagenet-resnet50-ema")).args
    assert args == {"classes": 1000}


def test_the_table():
    some = (
        Layer("conv1", "Conv2d", 0.003, 2_000_000, False),
        Layer("conv2", "Conv2d", 0.00005, 1_000_000, False),
        Layer("attention", "EMA", 0.004, 500_000, True),
    )
    found = Layers("net", 8, 0.01, some)
    text = layers_markdown(found, ("plain", Interval(1.5, 1.4, 1.6)))

    assert found.attention == pytest.approx(0.4)
    lines = [" ".join(line.replace("|", " ").split()) for line in text.splitlines()]
    assert "`EMA` 1 4.000 40.0% 0.50" in lines
    assert "`Conv2d` 2 3.050 30.5% 3.00" in lines
    assert "between them 2.950 29.5%" in lines
    assert "`conv1` `Conv2d` 3.000 30.0% 2.00" in lines
    assert not any("conv2`" in line for line in lines)
    assert "Attention: 40.0% of the time" in text
    assert "Time over that of plain, in turns without the profiler: 1.500 (1.400-1.600)." in text
    assert layers_json(found)["attention"] == pytest.approx(0.4)
    assert Layers("net", 1, 0.01, some[:2]).attention is None


def test_the_command(few, rbms, tmp_path):
    found = rbms("profile", "digits-resnet8-ema", "--layers", "--results", tmp_path / "results")

    assert found.code == 0, found.err
    assert "Attention: " in found.out
    assert "Time over that of digits-resnet8-ema without ema" in found.out
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("digits-resnet8", "digits-resnet8-se", "--layers", "--trace", "t.json"),
            "--trace is one file, and 2 models",
        ),
        (
            ("digits-resnet8", "--layers", "--trace", "/nowhere/t.json"),
            "--trace: /nowhere/t.json cannot be written",
        ),
    ],
)
def test_mistakes(few, rbms, words, told):
    found = rbms("profile", *words)

    assert found.code == 2
    assert told in found.err
