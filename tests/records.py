"""Records made of given accuracies, for the tests of what is derived from records."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.records.record import Environment, Measurement, Record, write_record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.upgrades import GROUPS

CORRUPTED = tuple(f"corruption={c},severity={s}" for c in COMMON for s in range(1, 6))
ENVIRONMENT = Environment("0", None, None, "3.11", "2.11", None, "cpu", "a CPU", "Linux", {})

MATRIX = {
    "matrix": {"corruption": list(COMMON), "severity": [1, 2, 3, 4, 5]},
    "groups": GROUPS,
    "limit": None,
    "seed": 0,
}
"""What a record says of a suite of the common corruptions."""


def keys():
    return ["clean", *CORRUPTED]


def record_of(
    accuracies, name="net", *, dataset="cifar10", summary=("clean_accuracy",), n=100, seed=0, **card
):
    """A record whose cells have the given accuracies ({key: fraction}); nll, brier and ece follow from them."""
    measurements = []
    for key, accuracy in accuracies.items():
        values = {
            "accuracy": accuracy,
            "nll": 3 * (1 - accuracy),
            "brier": 1 - accuracy,
            "ece": 0.1 * accuracy,
        }
        measurements.append(
            Measurement(
                key=key,
                protocol=f"{abs(hash((key, seed, dataset))):x}"[:16],
                condition={"seed": seed} if key != "clean" else {},
                values={metric: {"mean": value, "stderr": 0.01} for metric, value in values.items()},
                n=n,
                seconds={"model": 1.0},
            )
        )
    return Record(
        suite={
            "name": "made",
            "summary": list(summary),
            "protocol": {"dataset": dataset, "split": "test"},
            **MATRIX,
        },
        card={"name": name, "weights": None, **card},
        subject={"digest": f"{zlib.crc32(repr((name, accuracies)).encode()):016x}"},
        health={"warnings": [], "nondeterministic": False},
        environments=(ENVIRONMENT,),
        started="2026-01-01T00:00:00Z",
        measurements=tuple(measurements),
    )


def written(record, folder, correct, **scores):
    """The same record in a file, with the bits of its samples (cells, n) and scores beside it, whose means it has."""
    path = folder / f"{record.name}.json"
    half = {name: np.asarray(row, np.float16) for name, row in scores.items()}
    measurements = []
    for m in record.measurements:
        values = {name: dict(value) for name, value in m.values.items()}
        for name, row in half.items():
            measure, _, over = name.partition("_")
            if (over == "clean") == (m.key == "clean"):
                values[measure]["mean"] = float(np.mean(row, dtype=np.float64))
        measurements.append(replace(m, values=values))
    record = replace(record, measurements=tuple(measurements))
    write_record(record, Samples(tuple(m.key for m in record.measurements), correct, half), path)
    return replace(record, path=path)
