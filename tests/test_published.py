"""What others published stands below our tables, under a heading of its own, and has no rank."""

from __future__ import annotations

import pytest

from robustbench_ms.catalog import published
from robustbench_ms.catalog.find import suite_names
from robustbench_ms.catalog.published import published_names, published_table
from robustbench_ms.errors import UserError
from robustbench_ms.reports.pages import published_markdown, suites_markdown

ABOUT = "BGR, imagecorruptions, unseeded; COCO val2017"


def test_every_table_is_of_a_shipped_suite_and_each_ratio_that_of_its_row():
    assert published_names() == ["coco-c"]
    for name in published_names():
        assert name in suite_names()
        for _, row in published_table(name).rows:
            # P, mPC and rPC are each rounded to a tenth of a point.
            assert row["rPC"] == pytest.approx(row["mPC"] / row["P"], abs=2.5e-3)


def test_the_leaderboard_shows_them_without_records_and_without_ranks(rbms):
    told = rbms("leaderboard", "coco-c")
    assert told.code == 0, told.err
    assert told.out.startswith("## Published\n\nMichaelis et al. 2019 (arXiv 1907.07484): " + ABOUT)
    assert "| Faster R-CNN R50  |   36.3 |     18.2 |     50.2 |" in told.out
    (table,) = rbms("leaderboard", "coco-c", "--json").json()["coco-c"]
    assert table["protocol_difference"] == ABOUT
    assert {row["rank"] for row in table["rows"]} == {None}
    assert table["rows"][0]["values"]["P"] == {"mean": 0.404, "low": None, "high": None}
    assert "Published" not in suites_markdown({"coco-mini-c": []})
    assert "no records of suite 'coco-b'" in rbms("leaderboard", "coco-b").err


def test_the_page_of_suites_has_them_too(request):
    text = (request.config.rootpath / "suites" / "README.md").read_text()

    assert published_markdown(published_table("coco-c")) in text


def test_a_table_with_holes_is_refused(tmp_path, monkeypatch):
    (tmp_path / "published").mkdir()
    (tmp_path / "coco-c.toml").write_text('task = "detection"\ndataset = "coco"\n')
    head = 'about = "a"\nsource = "s"\n[[rows]]\nmodel = "one"\nP = 0.4\nmPC = 0.2\n[[rows]]\nmodel = "two"\n'
    monkeypatch.setattr(published, "shipped", lambda _: tmp_path)
    for rest, told in (("P = 0.3\n", "two has no mPC, which other rows have"), ("mP = 0.3\n", "'mP'")):
        (tmp_path / "published" / "coco-c.toml").write_text(head + rest)
        with pytest.raises(UserError, match=told):
            published_table("coco-c")
