"""The verdicts on records whose losses are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.gating.judge import Case, judge, judge_all
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.records.normalised import mce, relative_mce
from robustbench_ms.records.record import read_record, write_record
from tests.judging import FOG, RULES, parse_rules, verdict, with_loss
from tests.simulated import KEYS, answers, bits, pair, record


@pytest.mark.parametrize("alpha", [0.0, -0.1, 0.5, 5, math.nan])
def test_alpha_out_of_range_is_refused(alpha):
    one = record(answers())

    with pytest.raises(UserError, match=r"alpha must be at least 1e-9 and below 0\.5"):
        judge(one, one, RULES, alpha=alpha)


def test_a_gate_without_rules_is_refused():
    with pytest.raises(UserError, match="a gate needs a rule"):
        judge(record(answers()), record(answers()), [])


def test_the_same_answers_pass_any_rule():
    """At a tolerance of 0 no bound could lie below it; that all of it is the same decides."""
    correct = answers()
    judged = judge(
        record(correct), record(correct), parse_rules(["clean_accuracy=0pp", "mean_corruption_accuracy=0pp"])
    )

    assert judged.state == "pass"
    assert {v.reason for v in judged.verdicts} == {"the same network gives the same raw answers"}
    assert {v.changed for v in judged.verdicts} == {0}


@pytest.mark.parametrize(
    ("losses", "state"), [((0.0, 0.0), "pass"), ((0.12, 0.06), "fail"), ((0.04, 0.02), "unsure")]
)
def test_a_large_loss_fails_none_passes_and_one_on_the_tolerance_is_unsure(losses, state):
    reference, candidate = pair(600, losses, seed=1)
    judged = judge(candidate, reference, RULES)

    assert judged.state == state
    for v in judged.verdicts:
        assert v.interval.low <= v.loss <= v.interval.high
        if state == "unsure" and v.state == "unsure":
            assert v.interval.low <= v.margin <= v.interval.high
            assert v.needed > 600
            assert f"some {v.needed:,} samples would settle it" in v.reason
            assert f"{100 * v.detectable:.2f} pp beyond" in v.reason
    assert judged.passed() == (state == "pass")
    assert judged.passed(lenient=True) == (state != "fail")


def test_the_bounds_are_those_of_a_t_test_on_per_image_means_where_many_changed():
    one, other = bits(8000, (0.02, 0.03), seed=2)
    found = verdict(record(other), record(one), "mean_corruption_accuracy=1pp", alpha=0.05)
    losses = one[1:].mean(axis=0) - other[1:].mean(axis=0)
    theirs = scipy_stats.ttest_1samp(losses, 0.01, alternative="greater")

    assert found.loss == pytest.approx(losses.mean(), abs=1e-12)
    assert found.interval.low == pytest.approx(theirs.confidence_interval(0.95).low, abs=2e-4)
    assert found.method == "Gaffke's bound"
    assert found.state == ("fail" if theirs.pvalue <= 0.05 else "unsure")
    assert found.changed == np.count_nonzero(one[1:] != other[1:])
    assert found.n == 8000


@pytest.mark.parametrize(
    ("losses", "says"), [((-0.2, -0.2), "it gains at least 1"), ((0.0, 0.0), "it loses at most 0")]
)
def test_what_is_sure_to_be_better_is_told_to_gain(losses, says):
    reference, candidate = pair(600, losses, seed=1)
    (found,) = judge(candidate, reference, parse_rules(["mean_corruption_accuracy=10pp"])).verdicts

    assert found.state == "pass"
    assert found.reason.startswith(says), found.reason


@pytest.mark.parametrize("alike", [True, False])
def test_where_nothing_changed_the_bound_or_the_same_network_decides(alike):
    """Ten images show nothing; the same network needs to show nothing."""
    correct = answers(10)
    candidate = record(correct)
    candidate = candidate if alike else replace(candidate, subject={"digest": "another"})
    found = verdict(candidate, record(correct), "clean_accuracy=4pp")

    assert found.interval.high == pytest.approx(1 - 0.05 ** (1 / 10))
    assert found.changed == 0
    assert found.state == ("pass" if alike else "unsure")
    assert ("same raw answers" in found.reason) == alike


def test_equal_digests_beside_changed_answers_are_told_and_the_answers_decide():
    correct = answers()
    one, other = record(correct), record(with_loss(correct, "clean", 90))
    judged = judge(replace(other, subject=one.subject), one, RULES)

    assert judged.state == "fail"
    assert (
        "both networks have one digest, and 90 answers changed all the same: the answers decide"
        in judged.notes
    )


@pytest.mark.parametrize("more", ["candidate", "reference"])
def test_one_network_is_the_same_in_the_cells_that_both_records_have(more):
    """Ten images show nothing by themselves; what one record alone has, and scores over it, is not held against it."""
    correct, nll = answers(10), np.linspace(0.2, 0.4, 10)
    whole = record(correct, scores={"nll": nll})
    part = replace(record(correct[:40], KEYS[:40], scores={"nll": nll}), subject=whole.subject)
    part.kept.scores["nll_corrupted"] += np.float16(0.1)
    candidate, reference = (whole, part) if more == "candidate" else (part, whole)
    judged = judge(
        candidate,
        reference,
        parse_rules(["clean_accuracy=4pp", f"any:accuracy[{KEYS[1]}]=4pp", "clean_nll=0nats"]),
    )

    assert {(v.state, v.reason) for v in judged.verdicts} == {
        ("pass", "the same network gives the same raw answers")
    }
    assert (
        "the same weights give the same raw answers as in the reference, in the 40 cells that both have"
        in judged.notes
    )
    other = replace(record(correct, dataset="digits"), subject=whole.subject)
    assert (
        "both networks have one digest, and no cell that both have is asked alike"
        in judge(other, whole, RULES).notes
    )


def test_equal_answers_of_one_network_pass_though_its_scores_differ():
    correct, nll = answers(10), np.linspace(0.2, 0.4, 10)
    one, other = (record(correct, scores={"nll": nll + more}) for more in (0.0, 0.02))
    rules = parse_rules(
        [
            "clean_accuracy=4pp",
            "mean_corruption_accuracy=4pp",
            "any:accuracy=4pp",
            "relative_drop=4pp",
            "clean_nll=0nats",
        ]
    )
    judged = judge(other, one, rules)
    *of_answers, of_scores = judged.verdicts

    assert {(v.state, v.reason) for v in of_answers} == {
        ("pass", "it is the same network, and nothing that makes up this number changed")
    }
    assert of_scores.state != "pass"
    assert judged.notes == (
        "both networks have one digest and no answer changed; their scores differ, and decide what is about them",
    )
    apart = judge(replace(other, subject={"digest": "another"}), one, rules)
    assert {v.state for v in apart.verdicts[:3]} == {"unsure"}


def test_a_loss_that_sits_on_few_images_is_not_taken_for_a_small_one():
    """One image of 597 that lost all its cells, beside 60 changes: a third of such samples show none like it."""
    correct = np.ones((len(KEYS), 597), dtype=bool)
    changed = correct.copy()
    changed[1:, 0] = False
    found = verdict(record(changed), record(correct), "mean_corruption_accuracy=0.2pp")

    assert found.loss == pytest.approx(1 / 597)
    assert found.interval.high > 0.005
    assert found.state == "unsure"


def test_a_few_changes_that_all_go_wrong_are_noticed_where_nothing_is_tolerated():
    correct = answers()
    found = verdict(record(with_loss(correct, "clean", 5)), record(correct), "clean_accuracy=0pp")
    four = verdict(record(with_loss(correct, "clean", 4)), record(correct), "clean_accuracy=0pp")

    assert (found.state, four.state) == ("fail", "unsure")  # 1/32 and 1/16


def test_a_metric_that_should_be_low_loses_when_it_rises():
    random = np.random.default_rng(3)
    nll = random.gamma(1.0, 0.5, 600)
    correct = answers()
    reference = record(correct, scores={"nll": nll, "brier": nll / 2})
    worse = record(correct, scores={"nll": nll + 0.3 + 0.1 * random.standard_normal(600), "brier": nll / 2})

    nll_rule = verdict(worse, reference, "clean_nll=0.1nats")
    assert nll_rule.state == "fail"
    assert nll_rule.loss == pytest.approx(0.3, abs=0.02)
    assert verdict(reference, worse, "clean_nll=0.1nats").state == "pass"
    assert verdict(worse, reference, "nll[clean]=0.1nats").interval == pytest.approx(nll_rule.interval)
    assert verdict(worse, reference, "mean_corruption_nll=0.1nats").state == "fail"
    brier = verdict(worse, reference, "clean_brier=0.02")
    assert (brier.state, brier.changed) == ("pass", None)
    assert "if no image loses more than" in verdict(reference, worse, "clean_nll=0.1nats").reason
    assert "if no image" not in brier.reason, "a Brier score has a largest value"


def test_equal_scores_of_unlike_networks_are_unsure_where_a_score_has_no_end():
    nll = np.full(600, 0.5)
    one = record(answers(), scores={"nll": nll, "brier": nll})
    other = replace(one, subject={"digest": "another"})
    found = verdict(other, one, "clean_nll=0.1nats")

    assert found.state == "unsure"
    assert found.interval.high == math.inf
    assert "and any amount, and 0.1 nats is tolerated" in found.reason
    assert verdict(one, one, "clean_nll=0.1nats").state == "pass"


def test_a_relative_tolerance_is_a_share_of_the_references_value():
    reference, candidate = pair(600, (0.0, 0.1), seed=4)
    accuracy = verdict(candidate, reference, "mean_corruption_accuracy=5%")

    assert accuracy.margin == pytest.approx(0.05 * accuracy.reference)
    assert accuracy.state == "fail"
    assert verdict(candidate, reference, "mean_corruption_accuracy=30%").state == "pass"


def test_mce_is_a_weighted_mean_over_images():
    one, other = bits(500, (0.02, 0.05), seed=5)
    sides = [record(c, dataset="imagenet", name=n) for c, n in ((other, "candidate"), (one, "reference"))]
    for side in sides:
        del side.suite["protocol"]["n"]  # for this 500 are as good as 5,000

    def by_hand(correct, clean):
        """The number of one image's answers, or of their mean; linear, so that its mean is the number of the mean."""
        errors = {}
        for key, right in zip(KEYS, correct, strict=True):
            if key != "clean":
                errors.setdefault(key.split(",")[0].removeprefix("corruption="), []).append(
                    1.0 - float(right)
                )
        return relative_mce(errors, 1.0 - float(correct[0])) if clean else mce(errors)

    for metric, clean in (("mce", False), ("relative_mce", True)):
        found = verdict(*sides, f"{metric}=1pp")
        losses = np.array(
            [by_hand(b, clean) - by_hand(a, clean) for a, b in zip(one.T, other.T, strict=True)]
        )
        assert found.loss == pytest.approx(losses.mean(), abs=1e-9)
        assert found.loss == pytest.approx(found.candidate - found.reference, abs=1e-9)
        theirs = scipy_stats.ttest_1samp(losses, 0.01, alternative="greater")
        assert 0 < theirs.confidence_interval(0.95).low - found.interval.low < 0.03


def test_mce_is_missing_off_imagenet():
    one = record(answers())
    found = verdict(one, one, "mce=1pp")

    assert found.state == "missing"
    assert "no meaning on cifar10" in found.reason


def test_a_ratio_is_drawn_over_images_with_one_worst():
    one, other = bits(600, (0.0, 0.08), seed=6)
    found = verdict(record(other), record(one), "relative_drop=2pp")
    theirs = scipy_stats.bootstrap(
        (one[1:].mean(0), one[0], other[1:].mean(0), other[0]),
        lambda a, b, c, d, axis: a.mean(axis) / b.mean(axis) - c.mean(axis) / d.mean(axis),
        paired=True, n_resamples=2000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip

    assert found.method == "20,000 draws of exponential weights and one worst image"
    assert 0 < theirs.confidence_interval.low - found.interval.low < 0.01
    assert 0 < found.interval.high - theirs.confidence_interval.high < 0.01
    assert found.state == "fail"


def test_failing_is_adjusted_for_the_number_of_rules():
    """A loss at p = 0.03 fails alone, and not as one of five rules; the bound that is shown moves with it."""
    correct = answers(10_000)
    reference, candidate = record(correct), record(with_loss(correct, "clean", 260, 220))
    alone = verdict(candidate, reference, "clean_accuracy=0pp")
    p = scipy_stats.binomtest(260, 480, alternative="greater").pvalue
    others = [f"accuracy[corruption=fog,severity={s}]=1pp" for s in (1, 2, 3, 4)]
    among = judge(candidate, reference, parse_rules(["clean_accuracy=0pp", *others])).verdicts[0]

    assert 0.025 < p < 0.05
    assert (alone.state, among.state) == ("fail", "unsure")
    assert alone.interval.low > 0 > among.interval.low


def test_candidates_of_one_run_share_one_alpha():
    correct = answers(10_000)
    reference, candidate = record(correct), record(with_loss(correct, "clean", 260, 220), name="a")
    same = [replace(reference, card={"name": f"same{i}"}) for i in range(2)]
    judged = judge_all([Case(c, reference) for c in (candidate, *same)], parse_rules(["clean_accuracy=0pp"]))

    assert [j.state for j in judged] == ["unsure", "pass", "pass"]


def test_a_cell_is_gated_by_its_name_and_several_by_what_they_share():
    correct = answers()
    candidate, reference = record(with_loss(correct, KEYS[FOG], 120)), record(correct)

    assert verdict(candidate, reference, "accuracy[corruption=fog,severity=3]=2pp").state == "fail"
    assert verdict(candidate, reference, "accuracy[corruption=fog,severity=2]=2pp").state == "pass"
    assert verdict(candidate, reference, "accuracy[clean]=2pp").state == "pass"
    fog = verdict(candidate, reference, "accuracy[corruption=fog]=2pp")
    assert fog.loss == pytest.approx(120 / 600 / 5)
    severe = verdict(candidate, reference, "accuracy[severity=3]=2pp")
    assert severe.loss == pytest.approx(120 / 600 / 15)


def test_cells_tell_where_and_decide_nothing():
    correct = answers()
    judged = judge(record(with_loss(correct, KEYS[FOG], 60)), record(correct), RULES)

    assert judged.state == "pass"
    assert [(c.key, c.difference.mean) for c in judged.worse_cells] == [(KEYS[FOG], pytest.approx(0.1))]
    assert len(judged.cells) == 76


def test_cells_are_adjusted_for_their_number():
    """Five answers that turned wrong are p = 1/32 in one cell, and nothing among 76."""
    correct = answers()
    judged = judge(record(with_loss(correct, KEYS[FOG], 5)), record(correct), RULES)

    assert judged.worse_cells == ()
    assert min(c.p_lost for c in judged.cells) > 0.9


def test_small_accepted_losses_add_up_to_a_total_that_is_gated():
    first = answers(2000)
    last, now = with_loss(first, "clean", 60), with_loss(first, "clean", 120)
    rules = parse_rules(["clean_accuracy=4pp", "total:clean_accuracy=4pp"])
    judged = judge(record(now), record(last), rules, first=record(first))

    assert [v.state for v in judged.verdicts] == ["pass", "fail"]
    assert [v.loss for v in judged.verdicts] == pytest.approx([0.03, 0.06])


def test_a_total_rule_without_a_first_reference_is_missing():
    one = record(answers())
    found = verdict(one, one, "total:clean_accuracy=1pp")

    assert found.state == "missing"
    assert "no first reference, which rbms accept keeps" in found.reason


def test_bits_of_other_answers_are_refused(tmp_path):
    correct = answers()
    one, other = record(correct), record(with_loss(correct, "clean", 3))
    write_record(one, one.samples(), tmp_path / "one.json")
    write_record(other, other.samples(), tmp_path / "other.json")
    (tmp_path / "other.correct.npz").replace(tmp_path / "one.correct.npz")

    with pytest.raises(BadFile, match="are not those of its answers"):
        judge(read_record(tmp_path / "one.json"), other, RULES)


def test_where_nothing_changed_the_detectable_loss_is_not_taken_for_none():
    """A loss of 2 points beyond 2 would be many images' worth, although none has moved yet."""
    correct = answers()
    one, many = judge(record(correct), record(correct), RULES).verdicts

    assert 0.02 < one.detectable < 0.05
    assert 0.005 < many.detectable < one.detectable
    assert 0 < many.interval.high == pytest.approx(one.interval.high), (
        "no image turned, in one cell or in many"
    )


def test_the_candidates_health_and_surroundings_are_told():
    correct = answers()
    reference = record(correct)
    candidate = replace(
        record(correct),
        health={"warnings": ["its answer to a sample depends on the batch"]},
        environments=(replace(reference.environment, torch="2.12"),),
    )
    notes = judge(candidate, reference, RULES).notes

    assert "the candidate: its answer to a sample depends on the batch" in notes
    assert "the same weights give the same raw answers as in the reference" in notes
    assert any("torch 2.12 instead of 2.11" in note for note in notes)
    two = replace(candidate, environments=(*reference.environments, *candidate.environments))
    notes = judge(two, reference, RULES).notes
    assert any("torch 2.11 and 2.12 instead of 2.11" in note for note in notes)


def test_a_comparison_reads_what_is_common():
    correct = answers()
    found = Comparison.of(record(correct[:40], KEYS[:40]), record(correct, corruption_protocol=2))

    assert found.common() == ["clean"]
