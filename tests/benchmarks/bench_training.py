"""What training costs over the bare forward and backward passes and steps of the same batches, in turns, in one run.

    make bench FILE=tests/benchmarks/bench_training.py

RBMS_BENCH_STEPS (default 12) batches of 128 a turn, five turns, images made up. The held-out pass and the
checkpoint are told apart. Without the channels_last that the cards ask for, the same passes stand beside them.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from robustbench_ms.catalog.find import find_card
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.training.loop import _Training, read_recipe
from tests.benchmarks.devices import DEVICES

STEPS = int(os.environ.get("RBMS_BENCH_STEPS", "12"))
TURNS = 5


@pytest.fixture
def places(tmp_path):
    random = np.random.default_rng(0)
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    n = round(STEPS * 128 / 0.9) + 20
    np.save(folder / "train_images.npy", random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8))
    np.save(folder / "train_labels.npy", np.arange(n) % 10)
    return Places(tmp_path / "data", tmp_path / "results", tmp_path / "cache")


def made(name, places, device, **facts):
    card = replace(find_card(name), **facts)
    return _Training(card, read_recipe(card), places, 0, torch.device(device))


def bare(training):
    """Forward, backward and step over batches that are ready on the device, and nothing else."""
    layout = training.layout
    batches = [
        training.preprocess(training.images[i * 128 : (i + 1) * 128]).contiguous(memory_format=layout)
        for i in range(training.steps)
    ]
    targets = [training.labels[i * 128 : (i + 1) * 128] for i in range(training.steps)]

    def turn():
        training.model.train()
        for shown, target in zip(batches, targets, strict=True):
            loss = F.cross_entropy(training.model(shown), target)
            training.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            training.optimizer.step()
        if training.device.type == "cuda":
            torch.cuda.synchronize()

    return turn


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["resnet20-fast", "resnet20-fast-ema"])
def bench_training_over_its_passes(places, name, device):
    whole, passes = made(name, places, device), bare(made(name, places, device))
    contiguous = bare(made(name, places, device, memory_format="contiguous"))
    calls = {"training": lambda: whole.epoch(0), "passes": passes, "contiguous": contiguous}
    for call in calls.values():
        call()
    times = {key: [] for key in calls}
    for turn in range(TURNS):
        for key in [*calls][:: 1 if turn % 2 else -1]:
            times[key].append(seconds(calls[key]))
    held = median(seconds(whole.held_out_accuracy) for _ in range(3))
    n = whole.steps * 128
    found = {key: median(values) for key, values in times.items()}
    print(
        f"\n{name} on {device}, {torch.get_num_threads()} threads: {n / found['training']:.0f} images/s; "
        f"over bare passes {found['training'] / found['passes']:.3f}; "
        f"passes without channels_last {found['contiguous'] / found['passes']:.2f} times as long; "
        f"held-out pass {held / len(whole.held_out[0]) * 1e3:.2f} ms an image"
    )
