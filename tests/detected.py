"""Records of made detections, of the numbers of detection under a task's name of their own."""

from __future__ import annotations

import hashlib

import numpy as np

from robustbench_ms.catalog.registry import TASKS, TaskInfo, measures_of
from robustbench_ms.records.record import Environment, Measurement, Record, write_record
from robustbench_ms.records.samples import Samples
from robustbench_ms.tasks.measure import cell_values, numbers_of
from robustbench_ms.tasks.outcomes import Items, Outcomes
from tests.detections import scene
from tests.records import CORRUPTED, MATRIX

HOME = "robustbench_ms.tasks.detection"
KEYS = ("clean", *CORRUPTED)
SHORT = ("clean", "corruption=fog,severity=1", "corruption=fog,severity=5")
_ENVIRONMENT = Environment("0", None, None, "3.11", "2.11", None, "cpu", "a CPU", "Linux", {})


def register():
    TASKS.register("boxes", TaskInfo("none:Task", f"{HOME}.rows:ROWS", f"{HOME}.measures:SCORERS"))


register()


def lost(outcomes, share, seed):
    """The same without a share of the detections."""
    table = outcomes.items["detections"]
    kept = np.random.default_rng(seed).random(table.owner.size) >= share
    part = Items(table.owner[kept], {n: c[kept] for n, c in table.columns.items()})
    return Outcomes(outcomes.samples, {"detections": part})


def record(shares, *, name="model", images=40, keys=KEYS, seed=1, matrix=MATRIX, summary=("mPC", "P", "rPC")):
    """A record whose cells lack so many of one scene's detections ({key: share}, or one share of all)."""
    outcomes, truth, ids = scene(seed, images=images, most=5, found=12, ties=False, jitter=1, sure=0.8)
    scorers = measures_of("boxes")
    measurements, kept = [], []
    for i, key in enumerate(keys):
        share = shares.get(key, 0.0) if isinstance(shares, dict) else shares
        told = lost(outcomes, min(1.0, share + (0.2 if i else 0)), i)
        values, absent, arrays = cell_values(scorers, told, truth, ids, None)
        condition = {} if key == "clean" else dict(part.split("=") for part in key.split(","))
        measurements.append(Measurement(key, f"{key} {images}", condition, values, images, {}, None, absent))
        kept.append(arrays)
    names = {name: row for arrays in kept for name, row in arrays.items()}
    tables = {
        name: np.stack([arrays.get(name, np.full_like(row, np.nan)) for arrays in kept])
        for name, row in names.items()
    }
    samples = Samples(tuple(keys), np.zeros((len(keys), 0), bool), {}, tables)
    digest = hashlib.sha256(repr([m.values for m in measurements]).encode()).hexdigest()[:16]
    made = Record(
        suite={"name": "made", "summary": list(summary), "protocol": {"dataset": "coco", "n": images}, **matrix},
        card={"name": name, "weights": None},
        subject={"digest": digest},
        health={"warnings": [], "nondeterministic": False},
        environments=(_ENVIRONMENT,),
        started="2026-01-01T00:00:00Z",
        measurements=tuple(measurements),
        task="boxes",
        measures=numbers_of(scorers),
    )  # fmt: skip
    return made, samples


def written(folder, shares, *, name="model", **options):
    """A record in a file, as a run leaves it."""
    made, samples = record(shares, name=name, **options)
    path = folder / f"{name}.json"
    write_record(made, samples, path)
    return path
