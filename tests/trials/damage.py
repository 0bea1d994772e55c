"""Records of format 2 and their arrays with one bit flipped, or edited as people edit: none may be believed.

A damaged record is read, and given to one verb in turn: either both refuse it, or what was read is what was written (an
exponent's e that became an E, a date in the header of an archive) and the verb says what it said before.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_ms.errors import BadFile
from robustbench_ms.records.record import read_record
from robustbench_ms.records.samples import packed, samples_path
from tests.trials import Tally
from tests.trials.desk import Answer, call, fresh

__all__ = ["edits", "flips"]

RULE = ("--rule", "clean_accuracy=50pp")
NET, OTHER = "results/tiny/net.json", "results/tiny/other.json"
VERBS: dict[str, tuple[str, ...]] = {
    "leaderboard": ("leaderboard", "tiny"),
    "compare": ("compare", NET, OTHER),
    "gate": ("gate", NET, "--against", OTHER, *RULE),
    "gate against it": ("gate", OTHER, "--against", NET, *RULE),
    "accept": ("accept", NET, "--results", "accepted"),
    "check": ("check", NET),
    "reproduce": ("reproduce", NET, "--suite", "suites/tiny.toml", "-m", "cards/net.toml"),
    "plan": ("plan", "suites/tiny.toml", "-m", "cards/net.toml"),
}
OF_TEXT = ("plan",)
"""Verbs that read no arrays."""


def content(path: Path) -> tuple[str, dict[str, bytes]]:
    """All that is read of a record and its arrays."""
    record = read_record(path)
    samples = record.samples()
    arrays = {} if samples is None else {name: np.asarray(a).tobytes() for name, a in packed(samples).items()}
    return repr(replace(record, path=None)), arrays


def refused(verb: str, done: Answer) -> bool:
    """Whether a verb would have nothing of it; `check` reports it (1), the others end (2)."""
    return (done.code == 1 and "all well" not in done.out) if verb == "check" else done.one_sentence


class Bench:
    """A desk, and how its record and every verb were before."""

    def __init__(self, desk: Path, work: Path) -> None:
        self.desk, self.work = desk, work
        self.before = content(desk / NET)
        self.codes: dict[str, int] = {}

    def judged(self, tally: Tally, verb: str, what: str) -> None:
        """Count what became of the damaged record in the work folder."""
        if verb not in self.codes:
            clean = fresh(self.desk, self.work.with_name("clean"))
            self.codes[verb] = call(*VERBS[verb], at=clean).code
        try:
            found = content(self.work / NET)
        except BadFile:
            found = None
        except Exception as error:  # noqa: BLE001 - a traceback is what is looked for
            tally.add("wrong", f"{what}: reading raised {type(error).__name__}: {error}")
            return
        if found is not None and found != self.before:
            tally.add("believed", f"{what}: it was believed")
            return
        done = call(*VERBS[verb], at=self.work)
        if done.raised:
            tally.add("wrong", f"{what}: {verb} raised {done.raised}")
        elif found is None and not refused(verb, done):
            tally.add("believed", f"{what}: {verb} believed it (exit {done.code}: {done.err[-200:]})")
        elif found is not None and done.code != self.codes[verb]:
            tally.add("wrong", f"{what}: it changed nothing, and {verb} ends with {done.code}")
        else:
            tally.add("refused" if found is None else "changed nothing that is read")


def flips(count: int, seed: int, desk: Path, work: Path) -> Tally:
    """Single bits, of the text and of the arrays in turn."""
    draw, tally, bench = random.Random(seed), Tally("flipped bits"), Bench(desk, work)
    verbs = {True: [v for v in VERBS if v not in OF_TEXT], False: list(VERBS)}
    for i in range(count):
        path = fresh(desk, work) / NET
        arrays = i % 2 == 1
        file = samples_path(path) if arrays else path
        data = bytearray(file.read_bytes())
        at, bit = draw.randrange(len(data)), draw.randrange(8)
        data[at] ^= 1 << bit
        file.write_bytes(bytes(data))
        verb = verbs[arrays][i // 2 % len(verbs[arrays])]
        bench.judged(tally, verb, f"flip {i}: bit {bit} of byte {at} of {file.name}")
    return tally


def edits(count: int, seed: int, desk: Path, work: Path) -> Tally:
    """Edits as people make them, of the text and of the arrays in turn; none makes the digest fit."""
    draw, tally, bench = random.Random(seed), Tally("edits"), Bench(desk, work)
    for i in range(count):
        path = fresh(desk, work) / NET
        arrays = i % 3 == 2
        name, change = draw.choice(OF_ARRAYS if arrays else OF_RECORDS)
        if arrays:
            with np.load(samples_path(path)) as file:
                told = dict(file.items())
            change(told, draw)
            np.savez_compressed(samples_path(path), **told)
        else:
            told = json.loads(path.read_text())
            change(told, draw)
            path.write_text(json.dumps(told, indent=1))
        verbs = [v for v in VERBS if not (arrays and v in OF_TEXT)]
        bench.judged(tally, verbs[i % len(verbs)], f"edit {i}: {name}")
    return tally


Change = Callable[[dict[str, Any], random.Random], object]


def _cell(told: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    return draw.choice(told["measurements"])


def _value(told: dict[str, Any], draw: random.Random) -> None:
    value = draw.choice(list(_cell(told, draw)["values"].values()))
    part = draw.choice(["mean", "stderr"])
    value[part] = draw.choice([
        value[part] + draw.choice([-1, 1]) * 0.025, value[part] * 100, round(value[part], 3) + 1e-4,
        1 - value[part] / 2, None, -1.0, str(value[part]),
    ])  # fmt: skip


def _other_value(told: dict[str, Any], draw: random.Random) -> None:
    one, other = draw.sample(told["measurements"], 2)
    one["values"] = {**copy.deepcopy(other["values"]), "ece": {"mean": 0.5, "stderr": 0.01}}


def _renamed(told: dict[str, Any], draw: random.Random) -> None:
    cell = draw.choice(told["measurements"][1:])
    cell["key"] = cell["key"].replace("severity=1", "severity=2").replace("severity=3", "severity=4")


def _swapped(told: dict[str, Any], draw: random.Random) -> None:
    rows = told["measurements"]
    i, j = draw.sample(range(len(rows)), 2)
    rows[i], rows[j] = rows[j], rows[i]


OF_RECORDS: list[tuple[str, Change]] = [
    ("a value", _value),
    ("a value ", _value),
    ("another cell's values", _other_value),
    ("n", lambda told, draw: _cell(told, draw).update(n=draw.choice([39, 41, 400, 0]))),
    ("a cell's key", _renamed),
    ("two cells swapped", _swapped),
    ("a cell less", lambda told, draw: told["measurements"].remove(_cell(told, draw))),
    ("a cell twice", lambda told, draw: told["measurements"].append(_cell(told, draw))),
    ("an error", lambda told, draw: _cell(told, draw).update(error="it broke")),
    ("a measure's reason", lambda told, draw: _cell(told, draw)["values"].pop("nll")),
    ("a protocol", lambda told, draw: _cell(told, draw).update(protocol="0123456789abcdef")),
    ("a condition", lambda told, draw: _cell(told, draw)["condition"].update(severity=5)),
    ("the seed", lambda told, draw: told["suite"].update(seed=draw.choice([1, 7]))),
    ("the limit", lambda told, draw: told["suite"].update(limit=draw.choice([10, 40]))),
    ("the suite's name", lambda told, draw: told["suite"].update(name=draw.choice(["quick", "tiny-limit10"]))),
    ("the columns", lambda told, draw: told["suite"].update(summary=[draw.choice(["clean_nll", "clean_ece"])])),
    ("the matrix", lambda told, draw: told["suite"]["matrix"].update(severity=[1])),
    ("the card's name", lambda told, draw: told["card"].update(name=draw.choice(["better", "net@1"]))),
    ("the weights", lambda told, draw: told["card"]["weights"].update(sha256="0" * 64)),
    ("untrained", lambda told, draw: told["card"].update(untrained=True)),
    ("the subject", lambda told, draw: told["subject"].update(digest="0" * 16)),
    ("the warnings", lambda told, draw: told["health"].update(warnings=[draw.choice(["none", "all well"])])),
    ("an environment", lambda told, draw: told["environments"][0].update(torch=draw.choice(["1.0", "9.9"]))),
    ("when", lambda told, draw: told.update(started="2020-01-01T00:00:00Z")),
    ("a measure's number", lambda told, draw: told["measures"].update(accuracy=2)),
    ("the format", lambda told, draw: told.update(format=draw.choice([1, 3, "2", None]))),
    ("the digest", lambda told, draw: told.update(digest=draw.choice([None, "0" * 64]))),
    ("no digest", lambda told, draw: told.pop("digest")),
    ("the arrays' digest", lambda told, draw: told.update(arrays=None)),
    ("a strange key", lambda told, draw: told.update(note="by hand")),
]  # fmt: skip


def _bit(arrays: dict[str, Any], draw: random.Random) -> None:
    name = draw.choice([name for name, array in arrays.items() if array.dtype == np.uint8])
    rows = arrays[name]
    rows[draw.randrange(rows.shape[0]), draw.randrange(rows.shape[1])] ^= 1 << draw.randrange(8)


def _score(arrays: dict[str, Any], draw: random.Random) -> None:
    rows = arrays[draw.choice([name for name, array in arrays.items() if array.dtype == np.float16])]
    rows[draw.randrange(len(rows))] += np.float16(0.5)


OF_ARRAYS: list[tuple[str, Change]] = [
    ("a bit of the arrays", _bit),
    ("a score of the arrays", _score),
    ("the arrays' n", lambda arrays, draw: arrays.update(n=np.int64(draw.choice([8, 39, 41, 10**12])))),
    ("the arrays' cells in another order", lambda arrays, draw: arrays.update(keys=arrays["keys"][::-1])),
    ("a cell of the arrays less", lambda arrays, draw: arrays.update(correct=arrays["correct"][1:])),
    (
        "the arrays' bits in another order",
        lambda arrays, draw: arrays.update(correct=arrays["correct"][::-1]),
    ),
    ("a score less", lambda arrays, draw: arrays.pop("nll_clean")),
    (
        "scores in another dtype",
        lambda arrays, draw: arrays.update(nll_clean=arrays["nll_clean"].astype(float)),
    ),
    ("an array more", lambda arrays, draw: arrays.update(extra=np.zeros(40, np.float16))),
    ("no bits", lambda arrays, draw: arrays.pop("correct")),
]
