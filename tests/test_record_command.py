"""The command that measures a record again, as far as the record tells."""

from __future__ import annotations

import dataclasses

import pytest

from robustbench_ms.records.record import read_record
from tests.test_record import KEPT


@pytest.fixture(scope="module")
def kept():
    return read_record(KEPT / "format-2.json")


OWN = {"name": "same", "build": "na:a", "args": {}, "input": {"assumed": True}, "weights": None}
FILE = {"file": "w.safetensors", "sha256": "0" * 64, "seed": None}


@pytest.mark.parametrize(
    ("card", "model"),
    [
        ({}, "na:a --name same"),
        ({"name": "na:a"}, "na:a"),
        ({"name": "two words", "precision": "bf16"}, "na:a --name 'two words' --precision bf16"),
        ({"weights": {**FILE, "key": "ema"}}, "na:a --weights w.safetensors --weights-key ema --name same"),
        (
            {"input": {"size": 8, "mean": [0.5], "std": [2.0], "assumed": False}},
            "na:a --name same --mean 0.5 --std 2.0 --size 8",
        ),
        ({"input": {"channels": "BGR", "assumed": False}}, "same.toml"),
        ({"args": {"depth": 8}}, "same.toml"),
        ({"name": "same@1", "weights": {**FILE, "seed": 1}}, "same.toml@1"),
        ({"name": "resnet20"}, "na:a --name resnet20"),
        ({"build": "timm:resnet18", "input": {"size": 224, "assumed": False}}, "timm:resnet18 --name same"),
        ({"build": "onnx:same.onnx", "weights": {**FILE, "file": "same.onnx"}}, "onnx:same.onnx"),
        ({"build": "mmdet:same.py", "weights": {**FILE, "file": "c.pth"}}, "mmdet:same.py:c.pth"),
        ({"build": "__main__:Net", "name": "Net"}, "Net"),
        ({"build": "na:make.<locals>.Net", "name": "Net"}, "Net"),
    ],
)
def test_the_command_that_measures_again_names_what_can_be_found(kept, card, model):
    made = dataclasses.replace(kept, card={**OWN, **card})

    assert made.command == f"rbms run quick -m {model} --limit 50"


def test_the_command_of_a_record_is_one_line_for_a_shell(kept):
    told = dataclasses.replace(kept, suite={**kept.suite, "name": "my suite; touch x"}).command
    assert told.startswith("rbms run 'my suite; touch x' -m ")
