"""A small folder of results with hostile names, for the tests of pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.records import MATRIX, record_of, written

HOSTILE = '<img src=x onerror="hit()">&\u202egnp\x1b[31m</script><b>bold</b>'
CORRUPTIONS = ("brightness", "fog")
KEYS = ("clean", *(f"corruption={c},severity={s}" for c in CORRUPTIONS for s in (1, 2, 3)))
SUMMARY = ("accuracy_mean", "clean_accuracy")


def results(folder, models=12, n=200, *, lacking=True):
    """Records of `models` models of a suite: the first has a hostile card, the last lacks a cell."""
    random = np.random.default_rng(0)
    place = folder / "made"
    place.mkdir(parents=True)
    for i in range(models):
        keys = KEYS[:-1] if lacking and i == models - 1 else KEYS
        levels = [0.95 - 0.03 * i, *(0.8 - 0.03 * i - 0.1 * (int(key[-1]) - 1) for key in keys[1:])]
        correct = random.random((len(keys), n)) < np.array(levels)[:, None]
        accuracies = dict(zip(keys, correct.mean(axis=1).tolist(), strict=True))
        record = record_of(
            accuracies, f"net-{i}", n=n, summary=("mean_corruption_accuracy", "clean_accuracy")
        )
        suite = {
            **record.suite,
            **MATRIX,
            "matrix": {"corruption": list(CORRUPTIONS), "severity": [1, 2, 3]},
            "groups": {"common": {"axis": "corruption", "values": list(CORRUPTIONS)}},
        }
        facts = {
            "build": "net:made",
            "source": "javascript:hit() https://arxiv.org/abs/1.2",
            "licence": "MIT",
        }
        if i == 0:
            facts |= {"licence": HOSTILE, "source": HOSTILE}
        measurements = tuple(
            replace(m, protocol=f"{KEYS.index(m.key):016x}", values={"accuracy": m.values["accuracy"]})
            for m in record.measurements
        )
        record = replace(record, suite=suite, measurements=measurements)
        health = {"warnings": [HOSTILE] if i == 0 else [], "nondeterministic": False}
        written(replace(record, card={**record.card, **facts}, health=health), place, correct)
    return folder
