"""Average precision: arrays in, numbers out, against pycocotools called once a cell.

    RBMS_DATA=... make bench FILE=tests/benchmarks/bench_ap.py

75 cells of coco-mini's 79 images, and of 1,000 images (the same under new ids), with made-up detections, 100 an image.
pycocotools' time is that of evaluate, accumulate and summarize, without reading and indexing what it is given; both are
single-threaded. The replicates of the jackknife are timed apart. Nothing is asserted about time; the numbers are.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.tasks.detection import measures
from robustbench_ms.tasks.measure import jackknife_weights
from robustbench_ms.tasks.outcomes import Items, Outcomes
from tests.detections import as_coco, from_files

CELLS, JUDGED = 75, {79: 8, 1000: 1}
"""How many cells pycocotools, and the replicates, are timed on; the rest is taken to be like them."""
NAMES = measures.SCORERS[0].names


@pytest.fixture(scope="module", params=sorted(JUDGED))
def truth(request):
    """The truth of so many images, and their ids."""
    path = Path(os.environ.get("RBMS_DATA", "")) / "coco-mini/annotations/instances_val2017.json"
    if not path.exists():
        pytest.skip(f"RBMS_DATA has no {path.name}")
    _, one, ids = from_files(path, [], "bbox")
    count, table = request.param, one.items["truths"]
    turns = -(-count // ids.size)
    owner = (table.owner[None] + ids.size * np.arange(turns)[:, None]).ravel()
    kept = owner < count
    columns = {name: np.tile(c, (turns,) + (1,) * (c.ndim - 1))[kept] for name, c in table.columns.items()}
    samples = {name: np.tile(c, turns)[:count] for name, c in one.samples.items()}
    return Outcomes(samples, {"truths": Items(owner[kept], columns)}), np.arange(1, count + 1)


def made_up(truth, seed):
    """A hundred detections an image: near a true box and of its class mostly, else anywhere."""
    random = np.random.default_rng(seed)
    table, n = truth.items["truths"], truth.samples["height"].size
    owner = np.repeat(np.arange(n), 100)
    sides = np.stack([truth.samples["width"], truth.samples["height"]] * 2, axis=1)[owner]
    corner = random.random((owner.size, 2)) * 0.8
    box = np.concatenate([corner, corner + 0.01 + 0.19 * random.random((owner.size, 2))], axis=1) * sides
    label = random.integers(0, 80, owner.size)
    score = random.random(owner.size) ** 3
    first = np.searchsorted(table.owner, np.arange(n))
    count = np.bincount(table.owner, minlength=n)
    near = (random.random(owner.size) < 0.3) & (count[owner] > 0)
    at = first[owner[near]] + random.integers(0, 1 << 30, near.sum()) % count[owner[near]]
    box[near] = table.columns["box"][at] + random.normal(0, 4, (near.sum(), 4))
    box[near, 2:] = np.maximum(box[near, 2:], box[near, :2] + 1)
    label[near], score[near] = table.columns["label"][at], random.random(near.sum())
    order = np.lexsort((-score, owner))
    columns = {"box": box[order].astype(np.float32), "score": score[order].astype(np.float32)}
    return Outcomes(
        truth.samples, {"detections": Items(owner, columns | {"label": label[order].astype(np.uint16)})}
    )


def bench_cells(truth):
    true, ids = truth
    cells = [made_up(true, seed) for seed in range(CELLS)]
    weights = jackknife_weights(ids)
    measures._weighted(measures._matched(cells[0], true, ids)[0], weights)  # compiles

    ours, replicates, numbers = [], [], []
    for i, cell in enumerate(cells):
        begin = time.process_time()
        found, order = measures._matched(cell, true, ids)
        one = measures._exact(found, ids.size)
        told = time.process_time()
        ours.append(told - begin)
        if i < JUDGED[ids.size]:
            measures._weighted(found, weights[:, order])
            replicates.append(time.process_time() - told)
        numbers.append([one[name][0] for name in NAMES])

    theirs = []
    for cell, expected in zip(cells[: JUDGED[ids.size]], numbers, strict=False):
        spent, stats = _pycocotools(*as_coco(cell, true, ids))
        theirs.append(spent)
        assert np.array_equal(stats, expected)
    one, other, beside = sum(ours), np.mean(theirs) * CELLS, np.mean(replicates) * CELLS
    print(
        f"\n{ids.size:,} images, {CELLS} cells: {one:.2f} s, pycocotools {other:.1f} s ({len(theirs)} cells timed), "
        f"{other / one:.0f} times; {len(weights)} replicates {beside:.1f} s beside it"
    )


def _pycocotools(data, results):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(results), "bbox")
        begin = time.process_time()
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
        return time.process_time() - begin, judged.stats
