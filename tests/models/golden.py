"""Writes what the shipped cards cost and answer: `python -m tests.models.golden`.

Two files: baselines/costs.json, which `rbms show` reads without torch, and golden.json beside this
module, whose first eight outputs notice when a network changes. Look at the difference before committing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from robustbench_ms.catalog.find import find_card, shipped
from robustbench_ms.specs.card import ADAPTERS
from robustbench_ms.subjects.costs import card_costs, input_of
from robustbench_ms.subjects.loading import build_module

GOLDEN = Path(__file__).with_name("golden.json")
COSTS = shipped("baselines") / "costs.json"
CARDS = [
    name
    for name in sorted(path.stem for path in shipped("baselines").glob("*.toml"))
    if str(find_card(name).build).partition(":")[0] not in ADAPTERS  # a file's costs are not counted
]


def cost_of(name):
    return card_costs(find_card(name))


def answers_of(name):
    """The first eight outputs at a fixed seed, small where the card is for large images, nothing asleep."""
    card = find_card(name)
    torch.manual_seed(0)
    module, card = build_module(replace(card, weights=(), untrained=True), 1000)
    with torch.no_grad():
        for parameter in module.parameters():
            if (
                not parameter.any()
            ):  # last norms, gammas and biases that start at zero would hide what is behind
                parameter.fill_(0.1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the mean over the one pass below
    channels, *size = input_of(card, module)
    x = torch.randn(4, channels, *(min(s, 64) for s in size) if len(size) > 1 else size)
    answer = maps_of(module) if "detection" in card.tasks else module
    with torch.no_grad():
        module.train()
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.eval()
        answer(x)  # running statistics of the data, so that 50 layers neither vanish nor explode
        module.eval()
        outputs = answer(x[:1])
    return [float(f"{v:.6g}") for v in outputs.flatten()[:8].tolist()]


def maps_of(detector):
    """What the head of a detector of torchvision says at each place, before boxes are chosen: first of all places."""
    return lambda x: torch.cat(
        [v[:, :1].flatten() for v in detector.head([*detector.backbone(x).values()]).values()]
    )


def written(found):
    """One line a card: a change shows as one line."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items())) + "\n}\n"


if __name__ == "__main__":
    COSTS.write_text(written({name: cost_of(name) for name in CARDS}), encoding="utf-8")
    GOLDEN.write_text(written({name: answers_of(name) for name in CARDS}), encoding="utf-8")
