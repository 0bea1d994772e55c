"""The pure gate on 76 cells x 10,000 samples: the whole command, and the judging alone.

    make bench FILE=tests/benchmarks/bench_gate.py

The aim is under 1 s for the command from nothing, interpreter included. Nothing is asserted about time. The records are
simulated; a loss on the tolerance leaves it to look at everything.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from robustbench_ms.gating.judge import judge
from robustbench_ms.records.record import read_record, write_record
from tests.judging import parse_rules
from tests.simulated import pair

RULES = ("clean_accuracy=1pp", "mean_corruption_accuracy=0.5pp")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A reference and a candidate in files, the second losing what is tolerated."""
    folder = tmp_path_factory.mktemp("records")
    paths = []
    for name, one in zip(("reference", "candidate"), pair(10_000, (0.01, 0.005), seed=1), strict=True):
        paths.append(folder / f"{name}.json")
        write_record(one, one.samples(), paths[-1])
    return paths


def bench_the_command_from_nothing(benchmark, records):
    reference, candidate = records
    words = [sys.executable, "-m", "robustbench_ms", "gate", candidate, "--against", reference]
    words += [word for rule in RULES for word in ("--rule", rule)]

    done = benchmark.pedantic(subprocess.run, (words,), {"capture_output": True, "check": False}, rounds=7)
    assert done.returncode == 1
    assert b"unsure" in done.stdout


def bench_an_interpreter_that_does_nothing(benchmark):
    """What of the command's time is Python's own."""
    benchmark.pedantic(subprocess.run, ([sys.executable, "-c", "pass"],), {"check": True}, rounds=7)


def bench_reading_and_judging(benchmark, records):
    rules = parse_rules(RULES)

    def gate():
        reference, candidate = (read_record(path) for path in records)
        return judge(candidate, reference, rules)

    judged = benchmark(gate)
    assert len(judged.cells) == 76
