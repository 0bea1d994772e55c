"""A run that is killed (SIGKILL) at random moments and started again, until it ends by itself.

After every kill what lies in the results is whole, after every start the cells that were finished are what they were
(else one was lost), and at the end record and arrays are those of a run that nobody disturbed (else they are wrong).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from robustbench_ms.errors import BadFile
from robustbench_ms.records.record import read_record
from tests.trials import Tally
from tests.trials.desk import call

__all__ = ["kills"]

LINE = ("run", "suites/tiny.toml", "-m", "cards/net.toml", "--batch-size", "4")
IN_A_ROW = 4
"""Kills before a run is let go to its end; then the next one starts with nothing."""


def _work(desk: Path, place: Path) -> None:
    line = (*LINE, "--results", place / "results", "--cache", place / "cache")
    os._exit(call(*line, at=desk).code)


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


def _answers(place: Path) -> tuple[Any, bytes]:
    path = place / "results" / "tiny" / "net.json"
    return read_record(path).answers(), path.with_name("net.correct.npz").read_bytes()


def _cells(place: Path) -> dict[str, tuple[bytes, int]]:
    found = (place / "cache" / "cells").glob("*.npz")
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def kills(count: int, seed: int, desk: Path, work: Path) -> Tally:
    """Kill until that many runs have died of it."""
    draw, tally = random.Random(seed), Tally("kills")
    # Forked of this process, which has made the desk: all that a run imports and compiles is there already.
    context = multiprocessing.get_context("fork")

    def start(place: Path) -> Any:
        process = context.Process(target=_work, args=(desk, place))
        process.start()
        return process

    whole, begin = work / "whole", time.monotonic()
    process = start(whole)
    process.join()
    assert process.exitcode == 0
    span = time.monotonic() - begin
    wanted, files, number = _answers(whole), len(_files(whole)), 0
    while tally.tried < count:
        place, number = work / f"run-{number}", number + 1
        for _ in range(min(IN_A_ROW, count - tally.tried)):
            before = _cells(place)
            process = start(place)
            # By the files that are there as often as by the clock, so that the short moments come up as the long ones.
            there = len(_files(place))
            more = draw.randrange(there, files) if draw.random() < 0.5 and there < files else 0
            while len(_files(place)) < more and process.is_alive():
                time.sleep(0.001)
            process.join(draw.uniform(0, span * (0.1 if more else 1)))
            process.kill()
            process.join()
            if process.exitcode != -signal.SIGKILL:
                break
            after = _cells(place)
            lost = [name for name, cell in before.items() if after.get(name) != cell]
            tally.add(f"with {len(after)} of 5 cells finished", _fault(place, lost, tally.tried))
        before = _cells(place)
        process = start(place)
        process.join()
        lost = [name for name, cell in before.items() if _cells(place).get(name) != cell]
        if process.exitcode != 0 or _answers(place) != wanted or lost:
            tally.wrong.append(
                f"run {number}: exit {process.exitcode}, {len(lost)} cells lost, or a wrong record"
            )
        if left := [path.name for path in place.rglob("*") if ".part" in path.name or ".broken" in path.name]:
            tally.wrong.append(f"run {number}: it left {', '.join(left)}")
    return tally


def _fault(place: Path, lost: list[str], number: int) -> str:
    for path in (place / "results").rglob("*.json"):
        try:
            read_record(path).samples()
        except BadFile as error:
            return f"kill {number}: {error}"
    return f"kill {number}: {len(lost)} finished cells were lost" if lost else ""
