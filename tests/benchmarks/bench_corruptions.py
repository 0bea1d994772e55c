"""Every corruption against the reference package's one-image loop, on the same images in the same run.

    make bench FILE=tests/benchmarks/bench_corruptions.py

Rows: 224 (batch of 32), 32 (batch of 256), one 480 x 640 image, and on a CUDA device 224 (batch of 256) beside
what copying the bytes takes. The CPU rows run on RBMS_BENCH_THREADS threads (default 2) and profile
"any-size", which is the package's own protocol, through the public `corrupt`; the package is left to use
what threads OpenCV gives it. Each time is the least of several, reference and ours in turns, so that other
work on the machine weighs little; a ratio is the geometric mean over the five severities. Nothing is asserted
about time: the tables are what this is for.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from statistics import geometric_mean

import cv2
import numpy as np
import pytest
import torch

from robustbench_ms.corruptions import corrupt
from robustbench_ms.corruptions.table import COMMON, NAMES, SEVERITIES
from tests.oracles.photographs import crops, rectangle

THREADS = int(os.environ.get("RBMS_BENCH_THREADS", "2"))
ROWS = {
    "224 x 32 images": (224, 224, 32),
    "32 x 256 images": (32, 32, 256),
    "480x640, one image": (480, 640, 1),
}
AIMS = {"224 x 32 images": 35, "32 x 256 images": 60, "480x640, one image": 15}
PATIENCE = 0.2
"""Seconds that one side of one cell is measured at least."""


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table():
    """Collects {row: {name: (reference, ours, ratios)}} and prints it at the end."""
    rows: dict[str, dict[str, tuple[float, float, list[float]]]] = {row: {} for row in ROWS}
    yield rows
    for row, cells in rows.items():
        if not cells:
            continue
        print(f"\n\n{row}, {THREADS} threads, OpenCV {cv2.__version__}, torch {torch.__version__}")
        print(f"{'':20s}{'reference':>12s}{'ours':>12s}{'ratio':>9s}   severities 1..5 (ms an image, means)")
        for name, (reference, ours, ratios) in cells.items():
            each = " ".join(f"{ratio:7.1f}" for ratio in ratios)
            print(f"{name:20s}{reference:12.4f}{ours:12.4f}{geometric_mean(ratios):9.1f}  {each}")
        for group, names in (("15 common", COMMON), ("all 19", NAMES)):
            if set(names) <= set(cells):
                mean = geometric_mean([r for name in names for r in cells[name][2]])
                aim = f" (aim {AIMS[row]})" if names is COMMON else ""
                print(f"geometric mean, {group}: {mean:.1f}{aim}")


def _least(run: Callable[[], object], seconds: float) -> list[float]:
    """Times of `run`, for so many seconds and at least twice."""
    times = []
    while len(times) < 2 or sum(times) < seconds:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return times


def _images(height: int, width: int, count: int) -> list[np.ndarray]:
    if height != width:
        return [rectangle(height, width, index) for index in range(count)]
    return crops(height, count)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", ROWS)
def bench_against_the_package(benchmark, table, row, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import imagecorruptions

    height, width, count = ROWS[row]
    images = _images(height, width, count)
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    few = images[: max(1, 8 if height > 100 else 24)]

    def theirs(severity: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its spatter divides by zero where no drop fell
            for image in few:
                imagecorruptions.corrupt(image, severity, name)

    def ours(severity: int) -> None:
        corrupt(batch, name, severity)

    reference_ms, our_ms = [], []
    for severity in SEVERITIES:
        theirs(severity), ours(severity)  # compiled, and tables made
        slow, fast = [], []
        for _ in range(3):
            slow += _least(lambda s=severity: theirs(s), PATIENCE / 3)
            fast += _least(lambda s=severity: ours(s), PATIENCE / 3)
        reference_ms.append(1e3 * min(slow) / len(few))
        our_ms.append(1e3 * min(fast) / count)
    ratios = [r / o for r, o in zip(reference_ms, our_ms, strict=True)]
    table[row][name] = (float(np.mean(reference_ms)), float(np.mean(our_ms)), ratios)
    benchmark.extra_info.update(
        reference_ms=reference_ms, our_ms=our_ms, ratio=geometric_mean(ratios), threads=THREADS
    )
    benchmark.pedantic(ours, args=(3,), rounds=3)


@pytest.fixture(scope="module")
def bandwidth():
    """Bytes a second, read and written, of copying one GB on the device."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / _device_seconds(lambda: target.copy_(source))


def _device_seconds(run: Callable[[], object]) -> float:
    """The least of ten, between two events on the stream."""
    times = []
    for _ in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return min(times[2:])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def bench_on_cuda(benchmark, bandwidth, name):
    images = torch.from_numpy(np.stack(crops(224, 256))).permute(0, 3, 1, 2).contiguous().cuda()
    limit = bandwidth / (2 * images[0].numel())
    rates = [
        len(images) / _device_seconds(lambda s=severity: corrupt(images, name, s, profile="imagenet"))
        for severity in SEVERITIES
    ]
    benchmark.extra_info.update(device=torch.cuda.get_device_name(), images_per_second=rates, copying=limit)
    each = " ".join(f"{rate:11,.0f}" for rate in rates)
    print(f"\n{name:20s}{each} images/s at severities 1..5; copying alone {limit:,.0f}")
    benchmark.pedantic(corrupt, args=(images, name, 3), kwargs={"profile": "imagenet"}, rounds=3)
