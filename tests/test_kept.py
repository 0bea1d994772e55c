"""What a leaderboard keeps in the cache makes it fast, and never another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.records import entry, kept, ranking
from robustbench_ms.records.record import write_record
from robustbench_ms.reports.boards import boards
from robustbench_ms.reports.pages import page
from tests.simulated import answers, record
from tests.sources import ROOT

KEYS = ("clean", "corruption=fog,severity=1")


@pytest.fixture
def results(tmp_path):
    """Six models of which some are close, in files."""
    for i, share in enumerate((0.5, 0.52, 0.54, 0.7, 0.71, 0.9)):
        put(tmp_path / "results", f"m{i}", share, seed=i)
    return tmp_path / "results"


def put(results, name, share, seed):
    made = record(answers(200, share, seed)[:2], KEYS, name=name, suite="small")
    made = replace(made, suite={**made.suite, "summary": ["clean_accuracy"]})
    write_record(made, made.samples(), results / "small" / f"{name}.json")


@pytest.fixture
def read(monkeypatch):
    """The records that are read, by name, and the pairs that are tested."""
    found = []
    real, gain = kept.read_record, ranking._Pairs.gain
    monkeypatch.setattr(kept, "read_record", lambda path: found.append(path.stem) or real(path))
    monkeypatch.setattr(entry, "read_record", lambda path: found.append("again") or real(path))
    monkeypatch.setattr(ranking._Pairs, "gain", lambda self, i, j: found.append("pair") or gain(self, i, j))
    return found


def shown(results, cache):
    return page(boards(results, cache=cache))


def test_the_second_time_reads_one_record_and_tests_no_pair(results, tmp_path, read):
    plain = page(boards(results))
    assert read.count("pair") < 15, "bounds decide some"
    read.clear()
    assert shown(results, tmp_path / "cache") == plain
    assert sorted(set(read) - {"again", "pair"}) == [f"m{i}" for i in range(6)]
    read.clear()
    assert shown(results, tmp_path / "cache") == plain
    assert read == ["again"], "the first of the table, for what is said of all"


def test_what_has_changed_is_read_again_and_what_is_gone_is_forgotten(results, tmp_path, read):
    shown(results, tmp_path / "cache")
    put(results, "m0", 0.95, seed=9)
    (results / "small" / "m5.json").unlink()
    (results / "small" / "m5.correct.npz").unlink()
    plain = page(boards(results))
    read.clear()

    assert shown(results, tmp_path / "cache") == plain
    assert set(read) - {"again", "pair"} == {"m0"}
    (file,) = (tmp_path / "cache" / "leaderboards").iterdir()
    with np.load(file) as arrays:
        assert arrays["low"].shape == (5, 5)
    before = file.stat().st_mtime_ns
    shown(results, tmp_path / "cache")
    assert file.stat().st_mtime_ns == before


def test_arrays_that_are_exchanged_are_found(results, tmp_path):
    shown(results, tmp_path / "cache")
    shutil.copy(results / "small" / "m1.correct.npz", results / "small" / "m0.correct.npz")

    with pytest.raises(Exception, match=r"m0\.json: the arrays beside it .* are not those of its answers"):
        shown(results, tmp_path / "cache")


def test_a_record_that_a_run_exchanges_meanwhile_leaves_nothing_under_the_old_digest(
    results, tmp_path, monkeypatch
):
    """What was read is neither kept nor tested as what was digested: the old record may come back."""
    path, real = results / "small" / "m0.json", kept.read_record
    old = {p: p.read_bytes() for p in path.parent.glob("m0.*")}
    plain = page(boards(results))

    def exchanged(at):
        if at == path:
            put(results, "m0", 0.95, seed=9)
        return real(at)

    monkeypatch.setattr(kept, "read_record", exchanged)
    assert shown(results, tmp_path / "cache") != plain
    monkeypatch.undo()
    for at, content in old.items():
        at.write_bytes(content)
    assert shown(results, tmp_path / "cache") == plain


def test_a_damaged_file_is_only_slower(results, tmp_path, read):
    plain = shown(results, tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "leaderboards").iterdir()
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    damaged = [b"", b"no zip", whole[: len(whole) // 2]]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :] for at in random.integers(0, len(whole), 20)
    ]
    for content in damaged:
        file.write_bytes(content)
        assert shown(results, tmp_path / "cache") == plain
    read.clear()
    shown(results, tmp_path / "cache")
    assert read == ["again"], "it is whole again"


def test_what_other_code_has_made_is_not_read(results, tmp_path, read, monkeypatch):
    plain = shown(results, tmp_path / "cache")
    read.clear()
    monkeypatch.setattr(kept, "_made_by", lambda: "another")
    assert shown(results, tmp_path / "cache") == plain
    assert "m0" in read
    read.clear()
    monkeypatch.setattr(kept, "_numbers", lambda task: {"accuracy": 2})
    shown(results, tmp_path / "cache")
    assert "m0" in read, "a measure's number was raised"


def test_all_code_that_summaries_are_made_by_counts():
    """What a leaderboard imports of this package, but faces without code of their own and the terminal."""
    script = (
        "import sys, robustbench_ms.cli, robustbench_ms.reports.boards, robustbench_ms.records.kept as kept\n"
        "from robustbench_ms.records.record import records_in; from pathlib import Path\n"
        "from robustbench_ms.records.entry import entry_of\n"
        f"[entry_of(one) for one in records_in(Path({str(ROOT / 'results' / 'quick')!r}))[:1]]\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('robustbench_ms.')), sep='\\n')"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    package = ROOT / "robustbench_ms"
    used = {str(Path(line).relative_to(package)) for line in told.stdout.splitlines()}
    counted = {str(path.relative_to(package)) for path in kept._code(package)}
    other = {one for one in used - counted if not one.endswith("__init__.py")}

    assert {one for one in other if one.partition("/")[0] not in {"cli", "reports"}} == {
        "errors.py",
        "files.py",
    }


def test_a_cache_that_cannot_be_written_is_left_alone(results, tmp_path):
    (tmp_path / "cache").write_text("a file")

    assert shown(results, tmp_path / "cache") == page(boards(results))
