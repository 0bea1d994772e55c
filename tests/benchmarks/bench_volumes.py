"""What a suite of volumes costs in one run of its networks over their bare passes, in CPU seconds of one thread.

    make bench FILE=tests/benchmarks/bench_volumes.py

The two classifiers of quick-volumes, of random weights; RBMS_BENCH_LIMIT (default 60) volumes under each of its
artefacts at levels 1, 3 and 5. The bare passes ask each network about all volumes, batches ready in memory, once a
condition. What is done once a run falls to the first condition and is told apart. One network alone pays for the
artefacts that several share: `python -m tests.benchmarks.artefacts --suite` has the smaller one.
"""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.faults.volumes.api import artefact
from robustbench_ms.faults.volumes.table import NAMES
from robustbench_ms.specs.places import Places
from tests.benchmarks.turns import together_in_turns, whole_calls

NETWORKS = ("volumes-resnet", "volumes-hybrid-har")
LIMIT = int(os.environ.get("RBMS_BENCH_LIMIT", "60"))


def bench_volumes(benchmark, tmp_path):
    torch.set_num_threads(1)
    suite = find_suite("quick-volumes").limited(LIMIT)
    suite = replace(suite, matrix={**suite.matrix, "level": (1, 3, 5)})
    cards = [replace(find_card(name), weights=(), untrained=True) for name in NETWORKS]
    places = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    for name in NAMES:  # compiled once, not timed
        artefact(torch.rand(1, 1, 8, 8, 8), name, 3, ids=torch.tensor([0]))
    calls = {card.name: whole_calls(suite, card, places) for card in cards}
    cells, spent, bare, once = together_in_turns(benchmark, suite, cards, places, calls)
    print(
        f"\n{suite.label}, {len(cards)} cards, {cells} cells: {spent / bare:.3f} x {bare:.1f} s of bare passes; "
        f"{once:.1f} s in the first condition with what is done once"
    )
