"""Records whose true losses are known, made without a model: for the tests of the gate and for its simulation.

An answer is right where a margin is above 0. The reference's margin is the cell's ease, the image's own ease and a
part of its own; the candidate's is the same with noise, part of it the image's, so that answers change both ways, and
a shift that costs exactly the wanted loss in expectation. The spreads are chosen so that about a tenth of the answers
change with correlations between the cells of an image as real pairs of models have them: measured between 0.08 and
0.18 where 5 to 20 % of the answers change (digits networks of two seeds, ResNet-20 against ResNet-32 and against
itself with 60 % of its weights pruned, 400 images of CIFAR-10 under 70 corruptions).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from robustbench_ms.records.record import Environment, Measurement, Record, write_record
from robustbench_ms.records.samples import Samples
from tests.records import CORRUPTED, MATRIX

KEYS = ("clean", *CORRUPTED)
IMAGE, OWN = 0.8, 1.0
NOISE, SHARED = 0.55, 0.8
_ENVIRONMENT = Environment(
    version="0", commit=None, dirty=None, python="3.11", torch="2.11", cuda=None, device="cpu", cpu="c", os="o",
    packages={},
)  # fmt: skip


@dataclass(frozen=True)
class InMemory(Record):
    """A record whose bits are in no file."""

    kept: Samples | None = None

    def samples(self):
        return self.kept


def eases():
    """Each cell's ease: 92 % clean, and from 90 % down to 45 % under the corruptions."""
    normal = NormalDist()
    shares = [0.92, *np.linspace(0.90, 0.45, len(CORRUPTED))]
    return np.array([normal.inv_cdf(share) for share in shares]) * np.hypot(IMAGE, OWN)


def shift_for(cells, loss):
    """The shift of the candidate's margins that loses `loss` on average over the cells, by bisection."""
    normal = NormalDist()
    before = np.mean([normal.cdf(a / np.hypot(IMAGE, OWN)) for a in cells])
    spread = np.sqrt(IMAGE**2 + OWN**2 + NOISE**2)
    low, high = -3.0, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        lost = before - np.mean([normal.cdf((a - middle) / spread) for a in cells])
        low, high = (middle, high) if lost < loss else (low, middle)
    return (low + high) / 2


def bits(n, losses, seed):
    """Two models' answers (76, n), the second losing losses[0] clean and losses[1] under corruption, in expectation."""
    random = np.random.default_rng(seed)
    ease = eases()
    shifts = np.full(len(ease), shift_for(tuple(ease[1:]), losses[1]))
    shifts[0] = shift_for(tuple(ease[:1]), losses[0])
    margins = random.standard_normal((len(ease), n), dtype=np.float32) * OWN
    margins += (ease[:, None] + IMAGE * random.standard_normal(n, dtype=np.float32)).astype(np.float32)
    noise = random.standard_normal((len(ease), n), dtype=np.float32) * np.float32(NOISE * np.sqrt(1 - SHARED))
    noise += np.float32(NOISE * np.sqrt(SHARED)) * random.standard_normal(n, dtype=np.float32)
    return margins > 0, margins + noise - shifts[:, None].astype(np.float32) > 0


def record(
    correct, keys=KEYS, *, name="model", scores=None, kept=True, errors=(), suite="cifar10-c", **fields
):
    """A record of these answers; `fields` of the protocol may differ; cells in `errors` ended in one."""
    protocol = {
        "task": "classification",
        "dataset": "cifar10",
        "limit": None,
        "n": correct.shape[1],
        "seed": 0,
    }
    protocol |= {name: value for name, value in fields.items() if name != "corruption_protocol"}
    measurements = []
    for key, row in zip(keys, correct, strict=True):
        condition = {} if key == "clean" else dict(part.split("=") for part in key.split(","))
        if key != "clean":
            condition["corruption_protocol"] = fields.get("corruption_protocol", 1)
        mean = float(row.mean())
        error = (mean * (1 - mean) / max(1, row.size - 1)) ** 0.5
        values = {"accuracy": {"mean": mean, "stderr": error}}
        for score, rows in (scores or {}).items():
            told = np.asarray(rows, dtype=np.float64)
            values[score] = {
                "mean": float(told.mean()),
                "stderr": float(told.std(ddof=1) / np.sqrt(told.size)),
            }
        failed = key in errors
        measurements.append(
            Measurement(
                key, repr(sorted({**protocol, **condition}.items())), condition, {} if failed else values,
                0 if failed else row.size, {}, "RuntimeError: it broke" if failed else None,
            )
        )  # fmt: skip
    done = [i for i, key in enumerate(keys) if key not in errors]
    rows = {
        f"{s}_{part}": np.float16(v) for s, v in (scores or {}).items() for part in ("clean", "corrupted")
    }
    samples = Samples(tuple(keys[i] for i in done), correct[done], rows)
    return InMemory(
        suite={
            "name": suite,
            "summary": ["mean_corruption_accuracy", "clean_accuracy"],
            "protocol": protocol,
            **MATRIX,
        },
        card={"name": name, "weights": None},
        subject={"digest": f"{hashlib.sha256(correct.tobytes()).hexdigest()[:16]}"},
        health={"warnings": []},
        environments=(_ENVIRONMENT,),
        started="2026-01-01T00:00:00Z",
        measurements=tuple(measurements),
        kept=samples if kept else None,
    )


def pair(n, losses, seed):
    """A reference and a candidate with these true losses."""
    one, other = bits(n, losses, seed)
    return record(one, name="reference"), record(other, name="candidate")


def answers(n=600, share=0.8, seed=0):
    """Bits of all cells, right with that share."""
    return np.random.default_rng(seed).random((len(KEYS), n)) < share


def kept(folder, one, name="mine", card=None):
    """Write a record under a name, as a run would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_record(replace(one, card={"name": card or name, "weights": None}), one.samples(), path)
    return path


def turned_wrong(correct, count, key="clean"):
    changed = correct.copy()
    row = KEYS.index(key)
    changed[row][np.flatnonzero(correct[row])[:count]] = False
    return changed
