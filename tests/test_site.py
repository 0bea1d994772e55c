"""Pages of records, without a browser: what stands in them, and what is refused."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import linregress

from robustbench_ms.errors import UserError
from robustbench_ms.records.comparison import Side
from robustbench_ms.records.record import read_record
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.boards import boards
from robustbench_ms.site import build, pages
from robustbench_ms.site.build import build_site
from robustbench_ms.site.examples import examples as _examples
from robustbench_ms.site.folder import Names
from robustbench_ms.site.lines import line_through
from robustbench_ms.site.pictures import front
from robustbench_ms.site.shift import _moves, covariance
from robustbench_ms.site.table import rounded
from robustbench_ms.site.text import as_json, link, plain
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval
from tests.records import record_of, written
from tests.sites import HOSTILE, results

RESULTS = Path(__file__).resolve().parent.parent / "results"


@pytest.fixture(autouse=True)
def no_examples(monkeypatch):
    """The corruptions are not compiled for these pages."""
    monkeypatch.setattr(build, "examples", lambda names, progress: {})


def test_examples_are_of_our_corruptions_alone():
    found = _examples(["brightness", "<b>", "of another"])
    assert sorted(found) == [f"example-brightness-{s}.jpg" for s in (1, 3, 5)]
    assert len(set(found.values())) == 3


@pytest.fixture
def site(tmp_path):
    out = tmp_path / "site"
    build_site([results(tmp_path / "results", 3)], out)
    return out


def test_names_are_text(site):
    text = "".join(path.read_text() for path in site.glob("*.html"))
    assert "<img src=x" not in text
    assert "<b>bold" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "&lt;img src=x" in text
    assert 'href="javascript' not in text


def test_data_stand_in_the_page(site):
    text = (site / "suite-made.html").read_text()
    (told,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    pictures = json.loads(told)["tables"][0]["pictures"]
    assert pictures["keys"][0] == "clean"
    assert len(pictures["models"]) == 3
    assert pictures["models"][2]["values"]["accuracy"][-1] is None  # a missing cell
    assert "fetch(" not in text
    assert "type=module" not in text


def test_partial_rows_are_unranked_and_say_missing(site):
    text = (site / "suite-made.html").read_text()
    assert "its cells were not measured" in text
    assert text.count('data-ranked="0"') == 1
    assert "Not measured: corruption=fog,severity=3" in (site / "card-net-2.html").read_text()


def test_an_earlier_site_is_replaced_and_nothing_else(site, tmp_path):
    (site / "mine.txt").write_text("keep")
    count = build_site([results(tmp_path / "one", 1, lacking=False)], site)
    assert count == 3
    assert not (site / "card-net-1.html").exists()
    assert (site / "mine.txt").read_text() == "keep"
    with pytest.raises(UserError, match="holds something else"):
        build_site([tmp_path / "one"], tmp_path / "one")


@pytest.mark.parametrize("what", ["empty", "newer", "file"])
def test_bad_input_is_one_sentence(what, tmp_path, rbms):
    folder, out = tmp_path / "results", tmp_path / "out"
    if what == "empty":
        folder.mkdir()
    else:
        results(folder, 1, lacking=False)
    if what == "newer":
        path = folder / "made" / "net-0.json"
        path.write_text(path.read_text().replace('"format": 2', '"format": 99', 1))
    if what == "file":
        out.write_text("")
    answer = rbms("site", folder, "-o", out)
    wanted = {"empty": "rbms run", "newer": "newer", "file": "is a file"}[what]
    assert answer.code == 2
    assert wanted in answer.err
    assert answer.err.count("\n") == 1


def test_without_plotly_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(UserError, match=r"robustbench-ms\[site\]"):
        pages.plotly()


def test_the_front():
    assert front([(1, 0.5), (2, 0.4), (2, 0.7), (3, 0.7), (0.5, 0.1)]) == [4, 0, 2]


def test_a_known_line_is_found():
    x = np.linspace(0.55, 0.95, 12)
    y = ndtr(-0.4 + 0.8 * ndtri(x))
    y[3] += 0.04  # its own point is no part of the line that it is measured from
    found = line_through(x, y, np.zeros((24, 24)), 10_000)
    assert found["rho"][3] == pytest.approx(0.04)
    others = np.delete(np.arange(12), 3)
    wanted = linregress(ndtri(x), ndtri(y))
    assert found["slope"] == pytest.approx(wanted.slope)
    assert found["r2"] == pytest.approx(wanted.rvalue**2)
    for i in others[:3]:
        rest = np.delete(np.arange(12), i)
        line = linregress(ndtri(x[rest]), ndtri(y[rest]))
        assert found["rho"][i] == pytest.approx(y[i] - ndtr(line.intercept + line.slope * ndtri(x[i])))
    with pytest.raises(ValueError, match="10 models"):
        line_through(x[:9], y[:9], np.zeros((18, 18)), 100)


def test_intervals_of_effective_robustness_hold_what_is_true():
    """12 models off a known line by chance, the first by 4 pp, asked about 2,000 images: 95 % intervals hold it."""
    random, times, held, apart = np.random.default_rng(0), 200, 0, 0
    for _ in range(times):
        true_x = random.uniform(0.6, 0.9, 12)
        line = ndtr(-0.4 + 0.8 * ndtri(true_x))
        true_y = ndtr(-0.4 + 0.8 * ndtri(true_x) + random.normal(0, 0.03, 12))
        true_y[0] = line[0] + 0.04
        covariance = np.diag(np.concatenate([true_x * (1 - true_x), true_y * (1 - true_y) / 4]) / 2000)
        seen = random.multivariate_normal(np.concatenate([true_x, true_y]), covariance)
        found = line_through(seen[:12], seen[12:], covariance, 2000)
        held += found["rho_low"][0] <= 0.04 <= found["rho_high"][0]
        apart += found["rho_low"][0] > 0
    assert held / times > 0.9
    assert apart / times > 0.3  # and they are not so wide that they say nothing


def test_errors_are_those_of_images_drawn_again(tmp_path):
    """The covariance of two numbers of several models, against as many bootstraps of the images themselves."""
    folder = results(tmp_path, 3, lacking=False)
    (table,) = boards(folder)["made"]
    records = {path: read_record(path) for row in table.rows for path in row.records}
    terms = Terms.of(next(iter(records.values())))
    pair = [terms.quantity(name) for name in ("clean_accuracy", "mean_corruption_accuracy")]
    found = covariance(table.rows, records, pair)
    bits = [records[row.records[0]].samples().correct for row in table.rows]
    of_images = np.stack([*(one[0] for one in bits), *(one[1:].mean(axis=0) for one in bits)])
    weights = np.random.default_rng(1).multinomial(200, np.full(200, 1 / 200), size=20_000) / 200
    np.testing.assert_allclose(found, np.cov(weights @ of_images.T, rowvar=False), rtol=0.1, atol=1e-5)


@pytest.mark.parametrize(
    ("suite", "card", "measure"),
    [
        ("coco-mini-c", "yolox-nano", "AP"),  # a jackknife's replicates
        ("har-mini-faults", "har-linear@0", "accuracy"),  # bits of subjects
        ("quick", "digits-resnet8@0", "accuracy"),
    ],
)
def test_what_moves_a_number_is_its_error(suite, card, measure):
    record = read_record(RESULTS / suite / f"{card}.json")
    side = Side.of(record)
    found = np.sqrt((_moves(side, side.terms.quantity(measure, ["clean"])) ** 2).sum())
    assert found == pytest.approx(record.cell("clean").values[measure]["stderr"], rel=0.01)


def test_effective_robustness_stands_in_the_table_and_in_its_data(tmp_path):
    build_site([results(tmp_path / "ten", 11)], tmp_path / "site")
    text = (tmp_path / "site" / "suite-made.html").read_text()
    (told,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    line = json.loads(told)["tables"][0]["pictures"]["shift"]["line"]
    assert line["n"] == 10  # the eleventh lacks a cell
    shown = [
        f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        for mean, low, high in zip(line["rho"], line["rho_low"], line["rho_high"], strict=True)
    ]
    assert re.findall(r'data-key="effective" data-v="[^"]*">([^<]*)<', text) == shown
    assert all(low < high for low, high in zip(line["rho_low"], line["rho_high"], strict=True))
    assert "is no part of its line" in text
    build_site([results(tmp_path / "nine", 9, lacking=False)], tmp_path / "site")
    text = (tmp_path / "site" / "suite-made.html").read_text()
    assert 'data-key="effective"' not in text
    assert "takes 10 ranked models of one protocol, and there are 9" in text


@pytest.mark.parametrize(
    ("half", "wanted"), [(0.02, "91.7 ± 2.0"), (0.0004, "91.73 ± 0.04"), (float("nan"), "91.7")]
)
def test_one_decimal_unless_the_interval_carries_more(half, wanted):
    metric = Metric("a", "a", "%", "higher", 2, "", share=True)
    assert rounded(metric, Interval(0.91732, 0.91732 - half, 0.91732 + half)) == wanted


def test_texts():
    assert plain({"a": float("nan"), "b": "x\u2066y\nz"}) == {"a": None, "b": "xy z"}
    assert "<" not in as_json({"a": HOSTILE})
    assert link("see javascript:hit() and https://arxiv.org/abs/1.") == "https://arxiv.org/abs/1"
    names = Names()
    assert [names.of("card", "A"), names.of("card", "a"), names.of("card", "A")] == [
        "card-A.html", "card-a-2.html", "card-A.html",
    ]  # fmt: skip


def test_two_records_on_one_page(tmp_path, rbms):
    folder = results(tmp_path / "results", 3) / "made"
    page = tmp_path / "pair.html"
    answer = rbms("compare", folder / "net-0.json", folder / "net-2.json", "--html", page)
    assert answer.code == 0
    text = page.read_text()
    (told,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    found = json.loads(told)
    assert len(found["cells"]) == 6
    change = 100 * (found["metrics"][0]["candidate"] - found["metrics"][0]["reference"])
    assert f"<td>{change:+.1f} pp</td>" in text
    assert "corruption=fog,severity=3" in text.split("Not compared")[1]
    assert 'src="' not in text
    assert rbms("compare", folder / "net-0.json", folder / "net-1.json", "--html", folder).code == 2


@pytest.mark.parametrize("what", ["no clean cell", "1,000 cells", "one model"])
def test_odd_records_make_a_page(what, tmp_path):
    """A suite without a clean cell, one of many cells, and a model that nothing is compared with."""
    severities = list(range(1, 501)) if what == "1,000 cells" else [1]
    names = [f"corruption={c},severity={s}" for c in ("fog", "snow") for s in severities]
    wanted = names if what == "no clean cell" else ["clean", *names]
    record = record_of(dict.fromkeys(wanted, 0.5), summary=("mean_corruption_accuracy",), n=20)
    matrix = {"corruption": ["fog", "snow"], "severity": severities}
    groups = {"common": {"axis": "corruption", "values": ["fog", "snow"]}}
    record = replace(
        record,
        suite={**record.suite, "matrix": matrix, "groups": groups},
        measurements=tuple(
            replace(m, values={"accuracy": m.values["accuracy"]}) for m in record.measurements
        ),
    )
    folder = tmp_path / "results" / "made"
    folder.mkdir(parents=True)
    written(record, folder, np.tile(np.arange(20) < 10, (len(wanted), 1)))
    assert build_site([tmp_path / "results"], tmp_path / "site") == 3
    text = (tmp_path / "site" / "suite-made.html").read_text()
    (told,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(told)["tables"][0]["pictures"]["keys"] == wanted
    assert "50.0" in text
