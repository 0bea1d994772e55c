"""Claims: no cell twice, none lost, none stuck, whoever dies when."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from robustbench_ms import files
from robustbench_ms.evaluation import claims as module
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.records.record import read_record
from tests.claiming import STEPS, hold, work, write
from tests.warmed import forking

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def processes():
    return forking()


CLAIMANT = """
import sys
from pathlib import Path
from robustbench_ms.evaluation.claims import Claims
sys.exit(0 if Claims(Path(sys.argv[1])).claim("p", sys.argv[2]) else 3)
"""


def taken_elsewhere(folder, subject="s"):
    """Whether a new process cannot claim the cell."""
    words = [sys.executable, "-c", CLAIMANT, str(folder), subject]
    code = subprocess.run(words, cwd=ROOT, check=False).returncode
    assert code in {0, 3}
    return code == 3


def test_a_cell_is_one_claimants(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)

    assert one.claim("p", "s")
    assert not one.claim("p", "s")
    assert not other.claim("p", "s")
    assert other.claim("p", "t")
    assert taken_elsewhere(tmp_path)
    other.release("p", "s")  # not its own
    assert not other.claim("p", "s")
    assert taken_elsewhere(tmp_path)
    one.release("p", "s")
    assert not taken_elsewhere(tmp_path)
    assert other.claim("p", "s")
    assert (one.note, other.note) == (None, None)
    assert [(p.name, p.stat().st_size) for p in tmp_path.iterdir()] == [(".claims", 0)]
    assert files.sweep(tmp_path) == 0
    assert taken_elsewhere(tmp_path)


def test_the_file_is_opened_once_whatever_path_leads_to_it(tmp_path):
    folder, link = tmp_path / "cells", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    assert Claims(folder).claim("p", "s")
    before = len(module._open)

    assert not Claims(link).claim("p", "s")
    assert Claims(link / ".." / "cells").claim("p", "t")
    assert len(module._open) == before
    assert taken_elsewhere(folder)


def test_a_cache_that_was_deleted_meanwhile_is_claimed_anew(tmp_path):
    claims = Claims(tmp_path)
    assert claims.claim("p", "s")
    (tmp_path / ".claims").unlink()

    assert Claims(tmp_path).claim("p", "s")
    claims.release("p", "s")
    assert taken_elsewhere(tmp_path)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_has_none_of_its_parents_claims(tmp_path):
    claims = Claims(tmp_path)
    assert claims.claim("p", "s")

    child = os.fork()
    if child == 0:
        claims.release("p", "s")
        os._exit(2 * claims.claim("p", "s") + (not claims.claim("p", "t")))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert taken_elsewhere(tmp_path)
    assert not taken_elsewhere(tmp_path, "t")  # freed by its death


@pytest.mark.parametrize("why", ["disk", "platform", "folder"])
def test_without_locks_there_are_no_claims_and_one_note(tmp_path, monkeypatch, why):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    if why == "disk":
        monkeypatch.setattr(module.fcntl, "lockf", refuse)
    elif why == "platform":
        monkeypatch.setattr(module, "fcntl", None)
    folder = tmp_path / "absent" if why == "folder" else tmp_path
    claims = Claims(folder)

    assert claims.claim("p", "s")
    with claims.holding(tmp_path / "record.json"):
        pass
    claims.release("p", "s")
    assert claims.claim("p", "s")
    reason = {
        "disk": "No locks available",
        "platform": "the platform has none",
        "folder": "No such file or directory",
    }
    assert claims.note == (
        f"there are no locks on {folder / '.claims'} ({reason[why]}): two runs at once may measure a cell twice, "
        "with equal values"
    )


def test_a_records_place_is_one_writers_at_a_time(tmp_path, processes):
    path = tmp_path / "record.json"
    path.write_text("0")
    workers = [processes.Process(target=hold, args=(tmp_path, path, 20)) for _ in range(2)]
    # Threads of one process too, by another way to the same path.
    threads = [
        threading.Thread(target=hold, args=(tmp_path, tmp_path / "." / "record.json", 20)) for _ in "ab"
    ]
    for one in [*workers, *threads]:
        one.start()
    for one in [*workers, *threads]:
        one.join()

    assert path.read_text() == "80"


def test_two_writers_of_one_record_leave_whole_pairs(tmp_path, processes):
    path = tmp_path / "results" / "record.json"
    workers = [processes.Process(target=write, args=(tmp_path, path, number, 8)) for number in (1, 2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()

    assert [one.exitcode for one in workers] == [0, 0]
    assert read_record(path).samples() is not None


def test_what_the_kernel_takes_for_a_deadlock_is_waited_for(tmp_path, monkeypatch):
    real, refused = module.fcntl.lockf, []

    def lockf(file, how, *rest):
        if how == module.fcntl.LOCK_EX and len(refused) < 3:
            refused.append(how)
            raise OSError(errno.EDEADLK, "Resource deadlock avoided")
        return real(file, how, *rest)

    monkeypatch.setattr(module.fcntl, "lockf", lockf)
    claims = Claims(tmp_path)
    with claims.holding(tmp_path / "record.json"):
        assert len(refused) == 3
    assert claims.note is None


def rounds(processes, folder, count, cells=6):
    """Rounds of four processes, two of which are killed at some moment: what became of each cell."""
    draw = random.Random(2026)
    died = 0
    for number in range(count):
        here = folder / str(number)
        here.mkdir()
        fatal = [draw.randint(1, STEPS * cells // 4) for _ in range(2)] + [0, 0]
        workers = [
            processes.Process(target=work, args=(here, cells, draw.random(), moment)) for moment in fatal
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        codes = [worker.exitcode for worker in workers]
        assert codes[2:] == [0, 0], f"round {number}: stuck or broken"  # none stuck
        assert set(codes[:2]) <= {0, -signal.SIGKILL}
        died += codes.count(-signal.SIGKILL)
        for cell in range(cells):
            assert (here / f"{cell}.cell").exists(), f"round {number}: cell {cell} was lost"
            log = (here / f"{cell}.log").read_text().split()
            assert len(log) == 1, f"round {number}: cell {cell} was finished by {log}"
    assert died >= count // 2


def test_no_cell_twice_none_lost_none_stuck(processes, tmp_path):
    rounds(processes, tmp_path, 12)


@pytest.mark.slow
def test_no_cell_twice_none_lost_none_stuck_in_many_rounds(processes, tmp_path):
    rounds(processes, tmp_path, 400)
