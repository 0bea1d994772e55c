"""Run `rbms run` on a good model and a stranger beside it, and say what became of both.

Each pair has a process, a cache and a folder of results of its own. The processes are forked off one that has imported
everything and started no thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustbench_ms.records.record import Record, read_record
from robustbench_ms.records.samples import samples_path

__all__ = ["GOOD", "Outcome", "tried"]

GOOD = "tests.fakes:build"
SUITE = """\
dataset = "digits"
profile = "cifar"
summary = ["clean_accuracy"]

[matrix]
corruption = ["gaussian_noise", "fog"]
severity = [1, 3]
"""
CELLS = 5
LIMIT = 240
"""Seconds after which a process is killed."""


@dataclass(frozen=True)
class Outcome:
    """What a run left."""

    name: str
    code: int
    """Its exit code; 124 where it was killed for its time."""
    seconds: float
    said: str
    errors: str
    good: Record | None
    bits: bytes
    """Of the good model's arrays."""
    record: Record | None
    """The stranger's."""

    @property
    def is_json(self) -> bool:
        """Whether standard output is JSON and nothing else."""
        try:
            json.loads(self.said)
        except ValueError:
            return False
        return True

    def words(self) -> list[str]:
        """What was said on standard error, each line once, but for how far the run was and whose input is assumed."""
        lines = dict.fromkeys(self.errors.splitlines())
        return [one for one in lines if " % (" not in one and "nobody said what it wants" not in one]

    def cells(self) -> dict[str, str | None]:
        """{cell: its error} of the stranger's record."""
        return {} if self.record is None else {m.key: m.error for m in self.record.measurements}

    def good_is(self, other: Outcome) -> bool:
        """Whether the good model's record is the one beside another stranger."""
        if self.good is None or other.good is None:
            return False
        mine, theirs = (
            [(m.key, m.protocol, m.values, m.error) for m in o.good.measurements] for o in (self, other)
        )
        return mine == theirs and self.good.subject == other.good.subject and self.bits == other.bits


def tried(
    name: str, desk: Path, *words: str, models: str = "tests.strangers.models", suite: str = SUITE
) -> Outcome:
    """Fork a process for a stranger and wait for it."""
    desk.mkdir(parents=True)
    (desk / "mini.toml").write_text(suite, encoding="utf-8")
    line = [
        "rbms", "run", "mini.toml", "-m", GOOD, "-m", f"{models}:{name}", "--json", "--limit", "40",
        "--batch-size", "16", "--threads", "1", "--cache", "cache", "--results", "results", *words,
    ]  # fmt: skip
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(desk, line)
    code = None
    while code is None and time.monotonic() - begun < LIMIT:
        ended, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else time.sleep(0.02)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        code = 124
    good = _record(desk, GOOD)
    return Outcome(
        name, code, time.monotonic() - begun,
        (desk / "out").read_text(), (desk / "err").read_text(), good, _bits(good), _record(desk, f"{models}:{name}"),
    )  # fmt: skip


def _become(desk: Path, line: list[str]) -> None:
    """The child: the command line and nothing else, to its very end."""
    from robustbench_ms.cli import main

    for number, name in ((1, "out"), (2, "err")):
        file = os.open(desk / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
    os.chdir(desk)
    sys.argv = line
    code = 1
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:  # noqa: BLE001 - as the interpreter would tell it
        sys.excepthook(*sys.exc_info())
    finally:  # nothing of the parent's may run here
        threading._shutdown()  # type: ignore[attr-defined]  # as an interpreter's end does: it waits for threads
        with contextlib.suppress(ValueError):  # closed
            sys.stdout.flush()
        os._exit(code)


def _record(desk: Path, spelled: str) -> Record | None:
    records = map(read_record, (desk / "results").glob("*/*.json"))
    return next((one for one in records if one.name == spelled), None)


def _bits(record: Record | None) -> bytes:
    if record is None or record.path is None:
        return b""
    with np.load(samples_path(record.path)) as arrays:
        return b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays.files))
