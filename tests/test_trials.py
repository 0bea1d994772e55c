"""What outside trials do to the harness: some of each kind here, hundreds where it is slow."""

from __future__ import annotations

import json
import re

import pytest

from tests.trials import Tally, __main__, damage
from tests.trials.__main__ import KINDS, page
from tests.trials.desk import call, lay
from tests.trials.sections import PAGE


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("trials") / "desk")


def tried(kind, count, seed, desk, work):
    (tally,) = __main__.tallies({kind: count}, seed, desk, work).values()
    assert tally.tried == count
    assert tally.wrong == []
    return tally


@pytest.mark.parametrize(
    ("kind", "count"), [("kills", 6), ("flips", 14), ("edits", 12), ("toml", 12), ("lines", 12)]
)
def test_some_of_each(desk, tmp_path, kind, count):
    tried(kind, count, 1, desk, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_as_the_page_has_and_others(desk, tmp_path, kind):
    tried(kind, KINDS[kind][1], 2026, desk, tmp_path)


def test_the_page_has_the_whole_number_of_each_and_none_wrong():
    text = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    version, seed = re.search(r"with version (\S+) and seed (\d+)", text).groups()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]

    assert [(row[0], int(row[1]), int(row[2])) for row in rows] == [
        (about, n, 0) for _, n, about in KINDS.values()
    ]
    for row in rows:
        assert sum(map(int, re.findall(r"(?:^|, )(\d+) ", row[3]))) == int(row[1])
    made = page({kind: Tally(kind, n) for kind, (_, n, _) in KINDS.items()}, int(seed), version)
    assert [line for line in text.splitlines() if not line.startswith("| ")] == [
        line for line in made.splitlines() if not line.startswith("| ")
    ]


def test_what_is_believed_raises_or_says_nothing_is_counted_as_wrong(desk, tmp_path, monkeypatch):
    """The trials themselves can fail: a reader without its digest believes edits."""
    monkeypatch.setattr("robustbench_ms.records.record._WITH_DIGEST", 9)
    monkeypatch.setattr("robustbench_ms.records.record.value_faults", lambda record: iter(()))

    tally = damage.edits(12, 1, desk, tmp_path / "work")

    assert tally.outcomes["believed"] == len(tally.wrong) > 3
    assert "it was believed" in tally.wrong[0]


def test_a_traceback_is_told_by_its_last_line(desk, monkeypatch):
    monkeypatch.setattr("robustbench_ms.catalog.find.suite_names", lambda: 1 / 0)

    done = call("list", at=desk)

    assert done.raised.startswith("ZeroDivisionError: division by zero at ")


# what the trials found


def test_a_model_that_cannot_be_built_is_one_sentence(desk, tmp_path):
    card = tmp_path / "net.toml"
    card.write_text('build = "tests.fakes:build"\n[args]\nclasses = -1\n')
    wrong = {
        "tests.fakes:breaks": "tests.fakes:breaks could not be called (RuntimeError: the constructor fails)",
        card: "tests.fakes:build could not be called with the card's args {'classes': -1} (RuntimeError: Trying to",
    }
    for model, words in wrong.items():
        for line in (("run", "suites/tiny.toml", "-m", model), ("show", model, "--measure")):
            done = call(*line, at=desk)
            assert done.one_sentence, done
            assert words in done.err


def test_a_reference_that_cannot_be_written_is_one_sentence(desk, tmp_path):
    (tmp_path / "file").write_text("")

    done = call("accept", desk / "results" / "tiny" / "net.json", "--results", tmp_path / "file", at=desk)

    assert done.one_sentence
    assert "cannot be written (Not a directory); give another with --results" in done.err


def test_a_key_that_stands_twice_is_refused_though_the_last_one_is_what_was_written(desk, tmp_path):
    text = (desk / "results" / "tiny" / "net.json").read_text()
    (tmp_path / "net.json").write_text(text.replace('"n":40', '"n":50,"n":40', 1))
    assert json.loads((tmp_path / "net.json").read_text()) == json.loads(text)

    done = call("check", tmp_path / "net.json", at=desk)

    assert done.code == 1
    assert "'n' stands twice in one table" in done.out
