"""What two workers gain over one, beside what this machine gives two processes of plain arithmetic over one.

    make bench FILE=tests/benchmarks/bench_workers.py

Medians of five in turns. RBMS_BENCH_LIMIT (default 300) digits a cell.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from statistics import median

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.evaluation.events import CellDone
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings

LIMIT = int(os.environ.get("RBMS_BENCH_LIMIT", "300"))
TURNS = 5
MODELS = ("digits-resnet8@0", "digits-amsra-net@0", "digits-resnet8-ema@0")


def _count(done):
    """Plain arithmetic for a while; how much of it."""
    begin, turns = time.perf_counter(), 0
    while time.perf_counter() - begin < 2:
        sum(i * i for i in range(10_000))
        turns += 1
    done.put(turns)


def yardstick():
    """How much more arithmetic two processes do than one, at most 2."""
    context, rates = mp.get_context("spawn"), []
    for count in (1, 2):
        done = context.Queue()
        started = [context.Process(target=_count, args=(done,)) for _ in range(count)]
        for process in started:
            process.start()
        rates.append(sum(done.get() for _ in started))
        for process in started:
            process.join()
    return rates[1] / rates[0]


def cells_a_second(folder, workers):
    """From the first finished cell to the last; and the seconds to the first."""
    suite, cards = find_suite("quick").limited(LIMIT), [find_card(name) for name in MODELS]
    places, settings = Places(folder, folder / "r", folder / "c"), Settings("cpu", threads=1, workers=workers)
    begin = time.perf_counter()
    events = run(suite, cards, places, settings)
    at = [time.perf_counter() for event in events if isinstance(event, CellDone)]
    return (len(at) - 1) / (at[-1] - at[0]), at[0] - begin


def bench_two_workers(benchmark, tmp_path):
    gains, starts = [], []

    def turns():
        for turn in range(TURNS):
            while (given := yardstick()) < 1.9:  # the machine is busy with something else
                time.sleep(5)
            one, _ = cells_a_second(tmp_path / f"one-{turn}", 1)
            two, start = cells_a_second(tmp_path / f"two-{turn}", 2)
            gains.append(two / one / given)
            starts.append(start)

    benchmark.pedantic(turns, rounds=1, iterations=1)
    benchmark.extra_info.update(of_the_yardstick=round(median(gains), 3), start_up=round(median(starts), 1))
    print(f"\ntwo workers: {median(gains):.3f} of the yardstick; {median(starts):.1f} s to the first cell")
