"""Claims save work, and never stand in the way of it: not of a run that died, nor where there are no locks."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time

import pytest

from robustbench_ms.evaluation import claims as module
from robustbench_ms.evaluation.claims import Claims

PROCESSES = 4


def test_a_claim_is_one_callers_until_it_is_released(tmp_path):
    mine, also_mine = Claims(tmp_path), Claims(tmp_path / "." / ".")

    assert mine.claim("p", "s")
    assert not also_mine.claim("p", "s")
    assert also_mine.claim("p", "t")
    mine.release("p", "s")
    assert also_mine.claim("p", "s")
    also_mine.release("p", "s")
    also_mine.release("p", "t")
    assert [path.name for path in tmp_path.iterdir()] == [".claims"]
    assert not (tmp_path / ".claims").read_bytes()


def _try(folder, told):
    told.put(Claims(folder).claim("p", "s"))


def test_a_fork_has_none_of_its_parents_claims_and_frees_none(tmp_path):
    context = multiprocessing.get_context("fork")
    told, mine = context.SimpleQueue(), Claims(tmp_path)
    assert mine.claim("p", "s")
    for expected in (False, True):
        child = context.Process(target=_try, args=(tmp_path, told))
        child.start()
        child.join()
        assert told.get() is expected
        mine.release("p", "s")


@pytest.mark.parametrize("missing", ["module", "disk"])
def test_without_locks_there_are_no_claims_and_one_note(tmp_path, monkeypatch, missing):
    class NoLocks:
        LOCK_EX = LOCK_NB = LOCK_UN = 0

        @staticmethod
        def lockf(*_):
            raise OSError(38, "Function not implemented")

    monkeypatch.setattr(module, "fcntl", None if missing == "module" else NoLocks)
    monkeypatch.setattr(module, "_files", {})
    found = Claims(tmp_path)

    assert "has no locks" in found.note
    assert found.claim("p", "s")
    assert found.claim("p", "s")
    found.release("p", "s")


def _worker(folder, seed, cells, fatal):
    """Finish every cell that is missing; at the `fatal`-th one that is begun this process kills itself."""
    claims, draw, begun = Claims(folder), random.Random(seed), 0
    left = list(range(cells))
    while left:
        draw.shuffle(left)
        for cell in list(left):
            path = folder / f"{cell}.done"
            if not path.exists() and claims.claim("p", str(cell)):
                if not path.exists():
                    begun += 1
                    if begun == fatal:
                        os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(0.001)
                    # Exclusively: a second one would raise, and be seen.
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                claims.release("p", str(cell))
            if path.exists():
                left.remove(cell)


@pytest.mark.parametrize("rounds", [6, pytest.param(400, marks=pytest.mark.slow)])
def test_no_cell_twice_none_lost_and_none_stuck(tmp_path, rounds):
    """Four processes a round, of which half the rounds lose two at a random moment."""
    context, draw = multiprocessing.get_context("fork"), random.Random(13)
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        fatal = [draw.randint(1, 4) if number % 2 and i < 2 else 0 for i in range(PROCESSES)]
        started = [
            context.Process(target=_worker, args=(folder, number * 10 + i, 12, fatal[i]))
            for i in range(PROCESSES)
        ]
        for process in started:
            process.start()
        for process, killed in zip(started, fatal, strict=True):
            process.join(60)
            assert process.exitcode in ({0, -signal.SIGKILL} if killed else {0})
        assert len(list(folder.glob("*.done"))) == 12
