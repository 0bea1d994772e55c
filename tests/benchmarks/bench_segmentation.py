"""What labelling costs over bare passes of the same batches, in CPU seconds of one thread.

    make bench FILE=tests/benchmarks/bench_segmentation.py

The networks of quick-segmentation, of random weights, all in one run; RBMS_BENCH_SCENES (default 100) scenes under each
of its corruptions at severity 3. A bare pass ends with classes on the picture's own grid, on batches that are ready:
the network, bilinear enlargement, the largest logit. What a run does once falls to its first condition and is told
apart.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import torch
from torch.nn import functional as F

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.catalog.registry import index_of
from robustbench_ms.corruptions import corrupt
from robustbench_ms.evaluation.events import CellDone
from robustbench_ms.evaluation.jobs import fitting_batch
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.subjects.identity import exact_arithmetic
from robustbench_ms.subjects.loading import load_model

CPU = torch.device("cpu")
SCENES = int(os.environ.get("RBMS_BENCH_SCENES", "100"))
NETWORKS = ("scenes-fcn", "scenes-fcn-cbam", "scenes-fcn-ema", "scenes-fcn-dmsca")


def bare(suite, card, places):
    """A function that takes one condition's passes of a card."""
    index = index_of(suite.source(("map",)), places, CLEAN)
    data = index.open("stored")
    model = load_model(card, index, device=CPU, places=places)
    size = index.layout.values * fitting_batch(index.layout.values, CPU)
    batches = [data.load(rows, CPU) for rows in data.batches(size)]

    def passes():
        with exact_arithmetic(), torch.no_grad():
            for batch in batches:
                logits = model.forward(model.prepare(batch.samples)[0])
                for one in logits:  # as torch is fastest: one at a time, and max rather than argmax
                    size = batch.samples.shape[-2:]
                    F.interpolate(one[None], size=size, mode="bilinear", align_corners=False)[0].max(dim=0)

    return passes


def bench_labels(benchmark, tmp_path):
    torch.set_num_threads(1)
    suite = find_suite("quick-segmentation").limited(SCENES)
    suite = replace(suite, matrix={**suite.matrix, "severity": (3,)})
    cards = [replace(find_card(name), weights=(), untrained=True) for name in NETWORKS]
    places = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    for corruption in suite.matrix["corruption"]:  # compiled once, not timed
        corrupt(torch.zeros(2, 3, 128, 128, dtype=torch.uint8), corruption, 3, profile=suite.profile)
    passes = {card.name: bare(suite, card, places) for card in cards}
    for one in passes.values():
        one()
    spent, bares = [], []

    def clocked():
        begin = time.process_time()
        for event in run(suite, cards, places, Settings("cpu", threads=1)):
            if isinstance(event, CellDone):
                spent.append(time.process_time() - begin)
                begin = time.process_time()
                passes[event.card]()
                bares.append(time.process_time() - begin)
                begin = time.process_time()

    benchmark.pedantic(clocked, rounds=1, iterations=1)
    first, beyond = len(cards), sum(bares[len(cards) :])
    print(
        f"\n{suite.label}, {first} cards: {sum(spent[first:]) / beyond:.3f} x {beyond:.1f} s of bare passes; "
        f"{sum(spent[:first]):.1f} s in the first condition with what is done once"
    )
