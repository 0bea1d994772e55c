"""Processes that share out cells by claims, for the tests of them."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.files import replacing
from robustbench_ms.records.record import read_record, write_record

KEPT = Path(__file__).parent / "data" / "records"

STEPS = 4
"""Moments in the life of a cell at which a process may die: looked again, measured, written, released."""


def work(folder, cells, seed, fatal):
    """Share out cells 0..cells-1 as a run does; dies (-9) at the `fatal`-th moment, 0 for never.

    What is finished is `<cell>.cell`; each finished measurement adds a line to `<cell>.log`, so that a cell finished
    twice has two.
    """
    folder, passed = Path(folder), 0
    claims, draw = Claims(folder), random.Random(seed)

    def moment():
        nonlocal passed
        passed += 1
        if passed == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    left = list(range(cells))
    draw.shuffle(left)
    while left:
        waiting = []
        for cell in left:
            done = folder / f"{cell}.cell"
            if done.exists():
                continue
            if not claims.claim("protocol", str(cell)):
                waiting.append(cell)
                continue
            if not done.exists():  # looked again
                moment()
                time.sleep(draw.random() / 1000)
                moment()
                with replacing(done) as part:
                    part.write_text(str(os.getpid()))
                with (folder / f"{cell}.log").open("a") as log:
                    log.write(f"{os.getpid()}\n")
                moment()
            claims.release("protocol", str(cell))
            moment()
        left = waiting
        time.sleep(0.0005)


def hold(folder, path, rounds):
    """Read, wait and write a number under the record's lock: lost additions are writers who met."""
    claims = Claims(Path(folder))
    for _ in range(rounds):
        with claims.holding(Path(path)):
            number = int(Path(path).read_text())
            time.sleep(0.0005)
            Path(path).write_text(str(number + 1))


def write(folder, path, number, rounds):
    """Write a record of answers of this writer's own again and again, and find both files whole each time."""
    claims, path = Claims(Path(folder)), Path(path)
    kept = read_record(KEPT / "format-2.json")
    mine = replace(kept, subject={**kept.subject, "digest": str(number)}, path=path)
    samples = kept.samples()
    samples = replace(samples, correct=np.roll(samples.correct, number, axis=1))
    for _ in range(rounds):
        with claims.holding(path):
            write_record(mine, samples, path)
            found = read_record(path)
            if found.subject["digest"] != str(number) or not np.array_equal(
                found.samples().correct, samples.correct
            ):
                raise SystemExit(1)
        time.sleep(0.0005)
