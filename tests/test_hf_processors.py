"""What a Hugging Face folder's preprocessor_config.json says of a model's input, as transformers reads it."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from robustbench_ms.adapters import hf
from robustbench_ms.specs.card import Card, Input

CONVNEXT = {"feature_extractor_type": "ConvNextFeatureExtractor"}
PROCESSORS = {
    "a number is both sides": ({"size": 224}, {"size": 224}),
    "a shorter side and a crop": (
        {"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": True},
        {"size": 224, "fit": "crop", "crop": 224 / 256},
    ),
    "of ConvNeXt a number is the shorter side": (
        CONVNEXT | {"size": 224, "crop_pct": 0.95},
        {"size": 224, "fit": "crop", "crop": 0.95},
    ),
    "a crop that is not said": (
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 288}},
        {"size": 288, "fit": "crop", "crop": 0.875},
    ),
    "from 384 on nothing is cropped": (CONVNEXT | {"size": 384, "crop_pct": 0.95}, {"size": 384}),
    "bytes as they are": ({"size": 32, "do_rescale": False}, {"size": 32, "range": (0.0, 255.0)}),
    "from -1 to 1": (
        {"size": 32, "rescale_factor": 1 / 127.5, "rescale_offset": True},
        {"size": 32, "range": (-1.0, 1.0)},
    ),
    "to 2": ({"size": 32, "rescale_factor": 1 / 127.5}, {"size": 32, "range": (0.0, 2.0)}),
}
"""{what: (of the file, of the input)}."""


@pytest.mark.parametrize("what", PROCESSORS)
def test_an_input_is_the_processors(what, tmp_path):
    told, expected = PROCESSORS[what]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))

    assert hf._completed(Input(assumed=True), tmp_path / "preprocessor_config.json") == Input(**expected)


def test_weights_that_were_saved_in_half_are_loaded_in_the_precision_that_a_card_says(tmp_path, monkeypatch):
    """In transformers' own absence by what it is asked for: since version 5 it keeps what weights were saved in."""
    asked = {}

    def from_pretrained(folder, **options):
        asked.update(options)
        return torch.nn.Flatten()

    auto = SimpleNamespace(from_pretrained=from_pretrained)
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoModelForImageClassification=auto))
    (tmp_path / "config.json").write_text('{"architectures": ["ViTForImageClassification"]}')
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "preprocessor_config.json").write_text("{}")

    hf.load(tmp_path, Card("net", "hf:net", input=Input(assumed=True)), None)

    assert asked["dtype"] == "float32"
