"""What the harness costs over the model's bare forward passes, in one run on the same images.

    make bench FILE=tests/benchmarks/bench_harness.py

CIFAR-10 needs RBMS_DATA with its test set and the published ResNet-20; RBMS_BENCH_LIMIT (default 1,000) images a cell:
the ratio does not depend on it once a cell takes longer than opening it. At 224 the images are made up:
RBMS_BENCH_LIMIT_224 a cell, 5,000 on CUDA, 16 on the CPU. Photographs are imagenet-c-500's with EfficientNet-Lite0,
RBMS_BENCH_PHOTOGRAPHS (default 50) a cell, RBMS_BENCH_TURNS (default 5) runs.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.catalog.registry import index_of
from robustbench_ms.corruptions import SIDES, corrupt
from robustbench_ms.evaluation.events import CellDone
from robustbench_ms.evaluation.jobs import fitting_batch
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.subjects.identity import exact_arithmetic
from robustbench_ms.subjects.loading import load_model
from tests.benchmarks.devices import DEVICES
from tests.benchmarks.turns import in_turns, whole_calls

LIMIT = int(os.environ.get("RBMS_BENCH_LIMIT", "1000"))


@pytest.fixture
def places(tmp_path):
    found = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    if not (found.data / "weights" / "resnet20-12fca82f.th").exists():
        pytest.skip("RBMS_DATA has no weights/resnet20-12fca82f.th")
    return found


def bare_passes(suite, card, places, device):
    """A function that takes one cell's forward passes alone: every batch ready on the device, nothing kept."""
    where = torch.device(device)
    index = index_of(suite.source(), places, CLEAN)
    data = index.open(suite.canvas)
    model = load_model(card, index, device=where, places=places)
    size = index.layout.values * fitting_batch(index.layout, where)
    batches = [data.load(rows, where).samples for rows in data.batches(size)]

    def passes():
        with exact_arithmetic(), torch.inference_mode():
            for batch in batches:
                model.forward(model.prepare(batch)[0])
            if where.type == "cuda":
                torch.cuda.synchronize()

    return passes


def measure(benchmark, suite, cards, places, device):
    """One run of the suite; after each of its cells the clock stops for as many bare passes of that cell.

    So both see the same machine: on a shared one a second's load is spread over both sums. The time that
    pytest-benchmark prints is that of both.
    """
    for corruption in suite.matrix.get("corruption", ()):  # compiled once, not timed
        side = SIDES[suite.profile]
        images = torch.zeros(2, 3, side, side, dtype=torch.uint8, device=device)
        corrupt(images, corruption, 1, profile=suite.profile)
    passes = bare_passes(suite, cards[0], places, device)
    passes()
    spent, bare = [], []

    def clocked():
        begin = time.perf_counter()
        for event in run(suite, cards, places, Settings(device)):
            if isinstance(event, CellDone):
                spent.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                passes()
                bare.append(time.perf_counter() - begin)
                begin = time.perf_counter()
        spent.append(time.perf_counter() - begin)

    benchmark.pedantic(clocked, rounds=1, iterations=1)
    ratio = sum(spent) / sum(bare)
    benchmark.extra_info.update(ratio=round(ratio, 3), images=suite.limit, cards=len(cards))
    print(
        f"\n{suite.label}, {len(cards)} card(s), {device}: {ratio:.3f} x {sum(bare):.1f} s of bare forward passes"
    )


def other(card, i):
    """The same network that answers otherwise: what two names for one answer alike is measured once."""
    shown = replace(card.input, mean=tuple(mean + i / 1000 for mean in card.input.mean))
    return replace(card, name=f"{card.name}-{i}", input=shown)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "cards"), [("cifar10-c", 1), ("cifar10-c", 10), ("cifar10", 1)])
def bench_overhead(benchmark, places, device, name, cards):
    suite = find_suite(name).limited(LIMIT if name == "cifar10-c" else None)
    card = find_card("resnet20")
    measure(benchmark, suite, [other(card, i) for i in range(cards)], places, device)


@pytest.mark.parametrize("device", DEVICES)
def bench_overhead_at_224(benchmark, tmp_path, device):
    """ResNet-50 in bf16 on images in memory, 15 corruptions at 5 severities."""
    count = int(os.environ.get("RBMS_BENCH_LIMIT_224", "5000" if device == "cuda" else "16"))
    images = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", np.arange(count) % 1000)
    path = tmp_path / "made-up.toml"
    path.write_text(
        'dataset = "arrays"\nclasses = 1000\nprofile = "imagenet"\n[matrix]\ncorruption = "common"\n'
        'severity = [1, 2, 3, 4, 5]\n[files]\nimages = "images.npy"\nlabels = "labels.npy"\n'
    )
    card = replace(find_card("imagenet-resnet50"), precision="bf16", memory_format="channels_last")
    found = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    measure(benchmark, find_suite(str(path)), [card], found, device)


def bench_overhead_on_photographs(places, tmp_path):
    """Each of the 75 conditions over bare calls (normalised as there), one thread, CPU seconds; medians of the runs."""
    if not (places.data / "imagenet-val-500").is_dir():
        pytest.skip("RBMS_DATA has no imagenet-val-500")
    torch.set_num_threads(1)
    suite = find_suite("imagenet-c-500").limited(int(os.environ.get("RBMS_BENCH_PHOTOGRAPHS", "50")))
    card = find_card("efficientnet-lite0")
    asked = whole_calls(suite, card, places)
    asked()
    for corruption in suite.matrix["corruption"]:  # compiled once, not timed
        corrupt(torch.zeros(2, 3, 224, 224, dtype=torch.uint8), corruption, 1, profile=suite.profile)
    ratios, over = {}, []
    for turn in range(int(os.environ.get("RBMS_BENCH_TURNS", "5"))):
        cells, calls, once = in_turns(suite, card, replace(places, cache=tmp_path / f"cache{turn}"), asked)
        over.append(sum(cells.values()) / sum(calls))
        for (key, spent), call in zip(cells.items(), calls, strict=True):
            ratios.setdefault(key, []).append(spent / call)
        print(
            f"\n{suite.label}, {card.name}: {over[-1]:.3f} x {sum(calls):.1f} s, once a run {once:.1f} s",
            flush=True,
        )
    cells = {key: float(np.median(found)) for key, found in ratios.items()}
    most = sorted(cells, key=cells.get, reverse=True)[:10]
    print(
        f"median of {len(over)} runs: {np.median(over):.3f} over {len(cells)} conditions, and the largest of any:"
    )
    for key in most:
        print(f"  {key:40} {cells[key]:.3f}")
