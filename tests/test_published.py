"""What others published stands below our tables, under a heading of its own, and has no rank."""

from __future__ import annotations

import csv
import random
import re

import pytest

from robustbench_ms.catalog import published
from robustbench_ms.catalog.find import suite_names
from robustbench_ms.catalog.published import published_names, published_table
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.pages import published_markdown, suites_markdown
from robustbench_ms.reports.published_files import read_published
from tests.records import CORRUPTED

ABOUT = "BGR, imagecorruptions, unseeded; COCO val2017"


def test_every_table_is_of_a_shipped_suite_and_each_ratio_that_of_its_row():
    assert published_names() == ["cifar10-c", "cifar10-c-disk", "coco-c"]
    assert set(published_names()) <= set(suite_names())
    for _, row in published_table("coco-c").rows:
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


# RobustBench's rows of CIFAR-10-C, and files of one's own

CIFAR = Terms.given("classification", {"dataset": "cifar10"})


def test_robustbenchs_rows_stand_beside_ours_and_have_no_rank(rbms):
    told = rbms("leaderboard", "cifar10-c", "--results", "results").out
    ours, theirs = told.split("## Published")

    assert "published files on disk" in theirs
    assert "never ranked with ours" in theirs
    assert "| Standard                              |          73.46 |" in theirs
    assert "| #" not in theirs
    assert "Hendrycks" not in ours
    lines = csv.DictReader(rbms("leaderboard", "cifar10-c-disk", "--csv").out.splitlines())
    assert {line["protocol"][:11] for line in lines} == {"published: "}
    latex = rbms("leaderboard", "cifar10-c-disk", "--format", "latex").out
    assert r"Diffenderfer2021Winning\_LRR\_CARD\_Deck & 92.78 \\" in latex
    assert r"\caption{Published, measured by others and never ranked with ours. RobustBench" in latex


def test_robustbenchs_rows_are_the_means_of_its_own_cells(real_data):
    """To its own second digit after the point, which is cut off and not rounded in one of the six."""
    path = real_data("tables/robustbench-cifar10-c.csv")
    cells = dict(read_published(path, "cifar10-c", CIFAR).rows)
    typed = {name.replace("_", ""): row for name, row in published_table("cifar10-c").rows}
    found = {name.replace("_", ""): row["mean_corruption_accuracy"] for name, row in cells.items()}

    assert len(cells) == 23
    assert len(typed) == 6
    for name, row in typed.items():
        assert row["mean_corruption_accuracy"] == pytest.approx(found[name], abs=7e-5)


def by_cell(path, rows, keys=CORRUPTED):
    """A file as RobustBench lays it out: {model: {cell: accuracy}}."""
    names, levels = zip(
        *(re.fullmatch(r"corruption=(.*),severity=(.)", key).groups() for key in keys), strict=True
    )
    lines = [
        ["", *names],
        ["", *levels],
        *([model, *(row[key] for key in keys)] for model, row in rows.items()),
    ]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return path


def test_a_file_in_robustbenchs_layout_may_have_its_columns_in_any_order(tmp_path):
    draw = random.Random(0)
    rows = {name: {key: draw.random() for key in CORRUPTED} for name in "ab"}
    keys = list(CORRUPTED)
    draw.shuffle(keys)
    table = read_published(by_cell(tmp_path / "f.csv", rows, keys), "cifar10-c", CIFAR)

    assert [metric.name for metric in table.metrics] == ["mean_corruption_accuracy"]
    for name, row in table.rows:
        assert row["mean_corruption_accuracy"] == pytest.approx(sum(rows[name].values()) / 75)
    assert "15 corruptions x 5 severities, of images on disk" in table.about
    photographs = Terms.given("classification", {"dataset": "imagenet"})
    named = read_published(by_cell(tmp_path / "f.csv", rows, keys), "imagenet-c", photographs)
    assert [metric.name for metric in named.metrics] == ["mean_corruption_accuracy", "mce"]


def test_a_file_of_summaries_stands_beside_ours(rbms, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("model,clean_accuracy,mean_corruption_nll\nNet <b>,0.95,1.5\n")

    told = rbms("leaderboard", "cifar10-c-disk", "--published", path)

    assert told.code == 0, told.err
    assert told.out.count("## Published") == 2
    assert "mine.csv: as the file has it. Measured by others, and never ranked with ours." in told.out
    assert "| Net &lt;b&gt; |      95.00 |       1.500 |" in told.out
    again = rbms("leaderboard", "cifar10-c-disk", "--published", path, "--json").json()["cifar10-c-disk"]
    assert again[-1]["rows"][0]["values"]["clean_accuracy"]["mean"] == 0.95
    assert "name the suite that its numbers are of" in rbms("leaderboard", "--published", path).err


WRONG = {
    "": "no table of published numbers",
    "name,clean_accuracy\na,0.5\n": "it begins with 'model' and names of summaries",
    "model,clean_acuracy\na,0.5\n": "line 1: no summary named 'clean_acuracy'; did you mean 'clean_accuracy'",
    "model,clean_accuracy\na,95.0\n": r"line 2 \(a\): clean_accuracy is 95, and the largest .* did you mean 0.95\?",
    "model,clean_accuracy\na,high\n": r"line 2 \(a\): clean_accuracy is 'high', which is no number",
    "model,clean_accuracy\na,nan\n": "no finite number",
    "model,clean_accuracy\na,0.5\na,0.6\n": r"line 3 \(a\): the model stands in line 2 already",
    "model,clean_accuracy\na,0.5,0.6\n": "3 fields, and the first line has 2",
    "model,clean_accuracy,clean_accuracy\na,0.5,0.6\n": "clean_accuracy stands twice",
    "model,clean_accuracy\n ,0.5\n": "line 2: it names no model",
    ",fog,fog\n,1,2\na,0.5,0.5\n": "needs 75 cells, and 73 are missing: corruption=gaussian_noise.* 70 more",
    ",fgo\n,1\na,0.5\n": "column 2: no corruption named 'fgo'; did you mean 'fog'",
    ",fog\n,6\na,0.5\n": "column 2: no severity named '6'",
    ",fog,fog\n,1,1\na,0.5,0.5\n": "corruption=fog,severity=1 stands twice",
    ",fog,fog\n,1\na,0.5,0.5\n": "3 fields in its first line and 2 in its second",
    'model,"clean\n': "not a CSV file",
}


@pytest.mark.parametrize(("text", "words"), WRONG.items(), ids=range(len(WRONG)))
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path, rbms, text, words):
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises((UserError, UnknownName), match=words) as told:
        read_published(path, "cifar10-c", CIFAR)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("matrix", [{}, {"corruption": ["speckle_noise"], "severity": [1]}])
def test_cells_of_a_suite_without_a_mean_over_them_are_refused(tmp_path, matrix):
    terms = Terms.given("classification", {"dataset": "cifar10"}, matrix)
    path = by_cell(tmp_path / "f.csv", {"a": dict.fromkeys(CORRUPTED, 0.5)})
    with pytest.raises(BadFile, match=r"f\.csv: accuracies by .*, of which the suite has no mean"):
        read_published(path, "cifar10", terms)


def test_a_suite_without_records_is_asked_for_its_own_cells(rbms, tmp_path):
    path = by_cell(tmp_path / "f.csv", {"a": dict.fromkeys(CORRUPTED, 0.5)})
    told = rbms("leaderboard", "cifar10", "--published", path, "--results", tmp_path)
    assert told.code == 2
    assert "of which the suite has no mean" in " ".join(told.err.split())


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path, rbms):
    assert (
        "absent.csv: No such file"
        in rbms("leaderboard", "cifar10-c", "--published", tmp_path / "absent.csv").err
    )
    (tmp_path / "f.csv").write_bytes(b"model,\xff\xfe\n")
    assert (
        "f.csv: not a text file in UTF-8"
        in rbms("leaderboard", "cifar10-c", "--published", tmp_path / "f.csv").err
    )
