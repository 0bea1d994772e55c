"""What the harness costs over a detector's whole call, in one run on the same pictures.

    RBMS_DATA=... make bench FILE=tests/benchmarks/bench_detection.py

YOLOX-nano on coco-mini-c's 79 pictures under each common corruption at severity 3, one thread.
The other side is the detector's whole call (preparation, session, decoding, suppression) on the same pictures, decoded
and uncorrupted in memory; cells and calls take turns. Times are this process's CPU seconds, so that other processes
disturb little; what is done once a run (loading, the probe, digests, decoding) and what is compiled are left out.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.corruptions import corrupt
from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.specs.places import Places
from tests.benchmarks.turns import in_turns, whole_calls

SEVERITY = 3


@pytest.fixture
def places(tmp_path):
    found = Places.find(results=tmp_path / "results", cache=tmp_path / "cache")
    for name in ("coco-mini", "detectors/yolox_nano.onnx"):
        if not (found.data / name).exists():
            pytest.skip(f"RBMS_DATA has no {name}")
    return found


def bench_detector(places):
    torch.set_num_threads(1)
    suite, card = find_suite("coco-mini-c"), find_card("yolox-nano")
    suite = replace(suite, matrix={"corruption": COMMON, "severity": (SEVERITY,)})
    asked = whole_calls(suite, card, places)
    asked()
    for name in COMMON:  # compiled once, not timed
        corrupt(torch.zeros(2, 3, 480, 640, dtype=torch.uint8), name, SEVERITY, profile="any-size")
    cells, calls, once = in_turns(suite, card, places, asked)
    ratios = {key: spent / call for (key, spent), call in zip(cells.items(), calls, strict=True)}
    print(
        f"\n{len(cells)} cells of 79 pictures: {sum(cells.values()) / sum(calls):.3f} x {sum(calls):.1f} s of whole "
        f"calls, median {median(ratios.values()):.3f}; once a run {once:.1f} s"
    )
    for key, ratio in ratios.items():
        print(f"  {key:40} {ratio:.3f}")
