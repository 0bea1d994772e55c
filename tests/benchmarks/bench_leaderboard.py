"""A leaderboard of many records: the whole command with an empty cache, again, and after one record more.

    make bench FILE=tests/benchmarks/bench_leaderboard.py

Records of 76 cells x 10,000 images are made of random bits, which no zip makes smaller; all share the images' ease, and
the models' skills are drawn, so that many pairs are close. RBMS_BENCH_RECORDS (default 20,80,200,500) says how many;
500 take 100 MB and a minute to make. Nothing is asserted about time. CPU seconds are those of the whole command too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np

from robustbench_ms.records.record import write_record
from tests.simulated import KEYS, eases, record

COUNTS = tuple(map(int, os.environ.get("RBMS_BENCH_RECORDS", "20,80,200,500").split(",")))
IMAGES = 10_000
SUMMARY = (
    "mean_corruption_accuracy", "clean_accuracy", "relative_drop", "mean_corruption_nll", "mean_corruption_brier",
)  # fmt: skip


def make(folder, first, last, n=IMAGES):
    """Records `first` to `last` of a suite, model-000.json and its like."""
    random = np.random.default_rng(0)
    ease = (eases()[:, None] + 0.8 * random.standard_normal(n)).astype(np.float32)
    for i in range(first, last):
        random = np.random.default_rng(i + 1)
        skill = np.float32(0.1 * random.standard_normal())
        right = ease + skill + random.standard_normal(ease.shape, dtype=np.float32) > 0
        miss = 1 - right[1:].mean(axis=0)
        scores = {"nll": miss * 2 + random.random(n) * 0.1, "brier": miss}
        made = record(right, KEYS, name=f"model-{i:03}", scores=scores, suite="made")
        made = replace(made, suite={**made.suite, "summary": list(SUMMARY)})
        write_record(made, made.samples(), folder / f"{made.name}.json")


def seconds(folder):
    """Of the whole command, the interpreter's start included: by the clock, and of the CPU."""
    words = ["leaderboard", "made", "--results", folder / "results", "-o", folder / "page.md"]
    environment = {**os.environ, "RBMS_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "robustbench_ms", *words], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, cpu


def told(*times):
    """The least of several, as "1.23 (0.98)"."""
    wall, cpu = (min(one) for one in zip(*times, strict=True))
    return f"{wall:.2f} ({cpu:.2f})"


def bench_leaderboards(benchmark, tmp_path):
    (tmp_path / "results" / "made").mkdir(parents=True)
    lines, made = [], 0
    for count in COUNTS:
        make(tmp_path / "results" / "made", made, count - 1)
        seconds(tmp_path)
        make(tmp_path / "results" / "made", count - 1, count)
        grown = told(seconds(tmp_path))
        for path in tmp_path.glob("cache/leaderboards/*"):
            path.unlink()
        cold = told(seconds(tmp_path))
        warm = told(*(seconds(tmp_path) for _ in range(3)))
        lines.append(f"| {count} | {count * (count - 1) // 2:,} | {cold} | {grown} | {warm} |")
        made = count
    print("\n| records | pairs | nothing kept, s | one record more, s | all kept, s |")
    print("\n".join(["| ---: | ---: | ---: | ---: | ---: |", *lines]))
    benchmark.pedantic(seconds, (tmp_path,), rounds=1)
