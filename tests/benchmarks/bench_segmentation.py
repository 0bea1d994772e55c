"""What labelling costs over bare passes of the same batches, in CPU seconds of one thread.

    make bench FILE=tests/benchmarks/bench_segmentation.py

The networks of quick-segmentation, of random weights, all in one run; RBMS_BENCH_SCENES (default 100) scenes under each
of its corruptions at severity 3. A bare pass ends with classes on the picture's own grid, on batches that are ready:
the network, bilinear enlargement, the largest logit. What a run does once falls to its first condition and is told
apart.
"""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch.nn import functional as F

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.corruptions import corrupt
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.identity import exact_arithmetic
from tests.benchmarks.turns import ready, together_in_turns

CPU = torch.device("cpu")
SCENES = int(os.environ.get("RBMS_BENCH_SCENES", "100"))
NETWORKS = ("scenes-fcn", "scenes-fcn-cbam", "scenes-fcn-ema", "scenes-fcn-dmsca")


def passes_of(suite, card, places):
    """A function that takes one condition's passes of a card."""
    model, batches = ready(suite, card, places)

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
    passes = {card.name: passes_of(suite, card, places) for card in cards}
    cells, spent, bare, once = together_in_turns(benchmark, suite, cards, places, passes)
    print(
        f"\n{suite.label}, {len(cards)} cards, {cells} cells: {spent / bare:.3f} x {bare:.1f} s of bare passes; "
        f"{once:.1f} s in the first condition with what is done once"
    )
