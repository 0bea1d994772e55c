"""What heat maps cost over forward and backward passes of the same batches, in CPU seconds of one thread.

    make bench FILE=tests/benchmarks/bench_localisation.py

The networks of quick-localisation, of random weights; RBMS_BENCH_SCENES (default 100) scenes a condition, all of its
conditions in one run. The bare passes end at the layer at which the map is taken, on batches that are ready. What a
card costs once (thresholds on 500 training scenes) is told apart: of the whole 300 scenes and 96 conditions it is less
than 2 % of the pictures.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.catalog.registry import index_of
from robustbench_ms.corruptions import corrupt
from robustbench_ms.evaluation.events import CellDone
from robustbench_ms.evaluation.jobs import fitting_batch
from robustbench_ms.evaluation.run import run
from robustbench_ms.saliency.layers import last_map, named_layer
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.subjects.identity import exact_arithmetic
from robustbench_ms.subjects.loading import load_model
from tests.test_localisation_runs import TRAINED

CPU = torch.device("cpu")
SCENES = int(os.environ.get("RBMS_BENCH_SCENES", "100"))


def bare(suite, card, places):
    """A function that takes one condition's passes of a card: logits of the true classes, gradients at its layer."""
    index = index_of(suite.source(("label",)), places, CLEAN)
    data = index.open("stored")
    model = load_model(card, index, device=CPU, places=places)
    size = index.layout.values * fitting_batch(index.layout.values, CPU)
    batches = [data.load(rows, CPU) for rows in data.batches(size)]
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
    passes = {card.name: bare(suite, card, places) for card in cards}
    for one in passes.values():
        one()
    spent, bares, once = [], [], []

    def clocked():
        begin = time.process_time()
        for event in run(suite, cards, places, Settings("cpu", threads=1)):
            if not isinstance(event, CellDone):
                continue
            (spent if once else once).append(time.process_time() - begin)
            begin = time.process_time()
            passes[event.card]()
            bares.append(time.process_time() - begin)
            begin = time.process_time()

    benchmark.pedantic(clocked, rounds=1, iterations=1)
    ratio = sum(spent) / sum(bares[len(cards) :])  # the first condition's are in `once`
    print(
        f"\n{suite.label}, {len(cards)} cards: {ratio:.3f} x {sum(bares):.1f} s of bare passes; {once[0]:.1f} s before "
        "and in the first cell"
    )
