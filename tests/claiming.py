"""Processes that share out cells by claims, for the tests of them."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.files import replacing

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
