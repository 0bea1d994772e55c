"""Files that take their place whole, and the sweep of what dead writers left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustbench_ms import files
from robustbench_ms.files import probe, replacing, sweep

ROOT = Path(__file__).parent.parent
HOLDER = """
import sys, time
from pathlib import Path
from robustbench_ms.files import replacing
with replacing(Path(sys.argv[1])) as part:
    with part.open("w") as file:
        file.write("half")  # closed again: the lock must outlive this
    print(part.name, flush=True)
    sys.stdin.readline()
    part.write_text("whole")
"""


def holder(path):
    """A process that is half-way through writing `path`, and the name of its part file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_an_open_file_gets_what_is_written_after_what_it_has(tmp_path):
    """As /dev/stdout is, whose file a log may be: neither replaced nor cut off."""
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom robustbench_ms.files import replacing\nprint('said', flush=True)\n"
        "with replacing(Path(sys.argv[1])) as part:\n    part.write_text('table\\n')\nprint('after')\n"
    )
    for place in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        with log.open("a") as out:
            subprocess.run([sys.executable, "-c", code, place], stdout=out, check=True)
    assert log.read_text() == "before\n" + 3 * "said\ntable\nafter\n"


def test_a_file_takes_its_place_whole(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as part:
        part.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    assert oct(path.stat().st_mode & 0o777) == oct(0o666 & ~_umask())
    with pytest.raises(UnicodeEncodeError), replacing(path) as part:
        part.write_text("two \udc80", encoding="utf-8")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_two_writers_of_one_name_do_not_touch_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # the block that ends later wins whole
    assert names(tmp_path) == ["a.txt"]


def test_a_symlink_is_followed_and_what_it_leads_to_is_replaced_whole(tmp_path):
    (tmp_path / "away").mkdir()
    target, link, chain = tmp_path / "away" / "a.txt", tmp_path / "link", tmp_path / "chain"
    link.symlink_to(Path("away") / "a.txt")
    chain.symlink_to(link)
    for text in ("new", "one"):  # the first makes the file that the link leads to
        with replacing(chain) as part:
            part.write_text(text)
            assert part.parent == target.parent
    with pytest.raises(UnicodeEncodeError), replacing(link) as part:
        part.write_text("two \udc80", encoding="utf-8")
    assert link.is_symlink()
    assert chain.is_symlink()
    assert target.read_text() == "one"
    assert names(target.parent) == ["a.txt"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in (pipe, link):
            with replacing(path) as part:
                part.write_text("one")
            assert os.read(reader, 99) == b"one"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert names(tmp_path) == ["link", "pipe"]


def test_what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    dead, left = holder(tmp_path / "dead.txt")
    alive, held = holder(tmp_path / "alive.txt")
    with dead, alive:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        for name in (".claims", "a.part", ".b.12.part", ".write", "0" * 16 + ".part"):
            (tmp_path / name).write_text("not a part file of ours")
        with replacing(tmp_path / "mine.txt") as mine:
            mine.write_text("mine")
            assert sweep(tmp_path) == 1
            assert mine.exists()
        assert left not in names(tmp_path)
        assert held in names(tmp_path)
        alive.communicate("\n")
    assert (tmp_path / "alive.txt").read_text() == "whole"
    assert {".claims", "a.part", ".b.12.part"} <= set(names(tmp_path))
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path / "absent") == 0


def test_without_locks_what_is_older_than_a_day_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    old, new = (tmp_path / f".a.{digit * 16}.part" for digit in "01")
    for path in (old, new):
        path.write_text("")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    with replacing(tmp_path / "mine.txt") as mine:
        os.utime(mine, (yesterday, yesterday))
        assert sweep(tmp_path) == 1
        assert mine.exists()
    assert names(tmp_path) == [new.name, "mine.txt"]


def test_a_sweep_between_making_and_locking_costs_another_file(tmp_path, monkeypatch):
    real, calls = files.lock, []

    def late(file):
        if not calls:
            calls.append(file)
            assert sweep(tmp_path) == 1
        return real(file)

    monkeypatch.setattr(files, "lock", late)
    with replacing(tmp_path / "a.txt") as part:
        part.write_text("whole")
    assert names(tmp_path) == ["a.txt"]
    assert calls


def test_a_folder_that_takes_files_is_left_as_it_was(tmp_path):
    probe(tmp_path)
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "absent")


def test_a_full_disk_is_told_though_it_has_room_for_a_name(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        probe(tmp_path)
    assert names(tmp_path) == []


def test_a_part_that_cannot_take_its_place_vanishes(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), replacing(tmp_path / "folder") as part:  # noqa: PT011 - of the platform's choice
        part.write_text("whole")
    assert names(tmp_path) == ["folder"]
