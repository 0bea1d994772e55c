"""Artefacts of a volume of 64^3 against TorchIO 1.2.1, and what a suite of volumes costs over bare calls.

    python -m tests.benchmarks.artefacts            the artefacts
    python -m tests.benchmarks.artefacts --suite    `quick-volumes` with `volumes-resnet`, RBMS_BENCH_LIMIT (60) a cell

CPU seconds of one thread, medians of turns: what else runs disturbs little. TorchIO's calls are at as many ghosts and
moves as ours, on what it draws itself; its elastic one has as many points.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.faults.volumes.api import artefact
from robustbench_ms.faults.volumes.table import NAMES
from robustbench_ms.specs.places import Places
from tests.benchmarks.turns import in_turns, whole_calls

SIDE, LEVEL, TURNS = 64, 2, 9


def theirs():
    """TorchIO's transforms of the artefacts that it has, at about level 2."""
    import torchio as tio

    random = np.random.default_rng(0)
    moved = {"degrees": random.uniform(-4, 4, (4, 3)), "translation": random.uniform(-2.5, 2.5, (4, 3))}
    points = np.zeros((7, 7, 7, 3))
    points[1:-1, 1:-1, 1:-1] = random.uniform(-2, 2, (5, 5, 5, 3))
    return {
        "ghosting": tio.Ghosting(num_ghosts=4, axis=0, intensity=1.0, restore=None),
        "motion": tio.Motion(**moved, times=np.sort(random.random(4)), image_interpolation="linear"),
        "spike": tio.Spike(random.uniform(0.3, 0.7, (1, 3)), 0.4),
        "bias_field": tio.BiasField(list(random.uniform(-0.3, 0.3, 20)), 3),
        "elastic": tio.ElasticDeformation(points, np.full(3, 4.0), "linear"),
    }


def seconds(call):
    begin = time.process_time()
    call()
    return time.process_time() - begin


def of_artefacts():
    """Each in turns with TorchIO's own."""
    import torchio as tio

    x = torch.from_numpy(np.random.default_rng(1).random((1, 1, SIDE, SIDE, SIDE), dtype=np.float32)) * 255
    affine = np.eye(4)
    affine[:3, 3] = -(SIDE - 1) / 2  # its motion turns about the world's origin
    image, ids, ratios = tio.ScalarImage(tensor=x[0], affine=affine), torch.tensor([0]), []
    for name, transform in theirs().items():

        def ours(name=name):
            return artefact(x, name, LEVEL, ids=ids, of_bytes=True)

        ours(), transform(image)
        turns = [(seconds(ours), seconds(lambda transform=transform: transform(image))) for _ in range(TURNS)]
        mine, other = np.median(turns, axis=0) * 1e3
        ratios.append(other / mine)
        print(f"{name:12} {mine:7.1f} ms, TorchIO {other:7.1f} ms: {other / mine:5.2f} times", flush=True)
    print(f"geometric mean: {np.exp(np.mean(np.log(ratios))):.2f} times")


def of_suite():
    """A run's cells in turns with bare calls of the same volumes."""
    torch.set_num_threads(1)
    suite = find_suite("quick-volumes").limited(int(os.environ.get("RBMS_BENCH_LIMIT", "60")))
    card = replace(find_card("volumes-resnet"), weights=(), untrained=True)
    with tempfile.TemporaryDirectory() as folder:
        places = Places.find(results=f"{folder}/results", cache=f"{folder}/cache")
        asked = whole_calls(suite, card, places)
        asked()
        for name in NAMES:  # compiled once, not timed
            artefact(torch.rand(1, 1, 8, 8, 8), name, LEVEL, ids=torch.tensor([0]))
        cells, calls, once = in_turns(suite, card, places, asked)
    ratio = sum(cells.values()) / sum(calls)
    print(f"{suite.label}, {card.name}: {ratio:.3f} x {sum(calls):.1f} s, once a run {once:.1f} s")
    for key in sorted(cells, key=cells.get, reverse=True)[:5]:
        print(f"  {key:32} {cells[key] / (sum(calls) / len(calls)):.3f}")


if __name__ == "__main__":
    asked_for = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked_for.add_argument("--suite", action="store_true", help="what a suite costs")
    (of_suite if asked_for.parse_args().suite else of_artefacts)()
