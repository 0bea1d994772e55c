"""Made detections and truths, as the task's outcomes and as pycocotools' files."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np

from robustbench_ms.tasks.outcomes import Items, Outcomes


def scene(
    seed,
    *,
    images=12,
    classes=4,
    most=6,
    found=15,
    size=(260, 320),
    masks=False,
    ties=True,
    jitter=3,
    sure=0.0,
):
    """Truths and detections (Outcomes, Outcomes, ids): boxes near the truths and others, of many sizes.

    Whole pixels and few scores, so that overlaps and scores are often equal; crowds; images without either. The
    detections near truths have `sure` more in score.
    """
    random = np.random.default_rng(seed)
    ids = random.permutation(images * 3)[:images].astype(np.int64)
    height, width = size
    true, told = [], []
    for i in range(images):
        for _ in range(int(random.integers(0, most + 1))):
            side = np.exp(random.uniform(np.log(6), np.log(220), 2))
            corner = random.uniform(0, [width, height])
            box = np.clip([*corner, *(corner + side)], 0, [width, height] * 2)
            box = np.round(box) if ties else box
            if (box[2:] - box[:2] >= 2).all():
                true.append((i, box, random.integers(classes), random.random() < 0.15, 1.0))
        near = [t for t in true if t[0] == i]
        for _ in range(int(random.integers(0, found + 1))):
            true_one = bool(near) and random.random() < 0.7
            if true_one:
                _, box, label, *_ = near[random.integers(len(near))]
                box = box + random.normal(0, jitter, 4) * (random.random() < 0.8)
                label = label if random.random() < 0.9 else random.integers(classes)
            else:
                corner = random.uniform(0, [width - 20, height - 20])
                box, label = (
                    np.array([*corner, *(corner + random.uniform(4, 90, 2))]),
                    random.integers(classes),
                )
            box = np.clip(np.round(box) if ties else box, 0, [width, height] * 2)
            if (box[2:] - box[:2] >= 1).all():
                score = random.integers(1, 8) / 8 if ties else random.random()
                told.append((i, box, label, score + sure * true_one))
    truths = _items([t[0] for t in true], [t[1] for t in true], [t[2] for t in true])
    columns = truths.columns
    sides = columns["box"][:, 2:].astype(float) - columns["box"][:, :2]
    columns |= {
        "crowd": np.array([t[3] for t in true], bool),
        "ignore": np.zeros(len(true), bool),
        "area": sides.prod(axis=1) * random.uniform(0.5, 1, len(true)),
    }
    detections = _items([d[0] for d in told], [d[1] for d in told], [d[2] for d in told])
    detections.columns["score"] = np.array([d[3] for d in told], np.float32)
    if masks:
        for table in (truths, detections):
            table.columns["rle"] = rles(table.columns["box"], size, random)
    samples = {"height": np.full(images, height), "width": np.full(images, width)}
    return Outcomes(samples, {"detections": detections}), Outcomes(samples, {"truths": truths}), ids


def _items(owner, boxes, labels):
    return Items(
        np.array(owner, np.int64),
        {"box": np.array(boxes, np.float32).reshape(-1, 4), "label": np.array(labels, np.uint16)},
    )


def rles(boxes, size, random):
    """COCO's runs of ellipses with a hole, in the boxes."""
    from pycocotools import mask

    height, width = size
    y, x = np.mgrid[:height, :width]
    told = []
    for x1, y1, x2, y2 in boxes.astype(float):
        at = ((x - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((y - (y1 + y2) / 2) / (y2 - y1)) ** 2
        inside = (at <= 0.25) & (random.random((height, width)) < 0.97)
        told.append(mask.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"])
    return np.array(told, dtype=np.bytes_)


def without(case, kept):
    """The same of some samples, by a mask or in another order."""
    outcomes, truth, ids = case
    rows = np.flatnonzero(kept) if kept.dtype == bool else kept

    def part(of):
        items = {}
        for name, table in of.items.items():
            at = np.concatenate([np.flatnonzero(table.owner == row) for row in rows])
            owner = np.concatenate(
                [np.full(np.count_nonzero(table.owner == row), i) for i, row in enumerate(rows)]
            )
            items[name] = Items(owner, {n: c[at] for n, c in table.columns.items()})
        return Outcomes({n: c[rows] for n, c in of.samples.items()}, items)

    return part(outcomes), part(truth), ids[rows]


def as_coco(outcomes, truth, ids):
    """The dictionaries of an annotation file and of results."""
    truths, found = truth.items["truths"], outcomes.items["detections"]
    sizes = list(zip(truth.samples["height"].tolist(), truth.samples["width"].tolist(), strict=True))

    def box(row):
        x1, y1, x2, y2 = row.astype(float).tolist()
        return [x1, y1, x2 - x1, y2 - y1]

    def one(table, row):
        owner, columns = int(table.owner[row]), table.columns
        told = {"image_id": int(ids[owner]), "category_id": int(columns["label"][row]) + 1}
        if "rle" not in columns:
            return {**told, "bbox": box(columns["box"][row])}
        return {
            **told,
            "segmentation": {"size": list(sizes[owner]), "counts": columns["rle"][row].decode()},
        }

    data = {
        "images": [{"id": int(i), "height": h, "width": w} for i, (h, w) in zip(ids, sizes, strict=True)],
        "categories": [
            {"id": k + 1, "name": str(k)} for k in range(1 + int(truths.columns["label"].max(initial=0)))
        ],
        "annotations": [
            {
                **one(truths, row),
                "id": row + 1,
                "iscrowd": int(truths.columns["crowd"][row] or truths.columns["ignore"][row]),
                "area": float(truths.columns["area"][row]),
            }
            for row in range(truths.owner.size)
        ],
    }
    results = [
        {**one(found, row), "score": float(found.columns["score"][row])} for row in range(found.owner.size)
    ]
    return data, results


def pycoco(data, results, kind):
    """COCOeval after its three steps."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        if results:
            told = truth.loadRes(json.loads(json.dumps(results)))
        else:
            told = COCO()
            told.dataset = {**data, "annotations": []}
            told.createIndex()
        judged = COCOeval(truth, told, kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged


def from_files(annotations, results, kind):
    """The outcomes, the truth and the ids of files of COCO's, as a data set and a task would have them."""
    from pycocotools import mask

    data = json.loads(Path(annotations).read_text()) if not isinstance(annotations, dict) else annotations
    told = json.loads(Path(results).read_text()) if not isinstance(results, list) else results
    places = {image["id"]: i for i, image in enumerate(data["images"])}
    labels = {k: i for i, k in enumerate(sorted(c["id"] for c in data["categories"]))}
    sizes = [(image["height"], image["width"]) for image in data["images"]]

    def table(rows):
        rows = sorted(rows, key=lambda row: places[row["image_id"]])
        owner = [places[row["image_id"]] for row in rows]
        boxes = np.array([row.get("bbox", [0, 0, 1, 1]) for row in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        made = _items(owner, boxes, [labels[row["category_id"]] for row in rows])
        if kind == "segm":
            made.columns["rle"] = np.array(
                [_runs(mask, row["segmentation"], *sizes[i]) for row, i in zip(rows, owner, strict=True)],
                np.bytes_,
            )
        return made, rows

    truths, rows = table(data["annotations"])
    truths.columns["crowd"] = np.array([bool(row.get("iscrowd")) for row in rows])
    truths.columns["ignore"] = np.zeros(len(rows), bool)
    truths.columns["area"] = np.array([row["area"] for row in rows], float)
    found, rows = table(told)
    found.columns["score"] = np.array([row["score"] for row in rows], np.float32)
    samples = {
        "height": np.array([h for h, _ in sizes]),
        "width": np.array([w for _, w in sizes]),
    }
    ids = np.array(list(places), np.int64)
    return Outcomes(samples, {"detections": found}), Outcomes(samples, {"truths": truths}), ids


def _runs(mask, told, height, width):
    if isinstance(told, list):
        return mask.merge(mask.frPyObjects(told, height, width))["counts"]
    if isinstance(told["counts"], list):
        return mask.frPyObjects(told, height, width)["counts"]
    return told["counts"].encode() if isinstance(told["counts"], str) else told["counts"]
