"""What har-mini-faults costs in one run of all its networks over their bare passes, in CPU seconds of one thread.

    make bench FILE=tests/benchmarks/bench_faults_suite.py

The six cards of har-*, all in one run, as their records are made, with their weights where these are there and random
ones elsewhere; windows are UCI HAR's sub-sample where RBMS_DATA has it, and the tests' own made ones elsewhere. The
bare passes ask each network about all windows, batches ready in memory, once a condition. What is done once a run falls
to the first condition and is told apart. RBMS_BENCH_LEVELS (default 3) are the faults' levels, as 1,2,3,4,5.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from robustbench_ms.catalog.find import card_names, find_card, find_suite
from robustbench_ms.specs.places import Places
from tests import signalled
from tests.benchmarks.turns import together_in_turns, whole_calls

CARDS = sorted(name for name in card_names() if name.startswith("har-"))
LEVELS = tuple(map(int, os.environ.get("RBMS_BENCH_LEVELS", "3").split(",")))


def of_one_seed(name):
    """A card with the first of its weights, or untrained where they are not there."""
    card = find_card(name)
    there = [one for one in card.weights if (Path(str(card.folder)) / one.file).is_file()]
    return replace(card, weights=tuple(there[:1]), untrained=not there)


def bench_faults_suite(benchmark, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    data = os.environ.get("RBMS_DATA")
    if data is None:
        signalled.har_folder(tmp_path / "data", monkeypatch, n=950)
    places = Places.find(
        data=data or tmp_path / "data", results=tmp_path / "results", cache=tmp_path / "cache"
    )
    suite = find_suite("har-mini-faults")
    suite = replace(suite, matrix={**suite.matrix, "level": LEVELS})
    cards = [of_one_seed(name) for name in CARDS]
    calls = {card.name: whole_calls(suite, card, places) for card in cards}
    cells, spent, bare, once = together_in_turns(benchmark, suite, cards, places, calls)
    print(
        f"\n{suite.label}, {len(cards)} cards, {cells} cells: {spent / bare:.3f} x {bare:.1f} s of bare passes; "
        f"{once:.1f} s in the first condition with what is done once"
    )
