"""The profiler against timm's convention, and against itself: one model under two names.

    make bench FILE=tests/benchmarks/bench_profiles.py

timm's benchmark.py has the input ready on the device, 10 warm-ups and 40 calls with a synchronise after each, and
divides images by the mean time; its loop is written here again, and runs in turns with ours in one process. Nothing is
asserted: on a machine where others are at work the ratio says what they did. How many cores they used is printed.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.profiling.loop import Stopwatch, calls_of, in_turns, warm_up
from robustbench_ms.profiling.machine import Others, synchronize
from robustbench_ms.profiling.subject import Setting, load
from robustbench_ms.statistics.intervals import mean_interval
from robustbench_ms.statistics.timings import ratio
from tests.benchmarks.devices import DEVICES

THREADS = int(os.environ.get("RBMS_BENCH_THREADS", "2"))
ROUNDS = int(os.environ.get("RBMS_BENCH_ROUNDS", "5"))
CASES = [("imagenet-resnet50", 8), ("resnet20", 8), ("resnet20-ema", 1)]


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def timms(run, device):
    """Seconds of a step as timm takes them."""
    for _ in range(10):
        run()
    took = []
    for _ in range(40):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        took.append(time.perf_counter() - begin)
    return float(np.mean(took))


def ours(run, device):
    """Seconds of a step as rbms profile takes them."""
    warm = warm_up(run, Stopwatch(device))
    found = in_turns({"it": run}, {"it": calls_of(warm.seconds)}, 10, device, nullcontext)["it"].host
    return float(np.mean(np.concatenate(found)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "batch"), CASES)
def bench_against_timms_convention(benchmark, name, batch, device):
    where = torch.device(device)
    run = load(find_card(name), where, None).call(Setting(batch))
    logs = []
    with Others() as others:
        for i in range(ROUNDS):
            sides = [("timm", timms), ("ours", ours)]
            took = {side: call(run, where) for side, call in (sides if i % 2 else sides[::-1])}
            logs.append(math.log(took["timm"] / took["ours"]))
    mean, low, high = map(math.exp, mean_interval(np.array(logs)))
    benchmark.pedantic(run, rounds=3, iterations=1)
    benchmark.extra_info.update(ratio=round(mean, 4))
    print(
        f"\n{name}, batch {batch}, {device}: images/s ours over timm's {mean:.3f} ({low:.3f}-{high:.3f}), "
        f"{'within' if abs(mean - 1) <= 0.05 else 'not within'} 5 %; others used {others.cores} cores"
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "batch"), CASES)
def bench_one_model_under_two_names(benchmark, name, batch, device):
    where = torch.device(device)
    runs = {side: load(find_card(name), where, None).call(Setting(batch)) for side in ("one", "other")}
    calls = {side: calls_of(warm_up(run, Stopwatch(where)).seconds) for side, run in runs.items()}
    with Others() as others:
        found = in_turns(runs, calls, 20, where, nullcontext)
    apart = ratio(found["one"].host, found["other"].host)
    benchmark.pedantic(runs["one"], rounds=3, iterations=1)
    print(
        f"\n{name}, batch {batch}, {device}: time of one over the other's "
        f"{apart.mean - 1:+.2%} ({apart.low - 1:+.2%} to {apart.high - 1:+.2%}); others used {others.cores} cores"
    )
