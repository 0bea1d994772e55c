"""`rbms leaderboard`: its forms, and what it says of mistakes."""

from __future__ import annotations

import csv
import io
import json


def test_the_leaderboard_in_its_forms(rbms, tiny, tmp_path):
    rbms("run", tiny, "-m", "tests.fakes:build", "-m", "tests.fakes:other")
    rbms("run", tiny, "-m", "tests.fakes:build", "--limit", "20")

    text = rbms("leaderboard", "tiny").out
    found = rbms("leaderboard", "tiny", "--json").json()
    rows = list(csv.DictReader(io.StringIO(rbms("leaderboard", "tiny", "--csv").out)))

    ((table,),) = found.values()
    assert [r["rank"] for r in table["rows"]] == [1, 2]
    means = [r["values"]["clean_accuracy"]["mean"] for r in table["rows"]]
    assert means == sorted(means, reverse=True)
    assert [float(r["clean_accuracy"]) for r in rows] == means
    assert [r["card"] for r in rows] == [r["card"] for r in table["rows"]]
    assert text.index(rows[0]["card"]) < text.index(rows[1]["card"])
    assert {r["n"] for r in rows} == {"40"}
    page = rbms("leaderboard").out
    assert "## tiny\n" in page
    assert "## tiny-limit20\n" in page
    for option, name in (([], "all.md"), (["--json"], "all.json"), (["--csv"], "all.csv")):
        told = rbms("leaderboard", *option).out
        assert rbms("leaderboard", *option, "-o", tmp_path / name).out == ""
        assert (tmp_path / name).read_text() == told
    assert json.loads((tmp_path / "all.json").read_text()).keys() == {"tiny", "tiny-limit20"}


def test_what_is_wrong_with_a_leaderboard_is_told(rbms, tiny, tmp_path):
    assert "no records in" in rbms("leaderboard").err
    rbms("run", tiny, "-m", "tests.fakes:build")
    found = rbms("leaderboard", "tniy")
    assert found.code == 2
    assert "no records of suite 'tniy'" in found.err
    assert "did you mean 'tiny'?" in found.err
    found = rbms("leaderboard", "-o", tmp_path / "absent" / "all.md")
    assert found.code == 2
    assert "absent/all.md cannot be written" in found.err
