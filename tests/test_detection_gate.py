"""Records of detections are summarised, compared, tabled and gated by the jackknife of their images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.errors import Incomparable
from robustbench_ms.gating.judge import judge
from robustbench_ms.gating.rules import parse_rules
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import Incomplete, summarise
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.specs.metrics import Metric, Rows, Summary
from robustbench_ms.statistics.intervals import t_quantile
from robustbench_ms.tasks.detection.measures import SCORERS
from tests.detected import CORRUPTED, KEYS, SHORT, written
from tests.records import MATRIX

FOG = "corruption=fog,severity=5"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A reference, and a candidate that has lost much of one cell and a little everywhere."""
    folder = tmp_path_factory.mktemp("boxes")
    shares = dict.fromkeys(KEYS, 0.05) | {FOG: 0.95}
    paths = written(folder, 0.0, name="reference"), written(folder, shares, name="candidate")
    return paths, tuple(map(read_record, paths))


def rules(record, *texts):
    terms = Terms.of(record)
    return parse_rules(texts, terms.rows, terms.axes, terms.untested)


def error(draws):
    count = draws.size
    return ((count - 1) / count * ((draws - draws.mean()) ** 2).sum()) ** 0.5


def test_p_mpc_and_rpc_are_formed_group_by_group(two):
    record = two[1][1]
    rows = np.concatenate([record.samples().replicates("AP", [key]) for key in KEYS])
    means = np.array([record.cell(key).values["AP"]["mean"] for key in KEYS])

    found = summarise(record, ("P", "mPC", "rPC", "mPC_weather", "P50", "mPC50"))

    weather = [CORRUPTED.index(key) + 1 for key in CORRUPTED if key.split(",")[0].split("=")[1] in
               {"snow", "frost", "fog", "brightness"}]  # fmt: skip
    assert len(weather) == 20
    for name, value, draws in (
        ("P", means[0], rows[0]),
        ("mPC", means[1:].mean(), rows[1:].mean(axis=0)),
        ("rPC", means[1:].mean() / means[0], rows[1:].mean(axis=0) / rows[0]),
        ("mPC_weather", means[weather].mean(), rows[weather].mean(axis=0)),
    ):
        assert found[name].mean == pytest.approx(value)
        assert found[name].half_width == pytest.approx(t_quantile(0.975, 39) * error(draws))
    assert found["mPC50"].mean > found["mPC"].mean


def test_differences_take_the_jackknifes_t(two):
    _, (reference, candidate) = two
    asked = rules(
        candidate, "mPC=1pp", "AP[clean]=1pp", "any:AP=10pp", "floor:P=30pp", "AP[corruption=fog]=5pp"
    )

    verdicts = {v.rule.target: v for v in judge(candidate, reference, asked).verdicts}

    worst = verdicts["any:AP"]
    assert (worst.state, worst.cell, worst.failed) == ("fail", FOG, (FOG,))
    assert worst.method == "Student's t on a jackknife of groups"
    lost = np.subtract(*(r.samples().replicates("AP", [FOG])[0] for r in (reference, candidate)))
    exact = np.subtract(*(r.cell(FOG).values["AP"]["mean"] for r in (reference, candidate)))
    assert worst.loss == pytest.approx(exact)
    # Holm takes the least p of five rules at a fifth of alpha, and Bonferroni shares that among the 76 cells.
    least = exact - t_quantile(1 - 0.05 / 5 / 76, 39) * error(lost)
    assert worst.interval.low == pytest.approx(least)
    floor = verdicts["floor:P"]
    assert floor.state in {"fail", "pass", "unsure"}
    assert "on average over sets of 40 such images" in floor.reason
    assert all(v.state in {"pass", "unsure", "fail"} for v in verdicts.values())
    assert judge(reference, reference, asked[:3]).state == "pass"


def test_a_process_without_torch_gates_it(two):
    (reference, candidate), _ = two
    script = (
        "import sys\n"
        "from tests import detected\n"
        "from robustbench_ms.gating.judge import judge\n"
        "from robustbench_ms.gating.rules import parse_rules\n"
        "from robustbench_ms.records.record import read_record\n"
        "from robustbench_ms.records.terms import Terms\n"
        "from pathlib import Path\n"
        f"one, other = (read_record(Path(name)) for name in ({str(candidate)!r}, {str(reference)!r}))\n"
        "terms = Terms.of(one)\n"
        "rules = parse_rules(['any:AP=10pp'], terms.rows, terms.axes, terms.untested)\n"
        "print(judge(one, other, rules).state)\n"
        "assert 'torch' not in sys.modules\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "fail\n"), done.stderr


def test_too_few_images_are_missing(tmp_path):
    few = SCORERS[0].fewest - 1
    one, other = (
        read_record(written(tmp_path, share, name=name, images=few, keys=SHORT))
        for name, share in (("one", 0.0), ("other", 0.3))
    )

    for text in ("AP[clean]=1pp", "floor:P=1pp", "any:AP=1pp"):
        judged = judge(one, other, rules(one, text))
        assert judged.state == "missing"
        assert f"{few} images say nothing certain of AP" in judged.verdicts[0].reason


def test_no_mean_is_of_a_part_of_the_matrix(tmp_path):
    matrix = {**MATRIX, "matrix": {"corruption": ["fog"], "severity": [1, 5]}}
    record = read_record(written(tmp_path, 0.0, keys=SHORT, matrix=matrix))

    for name in ("mPC", "rPC", "mPC_weather"):
        with pytest.raises(Incomparable, match=f"{name} is over a whole matrix, and this one lacks"):
            summarise(record, (name,))
    cells = [record.cell(key).values["AP"]["mean"] for key in SHORT[1:]]
    assert summarise(record, ("corrupted_AP",))["corrupted_AP"].mean == pytest.approx(np.mean(cells))
    (verdict,) = judge(record, record, rules(record, "mPC=1pp")).verdicts
    assert verdict.state == "missing"
    assert "this one lacks corruption=gaussian_noise" in verdict.reason


def test_nor_of_a_part_of_its_cells(tmp_path):
    record = read_record(written(tmp_path, 0.0, keys=KEYS[:-1]))

    with pytest.raises(Incomplete, match="mPC needs 75 cells, and 1 are missing: corruption=jpeg_com"):
        summarise(record, ("mPC",))


def test_rpc_has_no_value_where_the_clean_ap_is_next_to_nothing(tmp_path):
    record = read_record(written(tmp_path, {"clean": 0.999}))
    assert record.cell("clean").values["AP"]["mean"] < 0.01

    assert np.isnan(summarise(record, ("rPC",))["rPC"].mean)
    text = to_markdown(tables([record]))
    assert "rPC: - has no value, where the clean AP is below 1.0 %." in text
    (verdict,) = judge(record, record, rules(record, "floor:rPC=1pp")).verdicts
    assert verdict.reason == "floor:rPC has no value where the clean AP is below 1.0 %"


def test_a_table_says_of_what_sets_it_is(two):
    text = to_markdown(tables(two[1]))

    assert "mPC, P, rPC: of sets of 40 such images" in text
    assert "mPC: means over 15 corruptions x 5 severities." in text
    assert Comparison.of(*two[1][::-1]).cells()[0].key == "clean"


def test_a_ratio_needs_the_clean_cell_and_a_group():
    one = Metric("hit", "hit", "%", "higher", 1, "hits")
    ratio = Summary("kept", "kept", "%", "higher", 1, "kept", of="hit", over=("common",), how="ratio")

    with pytest.raises(Exception, match="its cells are clean and one group, not common"):
        Rows((one,), (ratio,))
