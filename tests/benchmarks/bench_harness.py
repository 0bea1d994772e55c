"""What the harness costs over the model's bare forward passes, in one run on the same images.

    make bench FILE=tests/benchmarks/bench_harness.py

Needs RBMS_DATA with CIFAR-10 and the published ResNet-20. RBMS_BENCH_LIMIT (default 1,000) images a cell: the
ratio does not depend on it once a cell takes longer than opening it.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
import torch

from robustbench_ms.catalog import find_card, find_suite
from robustbench_ms.corruptions import corrupt
from robustbench_ms.identity import exact_arithmetic
from robustbench_ms.loading import load_model
from robustbench_ms.places import Places
from robustbench_ms.planning import CLEAN, conditions
from robustbench_ms.runner import _batch_size, run
from robustbench_ms.tasks import find_task

LIMIT = int(os.environ.get("RBMS_BENCH_LIMIT", "1000"))
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]


@pytest.fixture
def places(tmp_path):
    found = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    if not (found.data / "weights" / "resnet20-12fca82f.th").exists():
        pytest.skip("RBMS_DATA has no weights/resnet20-12fca82f.th")
    return found


def bare_seconds(suite, card, places, device):
    """The forward passes alone: every batch ready on the device, nothing kept."""
    where = torch.device(device)
    task = find_task(suite.task)
    data = task.open(suite, places, CLEAN)
    model = load_model(card, classes=10, channels=3, device=where, places=places)
    step = _batch_size(data.shape, where)
    batches = [task.load(data, i, min(i + step, len(data)), where).samples for i in range(0, len(data), step)]
    model(batches[0])
    begin = time.perf_counter()
    with exact_arithmetic():
        for _ in conditions(suite):
            for batch in batches:
                model(batch)
        if where.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - begin


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "cards"), [("cifar10-c", 1), ("cifar10-c", 10), ("cifar10", 1)])
def bench_overhead(benchmark, places, device, name, cards):
    suite = find_suite(name).limited(LIMIT if name == "cifar10-c" else None)
    card = find_card("resnet20")
    for corruption in suite.matrix.get("corruption", ()):  # compiled once, not timed
        corrupt(torch.zeros(2, 3, 32, 32, dtype=torch.uint8, device=device), corruption, 1, profile="cifar")
    several = [replace(card, name=f"resnet20-{i}") for i in range(cards)]
    bare = cards * bare_seconds(suite, card, places, device)

    def measure():
        return list(run(suite, several, places, device=device))

    benchmark.pedantic(measure, rounds=1, iterations=1)
    bare = min(bare, cards * bare_seconds(suite, card, places, device))
    ratio = benchmark.stats.stats.mean / bare
    benchmark.extra_info.update(bare_seconds=round(bare, 2), ratio=round(ratio, 3), images=LIMIT, cards=cards)
    print(f"\n{name}, {cards} card(s), {device}: {ratio:.3f} x the bare forward passes ({bare:.1f} s)")
