"""The page of claims: fresh, of the records' own figures, and its three verdicts."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from statistics import NormalDist, fmean
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from robustbench_ms.catalog.find import card_names, suite_names
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.statistics.differences import Student
from robustbench_ms.statistics.intervals import Interval, holm
from tests import findings, findings_cifar, signalled
from tests.findings_pictures import forest
from tests.test_activity import CARD

MINE, RIVAL, FLOOR = "digits-resnet8-cbam", "digits-resnet8", "digits-resnet8-eca"
CLAIM = {
    "id": "cbam-digits", "of": "CBAM", "says": "more digits are read", "source": "nobody", "suite": "quick",
    "model": MINE, "column": "clean_accuracy", "against": [RIVAL],
}  # fmt: skip


def student(mean, stderr):
    return Student(mean, stderr, 300, 299, "t")


def test_the_page_its_pictures_and_the_readmes_table_are_fresh():
    assert findings.page() == findings.PAGE.read_text(encoding="utf-8")
    committed = {path.name: path.read_text(encoding="utf-8") for path in findings.PICTURES.iterdir()}
    assert committed == {findings.DETAILS.name: findings.details(), **findings.pictures()}
    text = findings.README.read_text(encoding="utf-8")
    assert findings.MARKS[0] in text
    assert findings.with_table(text, findings.readme()) == text


def test_the_table_is_put_between_its_marks_and_nowhere_else():
    text = f"a\n{findings.MARKS[0]}\nold\n{findings.MARKS[1]}\nb"

    assert findings.with_table(text, r"\1 new") == f"a\n{findings.MARKS[0]}\n\\1 new\n{findings.MARKS[1]}\nb"
    assert findings.with_table("no marks", "new") == "no marks"


def test_links_of_the_pages_lead_somewhere():
    page, details = findings.page(), findings.details()
    headings = [findings.anchor(one) for one in re.findall(r"^## (.*)$", details, re.MULTILINE)]
    assert len({*headings}) == len(headings)
    assert {*re.findall(r"\(findings/CLAIMS\.md#([^)]+)\)", page)} == {*headings}
    shown = re.findall(r"!\[[^]]*\]\(([a-z0-9.-]+)\)", details) + re.findall(
        r"\(findings/([a-z0-9-]+\.svg)\)", page
    )
    assert {*shown} == {path.name for path in findings.PICTURES.glob("*.svg")}
    for name in shown:
        assert ET.parse(findings.PICTURES / name).getroot().tag.endswith("svg")


def test_claims_name_what_is_shipped():
    costs = json.loads(findings_cifar.COSTS.read_text())
    assert len({claim["id"] for claim in findings.CLAIMS}) == len(findings.CLAIMS)
    for claim in findings.CLAIMS:
        assert len({"value", "why", "cost", "column"} & {*claim}) == (2 if "value" in claim else 1)
        if "why" in claim:
            continue
        models = [claim["model"], *claim.get("against", ()), *claim.get("floors", ())]
        assert {*models} <= {*card_names()}
        assert len({*models}) == len(models)
        assert ("against" in claim) != ("value" in claim)
        if "cost" in claim:
            assert all(claim["cost"] in costs[name] for name in models)
            continue
        assert claim["suite"] in suite_names()
        if "family" in claim:
            family = findings.TOLD["families"][claim["family"]]
            assert all([claim["model"], rival] in family for rival in claim["against"])


def test_claims_of_articles_stand_apart_from_what_is_asked_here():
    first, second = findings.page().split("## What is asked here")
    for claim in findings.CLAIMS:
        mine, other = (second, first) if claim["source"].startswith("Asked here") else (first, second)
        assert f"| {findings.title(claim)} |" in re.sub(" +", " ", mine)
        assert f"| {findings.title(claim)} |" not in re.sub(" +", " ", other)
    for page in (first, second):
        ((told, *said),) = re.findall(r"Of (\d+) .*? (\w+) hold.*?, (\w+) do not, and (\w+) cannot", page)
        assert sum(int(one.replace("none", "0")) for one in said) == int(told)


def test_what_was_read_from_a_text_alone_says_so_and_decides_no_cost_by_its_own_widths():
    for claim in findings.CLAIMS:
        said, _, section, _ = findings.told(claim)
        assert not section or ("our reading" in section) == (
            claim["of"] in ("DMSCA", "AMSRA-Net", "HybridHAR")
        )
        if "unknown" in claim:
            assert said == "cannot be told here"


@pytest.mark.parametrize("title", ["short", " ".join(["word"] * 40)])
def test_a_picture_has_room_for_its_title_and_names_and_tells_its_line(title):
    name = "over a-network-of-a-long-name-in-deed"
    made = ET.fromstring(forest(title, [(name, 1.0, -1.0, 2.0), ("b", 3.0, 2.5, 4.0)]))
    named = "{http://www.w3.org/2000/svg}"
    words = [(float(one.get("x")), float(one.get("y")), one.text) for one in made.iter(f"{named}text")]
    heads = [one for one in words if one[0] == 8 and one[2] in title]
    assert " ".join(one[2] for one in heads) == title
    assert max(len(one[2]) for one in heads) * 8 < float(made.get("width"))
    assert len({y for x, y, _ in words if x == 8}) == sum(x == 8 for x, *_ in words)  # none on another
    assert len(name) * 7 < min(float(one.get("x1")) for one in made.iter(f"{named}line"))
    (upright,) = [one for one in made.iter(f"{named}line") if one.get("x1") == one.get("x2")]
    assert [text for x, _, text in words if x == float(upright.get("x1"))] == ["0"]


def test_figures_are_the_records():
    """The gain is that of the means over seeds, read from the files by hand."""

    def mean(model):
        found = []
        for seed in range(3):
            told = json.loads((findings.RESULTS / "quick" / f"{model}@{seed}.json").read_text())
            (clean,) = [cell for cell in told["measurements"] if cell["key"] == "clean"]
            found.append(clean["values"]["accuracy"]["mean"])
        return fmean(found)

    ((rival, seeds, difference),) = findings.rows(CLAIM)
    assert (rival, seeds) == (RIVAL, (3, 3))
    assert difference.mean == pytest.approx(mean(MINE) - mean(RIVAL))
    verdict, decided, said, drawn = findings.told(CLAIM)
    assert decided[0] == f"{100 * difference.mean:+.2f} pp over {RIVAL}"
    assert decided[2:] == ["597", "3"]
    assert drawn[0][1] == pytest.approx(100 * difference.mean)
    assert f"**{verdict.capitalize()}.**" in said
    assert f"| {100 * difference.mean:+.2f} (" in said
    assert f"| {RIVAL} | 3 | {100 * mean(RIVAL):.2f} (" in said
    assert f"| {MINE} | 3 | {100 * mean(MINE):.2f} (" in said
    assert "on `quick`, 597 images. **" in said
    assert difference.method in said
    assert f"Measured by `rbms run quick -m {MINE} -m {RIVAL}`." in said


def test_what_is_not_surely_above_a_floor_is_told(monkeypatch):
    claim = {**CLAIM, "floors": [FLOOR], "beside": "clean_accuracy"}
    for gains, said in (
        ({MINE: student(0.05, 0.01), RIVAL: student(0.03, 0.005)}, "Every network is surely above them."),
        ({MINE: student(0.05, 0.01), RIVAL: student(0.01, 0.02)}, f"surely above: `{RIVAL}` over `{FLOOR}` (+1.00)."),
        ({MINE: student(-0.05, 0.01), RIVAL: student(0.05, 0.01)}, f"surely above: `{MINE}` over `{FLOOR}` (-5.00)."),
    ):  # fmt: skip
        monkeypatch.setattr(findings, "gain", lambda mine, theirs, known=gains: known[mine[0].group])
        assert said in findings.told(claim)[2]
        assert findings.told(claim)[1][0].endswith(" *") == (said != "Every network is surely above them.")
    shown = re.search(r"Beside it: clean (\S+) ([\d.]+) %, (\S+) ([\d.]+) %\.\n", findings.told(claim)[2])
    found = (findings.entries("quick", "clean_accuracy", name) for name in (MINE, RIVAL))
    clean = [f"{100 * fmean(one.values['clean_accuracy'].mean for one in each):.2f}" for each in found]
    assert shown.groups() == (MINE, clean[0], RIVAL, clean[1])
    assert f"Floors: `{FLOOR}`; no record of " in findings.floors({**claim, "against": ["nothing"]})[0]


def test_a_record_that_is_not_there_is_told(tmp_path):
    verdict, decided, said, drawn = findings.told(CLAIM, tmp_path)
    assert (verdict, decided, drawn) == ("not measured yet", ["", "", "", ""], [])
    assert said.count("\n") == 0
    assert f"no record of {MINE}; `rbms run quick -m {MINE} -m {RIVAL}`." in said


def test_fewer_than_three_seeds_give_no_verdict(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    for name in (f"{MINE}@0", f"{MINE}@1", *(f"{RIVAL}@{seed}" for seed in range(3))):
        for end in (".json", ".correct.npz"):
            shutil.copy(findings.RESULTS / "quick" / (name + end), folder)

    verdict, _, said, _ = findings.told(CLAIM, tmp_path)
    assert verdict == "not measured yet"
    assert f"2 of 3 seeds of {MINE}" in said


def test_a_family_shares_one_correction(monkeypatch):
    """Pairs that are not measured yet count."""
    own = findings.told(CLAIM)[2]
    family = [[MINE, RIVAL], [FLOOR, RIVAL], ["digits-resnet8-gone", RIVAL]]
    monkeypatch.setitem(findings.TOLD["families"], "A", family)
    claim = {**CLAIM, "family": "A"}
    ((_, _, mine),) = findings.rows(claim)
    others = findings.beside(claim)

    assert len(others) == 2
    assert others[1] == 1.0
    p = holm([mine.p_differs, *others])[0]
    assert f"| {p:.3g} |" in findings.told(claim)[2]
    assert p >= mine.p_differs
    assert f"| {mine.p_differs:.3g} |" in own


def test_costs_hold_where_the_count_is_no_more_than_claimed():
    claim = {
        "id": "x", "of": "EMA", "says": "less", "source": "nobody", "cost": "parameters",
        "model": "cifar100-resnet50-ema", "against": ["cifar100-resnet50"], "most": 1.01,
    }  # fmt: skip
    assert findings.told(claim)[0] == "holds"
    assert findings.told({**claim, "most": 1.001})[0] == "does not hold"
    assert findings.told({**claim, "against": ["cifar100-resnet50-ema"], "most": 1.0})[0] == "does not hold"
    assert "23,903,620" in findings.told(claim)[2]


def test_blocks_scale_the_residual_branch_as_their_gates_do_at_their_start():
    """DMSCA's gates begin near a half each, of which two stand in a row; no block scales by 1."""
    assert findings_cifar.scale_at_start("resnet20-fast") == 1.0
    assert 0.2 < findings_cifar.scale_at_start("resnet20-fast-dmsca") < 0.35
    assert 0.4 < findings_cifar.scale_at_start("resnet20-fast-ema") < 0.6


def few(n):
    """A system with one seed each of n plain networks on a known line in probits."""
    normal, made = NormalDist(), {}
    for i in range(n):
        clean = 0.8 + 0.01 * i
        worse = normal.cdf(-0.3 + 0.9 * normal.inv_cdf(clean))
        made.setdefault(findings_cifar.CONTROLS[i % 3], []).append((clean, worse))
    made["resnet20-fast-ema"] = [(0.85, normal.cdf(-0.3 + 0.9 * normal.inv_cdf(0.85)) + 0.02)]
    told = {}
    for name, points in made.items():
        told[name] = {
            column: [
                SimpleNamespace(values={column: Interval(one[k], one[k] - 1e-9, one[k] + 1e-9)}, n=10_000)
                for one in points
            ]
            for k, column in enumerate((findings_cifar.CLEAN, findings_cifar.CORRUPTED))
        }
    return told


def test_the_line_takes_ten_plain_networks_and_tells_who_is_above_it():
    assert "and 9 are measured: points without a line" in findings_cifar.robust_or_better(few(9))
    assert (
        "line of 10 plain networks: ema +2.00; a plain one is up to 0.00 away"
        in findings_cifar.robust_or_better(few(10))
    )


@pytest.mark.parametrize(("n", "lines"), [(9, 0), (10, 1)])
def test_each_network_is_a_point_and_ten_plain_ones_have_a_line_through_them(n, lines):
    named = "{http://www.w3.org/2000/svg}"
    picture = ET.fromstring(findings_cifar.robust_picture(few(n)))
    points = [one for one in picture.iter(f"{named}circle") if one.find(f"{named}title") is not None]
    plain = [tuple(float(one.get(k)) for k in ("cx", "cy")) for one in points if one.get("fill") == "none"]
    ((x, y),) = (
        tuple(float(one.get(k)) for k in ("cx", "cy")) for one in points if one.get("fill") != "none"
    )

    assert len(plain) == n
    assert sorted(plain) == sorted(plain, key=lambda one: -one[1])  # better clean, better corrupted
    assert all(other > y for at, other in plain if at <= x)  # it is above those that are as good clean
    drawn = list(picture.iter(f"{named}polyline"))
    assert len(drawn) == lines
    for line in drawn:
        ends = [tuple(map(float, end.split(","))) for end in line.get("points").split()]
        across, up = zip(*ends, strict=True)
        for at, height in plain:
            assert np.interp(at, across, up) == pytest.approx(height, abs=0.2)


NUMBER = {
    "id": "listens", "of": "Listens", "says": "it hears", "source": "nobody", "note": "By hand",
    "suite": "har-mini-faults", "model": "listens", "column": "clean_accuracy", "value": 0.9606,
}  # fmt: skip


def test_a_number_that_is_claimed_is_judged_by_subjects(tmp_path, rbms):
    """Of two seeds of a small network: the interval is the jackknife's, over the subjects, of the mean over seeds."""
    assert (
        "no record of listens; `rbms run har-mini-faults -m listens`." in findings.told(NUMBER, tmp_path)[2]
    )
    card = tmp_path / "listens.toml"
    card.write_text(CARD)
    assert rbms("run", signalled.npz_suite(tmp_path / "own"), "-m", card, "--device", "cpu").code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    samples = record.samples()
    bits, folder = [], tmp_path / "records" / "har-mini-faults"
    for seed in range(2):
        correct = samples.correct.copy()
        correct[0, : 3 * seed + 4] = False
        cells = [
            replace(m, values={**m.values, "accuracy": {**m.values["accuracy"], "mean": row.mean()}})
            for m, row in zip(record.measurements, correct, strict=True)
        ]
        other = replace(
            record, card={**record.card, "name": f"listens@{seed}"}, measurements=tuple(cells),
            subject={**record.subject, "digest": str(seed)},
        )  # fmt: skip
        tables = {name: one for name, one in samples.tables.items() if not name.endswith("/counts")}
        write_record(other, replace(samples, correct=correct, tables=tables), folder / f"listens@{seed}.json")
        bits.append(correct[0])
    mean = np.mean(bits, axis=0)
    left = np.array([mean[samples.groups != group].mean() for group in range(6)])
    half = 2.570581835636314 * np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())

    seeds, groups, found = findings.by_groups(NUMBER, tmp_path / "records")
    assert (seeds, groups) == (2, 6)
    assert found.mean == pytest.approx(mean.mean())
    assert found.low == pytest.approx(mean.mean() - half)
    said = findings.told(NUMBER, tmp_path / "records")[2]
    assert f"| 96.06 | 2 | 6 | {100 * found.mean:.2f} (" in said
    assert "on `har-mini-faults`, 60 windows. By hand. **Cannot be told here.**" in said


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.956, 0.97), "holds"),
        ((0.95, 0.97), "cannot be told here"),
        ((0.94, 0.96), "does not hold"),
        ((0.957, 0.96), "holds"),
        ((float("nan"), float("nan")), "cannot be told here"),
    ],
)
def test_verdicts_on_numbers(ends, said):
    assert findings.verdict_on(0.9606, Interval(0.955, *ends)) == said


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([(0.05, 0.01), (0.03, 0.005)], "holds"),
        ([(0.05, 0.01), (0.01, 0.02)], "cannot be told here"),
        ([(0.05, 0.01), (-0.05, 0.01)], "does not hold"),
        ([(0.05, 0.01), (0.001, 0.001)], "does not hold"),
        ([(0.05, 0.01)], "not measured yet"),
    ],
)
def test_verdicts(gains, said):
    differences = [student(*one) for one in gains]
    p_values = [min(1.0, 2 * d.p_differs) for d in differences]
    assert findings.verdict(differences, [*p_values, None][:2]) == said


def test_what_is_surely_below_half_a_point_is_so_at_the_level_that_a_family_leaves():
    one = student(0.0025, 0.001)
    assert one.upper(0.025) < 0.005 < one.upper(0.025 / 20)  # half a point
    assert findings.verdict([one], [0.9]) == "does not hold"
    assert findings.verdict([one], [0.9], among=20) == "cannot be told here"


def test_pairs_with_three_seeds_are_told_real_or_not(monkeypatch):
    monkeypatch.setattr(findings_cifar, "SUITE", "quick")
    _, _, mine, none, control = findings_cifar.differences(
        findings.entries, findings.RESULTS, [[MINE, RIVAL], ["none", RIVAL]], [(MINE, RIVAL)]
    )
    ((_, _, one),) = findings.rows({**CLAIM, "column": "mean_corruption_accuracy"})

    real = one.p_differs <= 0.05 / 2  # the pair that is not measured yet counts
    told = "real" if real else f"from {100 * one.detectable(0.025 / 2):.1f}"
    ends = " to ".join(f"{100 * end:+.2f}" for end in (one.lower(0.025), one.upper(0.025)))
    name, _, worse, patches = (cell.strip() for cell in mine.strip("|").split("|"))
    assert (name, worse, patches) == (MINE, f"{100 * one.mean:+.2f} ({ends}), {told}", "-")
    assert [cell.strip() for cell in none.strip("|").split("|")] == ["none", "-", "-", "-"]
    assert f"| {MINE}, a control |" in control
    assert f"| {100 * one.mean:+.2f} ({ends}) |" in re.sub(" +", " ", control)


def test_pairs_whose_order_turns_are_told_and_only_what_three_seeds_tell_is_real(monkeypatch):
    def shown(seeds, clean, worse):
        return {
            column: [SimpleNamespace(values={column: Interval(at, at, at)})] * seeds
            for column, at in ((findings_cifar.CLEAN, clean), (findings_cifar.CORRUPTED, worse))
        }

    found = {"resnet20-fast-ema": shown(3, 0.9, 0.6), "resnet20-fast": shown(3, 0.8, 0.7)}
    few = found | {"resnet20-fast-ema": shown(2, 0.9, 0.6)}
    p_values = {0.9: 0.01, 0.6: 0.04}
    monkeypatch.setattr(
        findings_cifar, "gain",
        lambda mine, other: SimpleNamespace(
            p_differs=next(p for at, p in p_values.items() for side in (mine, other) if at in [
                one.mean for one in side[0].values.values()
            ])
        ),
    )  # fmt: skip
    swapped = (
        "1 of 1 pairs of systems are in another order clean than corrupted, by their means: none and ema. "
        "Told apart both ways:"
    )
    assert findings_cifar.turned(found) == f"{swapped} none and ema."
    assert findings_cifar.turned(few) == f"{swapped} none."
    p_values[0.6] = 0.06
    assert findings_cifar.turned(found) == f"{swapped} none."
    one_order = {"resnet20-fast": shown(3, 0.8, 0.6), "resnet20-fast-ema": shown(3, 0.9, 0.7)}
    assert findings_cifar.turned(one_order) == "Clean and corrupted means are in one order."
