"""What heat maps cost over forward and backward passes of the same batches, in CPU seconds of one thread.

    make bench FILE=tests/benchmarks/bench_localisation.py

The networks of quick-localisation, of random weights; RBMS_BENCH_SCENES (by default all 300) scenes a condition, all
of its conditions in one run. The bare passes end at the layer at which the map is taken, on batches that are ready.
What a card costs once (thresholds on 500 training scenes) is told apart: of the whole 300 scenes and 96 conditions it
is less than 2 % of the pictures.
"""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.corruptions import corrupt
from robustbench_ms.saliency.layers import last_map, named_layer
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.identity import exact_arithmetic
from tests.benchmarks.turns import ready, together_in_turns
from tests.test_localisation_runs import TRAINED

CPU = torch.device("cpu")
SCENES = int(os.environ.get("RBMS_BENCH_SCENES", "300"))


def passes_of(suite, card, places):
    """A function that takes one condition's passes of a card: logits of the true classes, gradients at its layer."""
    model, batches = ready(suite, card, places, ("label",))
    name = last_map(model.module, model.forward, model.prepare(batches[0].samples[:1])[0])
    held = []
    for parameter in model.module.parameters():
        parameter.requires_grad_(False)

    def keep(part, given, out):
        held[:] = [out.detach().requires_grad_()]
        return held[0]

    named_layer(model.module, name).register_forward_hook(keep)

    def passes():
        with exact_arithmetic():
            for batch in batches:
                logits = model.forward(model.prepare(batch.samples)[0])
                torch.autograd.grad(logits.gather(1, batch.targets[:, None]).sum(), held[0])

    return passes


def bench_heat_maps(benchmark, tmp_path):
    torch.set_num_threads(1)
    suite = find_suite("quick-localisation").limited(SCENES)
    cards = [replace(find_card(name), weights=(), untrained=True) for name in TRAINED]
    places = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    for corruption in suite.matrix["corruption"]:  # compiled once, not timed
        corrupt(torch.zeros(2, 3, 128, 128, dtype=torch.uint8), corruption, 1, profile=suite.profile)
    passes = {card.name: passes_of(suite, card, places) for card in cards}
    cells, spent, bare, once = together_in_turns(benchmark, suite, cards, places, passes)
    print(
        f"\n{suite.label}, {len(cards)} cards, {cells} cells: {spent / bare:.3f} x {bare:.1f} s of bare passes; "
        f"{once:.1f} s in the first condition with what is done once"
    )
