"""Rules about any cell, floors and warnings."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.gating.judge import exit_code, judge
from robustbench_ms.gating.run import rules_of
from robustbench_ms.tasks.classification.rows import ROWS
from tests.judging import FOG, RULES, parse_rules, verdict, with_loss
from tests.records import MATRIX
from tests.simulated import KEYS, answers, record

EVERY = "any:accuracy=10pp"
CORRECT = answers(597)


def test_a_cell_that_lost_all_is_found_though_the_mean_hardly_moved():
    lost = with_loss(CORRECT, KEYS[FOG], 150)
    found = verdict(record(lost), record(CORRECT), EVERY)

    assert verdict(record(lost), record(CORRECT), "mean_corruption_accuracy=2pp").state == "pass"
    assert (found.state, found.cell, found.failed) == ("fail", KEYS[FOG], (KEYS[FOG],))
    assert found.loss == pytest.approx(150 / 597)
    assert "; 1 of 76 cells fail" in found.reason
    assert found.interval.low > 0.1


def test_the_cells_of_a_rule_are_one_test():
    """p is the least one's times their number; the bounds are those of that level."""
    lost = with_loss(CORRECT, KEYS[FOG], 80)
    reference = record(CORRECT)
    one = verdict(record(lost), reference, f"accuracy[{KEYS[FOG]}]=10pp")
    every = verdict(record(lost), reference, EVERY)
    of_fog = verdict(record(lost), reference, "any:accuracy[corruption=fog]=10pp")

    assert one.interval.low > of_fog.interval.low > every.interval.low
    p = stats.binom.sf(79, 597, 0.1)
    assert p < 0.05 / 5 < 0.05
    assert (one.state, of_fog.state, every.state) == ("fail", "fail", "fail" if 76 * p <= 0.05 else "unsure")


def test_it_passes_where_every_cells_upper_bound_is_within():
    found = verdict(record(with_loss(CORRECT, KEYS[FOG], 30)), record(CORRECT), EVERY)

    assert (found.state, found.cell) == ("pass", KEYS[FOG])
    assert found.interval.high == pytest.approx(stats.beta.ppf(0.95, 31, 567), abs=1e-9)
    assert "none of 76 cells loses more than" in found.reason
    close = verdict(record(with_loss(CORRECT, KEYS[FOG], 55)), record(CORRECT), EVERY)
    assert close.state == "unsure"
    assert "1 of 76 cells are unsure; in " in close.reason


@pytest.mark.parametrize(("who", "state"), [("candidate", "fail"), ("reference", "missing")])
def test_cells_of_the_matrix_count_measured_or_not(who, state):
    part, whole = record(CORRECT[:40], KEYS[:40]), record(CORRECT)
    found = verdict(*((part, whole) if who == "candidate" else (whole, part)), EVERY)

    assert found.state == state
    assert f"the {who} lacks {KEYS[40]}" in found.reason
    # Of a matrix that says less, only its cells and those that either has.
    matrix = {"corruption": ["gaussian_noise"], "severity": [3]}
    short = replace(part, suite={**part.suite, **MATRIX, "matrix": matrix})
    assert verdict(short, short, EVERY).state == "pass"


@pytest.mark.parametrize(
    ("right", "state"),
    [(600, "pass"), (550, "pass"), (549, "unsure"), (525, "unsure"), (524, "fail"), (0, "fail")],
)
def test_a_floor_is_about_the_candidates_own_value(right, state):
    """90 % of 597: passes from 550 right, fails to 524."""
    correct = CORRECT.copy()
    correct[0] = np.arange(597) < right
    found = verdict(record(correct), record(CORRECT), "floor:clean_accuracy=90pp")
    k = min(right, 597)

    assert found.state == state
    assert found.reference is None
    assert found.candidate == pytest.approx(k / 597)
    below, above = stats.binom.cdf(k, 597, 0.9), stats.binom.sf(k - 1, 597, 0.9)
    assert (state == "fail") == (below <= 0.05)
    assert (state == "pass") == (above <= 0.05)
    assert "90.00 % asked for" in found.reason


def test_floors_of_means_over_cells_and_of_scores_and_of_any_cell():
    nll = np.random.default_rng(0).gamma(2.0, 0.2, 597)
    one = record(CORRECT, scores={"nll": nll, "brier": nll})

    assert verdict(one, one, "floor:mean_corruption_accuracy=75pp").state == "pass"
    assert verdict(one, one, "floor:mean_corruption_accuracy=85pp").state == "fail"
    assert verdict(one, one, "floor:clean_nll=0.8nats").state == "pass"
    assert verdict(one, one, "floor:clean_nll=0.2nats").state == "fail"
    assert verdict(one, one, "floor:any:accuracy=60pp").state == "pass"
    worst = verdict(record(with_loss(CORRECT, KEYS[FOG], 300)), one, "floor:any:accuracy=60pp")
    assert (worst.state, worst.cell) == ("fail", KEYS[FOG])
    assert "short of the 60.00 % asked for; 1 of 76 cells fail" in worst.reason
    assert verdict(one, one, "floor:relative_drop=20pp").state == "missing"


def test_a_floor_needs_no_reference_and_no_bits_of_one_cell():
    bare = record(CORRECT, kept=False)
    judged = judge(
        bare,
        None,
        parse_rules(
            ["floor:clean_accuracy=70pp", "floor:mean_corruption_accuracy=70pp", "clean_accuracy=1pp"]
        ),
    )

    assert [v.state for v in judged.verdicts] == ["pass", "missing", "missing"]
    assert "the arrays beside the candidate are not there" in judged.verdicts[1].reason
    assert "nothing to compare with" in judged.verdicts[2].reason
    broken = record(CORRECT, errors=["clean"])
    assert judge(broken, None, parse_rules(["floor:clean_accuracy=70pp"])).state == "fail"


def test_a_warning_gates_nothing_and_takes_no_part_in_holms_adjustment():
    lost = record(with_loss(CORRECT, "clean", 90))
    alone, beside = (
        judge(lost, record(CORRECT), parse_rules(texts))
        for texts in (
            ["clean_accuracy=14pp"],
            ["clean_accuracy=14pp", "warn:clean_accuracy=4pp", "warn:clean_nll=1nats"],
        )
    )
    warned = judge(lost, record(CORRECT), parse_rules(["warn:clean_accuracy=4pp"]))

    assert [v.state for v in beside.verdicts] == ["unsure", "fail", "missing"]
    assert beside.state == "unsure"
    assert beside.verdicts[0].interval == alone.verdicts[0].interval
    assert (warned.state, warned.passed()) == ("pass", True)
    assert "nothing was gated: every rule is a warning" in warned.notes
    assert not any("nothing was gated" in note for note in beside.notes)


@pytest.mark.parametrize(
    ("states", "code", "lenient"),
    [
        (["pass"], 0, 0),
        (["pass", "unsure"], 1, 0),
        (["missing", "unsure"], 2, 2),
        (["incomparable", "missing"], 2, 2),
        (["missing", "fail"], 1, 1),
        (["unsure", "fail", "incomparable"], 1, 1),
    ],
)
def test_the_exit_is_that_of_the_gravest_state(states, code, lenient):
    (one,) = [judge(record(CORRECT), record(CORRECT), RULES)]
    judged = [replace(one, verdicts=tuple(replace(v, state=state) for v in one.verdicts)) for state in states]

    assert exit_code(judged) == code
    assert exit_code(judged, lenient=True) == lenient


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (None, "any:accuracy=10pp"),
        (300, "any:accuracy=10pp"),
        (299, "any:accuracy=12.5pp"),
        (49, "warn:any:accuracy=10pp"),
    ],
)
def test_on_fewer_images_a_suites_own_rule_about_any_cell_tolerates_more(limit, told):
    suite = find_suite("quick").limited(limit)
    every = rules_of(suite)[-1]

    assert str(every) == told
    assert bool(every.note) == (told != "any:accuracy=10pp")
    assert str(rules_of(suite, ["any:accuracy=1pp"])[0]) == "any:accuracy=1pp", "what a user says stands"
    found = judge(record(CORRECT), record(CORRECT), [every]).verdicts[0]
    assert every.note in found.reason


def test_the_table_of_tolerances_is_that_of_the_page_for_people(request):
    text = (request.config.rootpath / "suites" / "README.md").read_text()
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) pp \|$", text, re.MULTILINE)

    told = {int(n.replace(",", "")): float(pp) for n, pp in rows}
    assert told == pytest.approx({n: 100 * tolerance for n, tolerance in ROWS["accuracy"].any_cell})
