"""A run that is killed at any moment and started again ends in the same record."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.evaluation.run import run
from robustbench_ms.records.record import read_record
from robustbench_ms.records.samples import read_samples
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from tests.fakes import build, other
from tests.warmed import forking

ROOT = Path(__file__).parent.parent
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir"}


def measure(suite, places, fatal, told):
    """Runs in a process of its own, which kills itself (-9) just before the `fatal`-th touch of a file of the run.

    Killing by what the process does, not by the clock, hits every moment between two steps on any machine.
    """
    touched, armed = 0, False

    def count(event, args):
        nonlocal touched
        if (
            armed
            and event in EVENTS
            and args
            and any(str(f) in str(args) for f in (places.results, places.cache))
        ):
            touched += 1
            if touched == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    armed = True
    for _ in run(
        read_suite(suite),
        [Card("one", build=build()), Card("two", build=other())],
        places,
        Settings(batch_size=16),
    ):
        pass
    told.put(touched)


@pytest.fixture(scope="module")
def processes():
    return forking()


def in_a_process(context, suite, places, fatal=0):
    """The exit code and, where it lived, how often it touched a file."""
    told = context.SimpleQueue()
    process = context.Process(target=measure, args=(suite, places, fatal, told))
    process.start()
    process.join()
    touched = told.get() if process.exitcode == 0 else None
    told.close()
    return process.exitcode, touched


def answers(places):
    folder = places.results / "tiny"
    records = {name: read_record(folder / f"{name}.json").answers() for name in ("one", "two")}
    bits = {name: (folder / f"{name}.correct.npz").read_bytes() for name in records}
    return records, bits


def places_at(folder):
    return Places(folder / "data", folder / "results", folder / "cache")


@pytest.mark.parametrize("moments", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_started_again_it_ends_in_the_same_record(
    moments, tiny, tmp_path, processes, snapshot
):
    whole = places_at(tmp_path / "whole")
    code, touches = in_a_process(processes, tiny, whole)
    assert code == 0
    assert touches > 60  # ten cells, two records: each written beside and renamed
    wanted = answers(whole)
    draw = random.Random(2026)

    for number in range(moments):
        places = places_at(tmp_path / f"killed-{number}")
        moment = draw.randint(touches * number // moments + 1, touches * (number + 1) // moments)
        code, _ = in_a_process(processes, tiny, places, fatal=moment)
        assert code == -signal.SIGKILL
        for path in places.results.glob("*/*.json"):  # what is there is whole
            read_record(path)
            assert read_samples(path.with_name(path.stem + ".correct.npz")) is not None

        assert in_a_process(processes, tiny, places)[0] == 0
        assert answers(places) == wanted
    before = snapshot(places.results)
    assert in_a_process(processes, tiny, places)[0] == 0
    assert snapshot(places.results) == before  # a complete record is not rewritten

    # Killed again and again, on one cache.
    places = places_at(tmp_path / "again")
    codes = []
    while 0 not in codes and len(codes) < 40:
        codes.append(in_a_process(processes, tiny, places, fatal=draw.randint(touches // 3, touches))[0])
    assert codes[:-1] == [-signal.SIGKILL] * (len(codes) - 1)
    assert len(codes) >= 2
    assert answers(places) == wanted


def test_two_runs_at_once_need_nothing_else(tiny, tmp_path, processes):
    places, alone = places_at(tmp_path / "both"), places_at(tmp_path / "alone")
    assert in_a_process(processes, tiny, alone)[0] == 0
    told = processes.SimpleQueue()

    both = [processes.Process(target=measure, args=(tiny, places, 0, told)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()

    assert [process.exitcode for process in both] == [0, 0]
    assert answers(places) == answers(alone)
    assert not [p.name for p in tmp_path.rglob("*") if ".part" in p.name or ".broken" in p.name]
    told.close()


def test_the_command_line_killed_from_outside_goes_on(tiny, tmp_path):
    """The real command, killed with its group as soon as some cells are finished."""
    places = places_at(tmp_path)
    command = [
        sys.executable, "-m", "robustbench_ms", "run", str(tiny), "-m", "tests.fakes:Slow", "--batch-size", "4",
        "--results", str(places.results), "--cache", str(places.cache), "--name", "slow",
    ]  # fmt: skip
    cells = places.cache / "cells"

    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(cells.glob("*.npz"))) < 2:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list(cells.glob("*.npz")))
    assert 2 <= kept <= 5

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{kept} of 5 cells are finished already" in again.stderr
    first = read_record(places.results / "tiny" / "slow.json")
    bits = (places.results / "tiny" / "slow.correct.npz").read_bytes()
    shutil.rmtree(cells)
    shutil.rmtree(places.results)
    card = replace(find_card("tests.fakes:Slow"), name="slow")
    for _ in run(read_suite(tiny), [card], places, Settings(batch_size=4)):
        pass
    assert read_record(places.results / "tiny" / "slow.json").answers() == first.answers()
    assert (places.results / "tiny" / "slow.correct.npz").read_bytes() == bits
