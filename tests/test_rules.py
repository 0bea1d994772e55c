"""The grammar of rules."""

from __future__ import annotations

import pytest

from robustbench_ms.errors import UserError
from tests.judging import parse_rule, parse_rules


@pytest.mark.parametrize(
    ("text", "metric", "tolerance", "relative", "cell", "total"),
    [
        ("clean_accuracy=0.5pp", "clean_accuracy", 0.005, False, None, False),
        (" mean_corruption_accuracy = 5 % ", "mean_corruption_accuracy", 0.05, True, None, False),
        ("mean_corruption_nll=0.02nats", "mean_corruption_nll", 0.02, False, None, False),
        ("clean_brier=.01", "clean_brier", 0.01, False, None, False),
        ("relative_mce=130pp", "relative_mce", 1.3, False, None, False),
        ("total:clean_accuracy=1pp", "clean_accuracy", 0.01, False, None, True),
        ("accuracy[clean]=0pp", "accuracy", 0.0, False, (), False),
        (
            "accuracy[severity=3, corruption=fog]=2pp", "accuracy", 0.02, False,
            (("corruption", "fog"), ("severity", "3")), False,
        ),
        ("nll[corruption=fog]=10%", "nll", 0.1, True, (("corruption", "fog"),), False),
    ],
)  # fmt: skip
def test_a_rule_is_read_and_spelled(text, metric, tolerance, relative, cell, total):
    rule = parse_rule(text)

    assert (rule.metric, rule.relative, rule.cell, rule.total) == (metric, relative, cell, total)
    assert rule.tolerance == pytest.approx(tolerance)
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("any:accuracy=10pp", {"any"}),
        ("any:accuracy[corruption=fog]=10pp", {"any"}),
        ("total:any:accuracy=10pp", {"total", "any"}),
        ("warn:total:clean_accuracy=1pp", {"warn", "total"}),
        ("floor:clean_accuracy=90pp", {"floor"}),
        ("warn: floor: any: accuracy = 30pp", {"warn", "floor", "any"}),
    ],
)
def test_prefixes_are_read_and_spelled(text, words):
    rule = parse_rule(text)

    assert {word for word in ("warn", "total", "floor", "any") if getattr(rule, word)} == words
    assert parse_rule(str(rule)) == rule
    assert str(rule) == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "METRIC=TOLERANCE is wanted"),
        ("clean_accuracy", "METRIC=TOLERANCE is wanted"),
        ("clean_accuracy=", "METRIC=TOLERANCE is wanted"),
        ("clean_accuracy<1pp", "METRIC=TOLERANCE is wanted"),
        ("accuracy[corruption=fog=2pp", "METRIC=TOLERANCE is wanted"),
        ("clean_acuracy=1pp", "did you mean 'clean_accuracy'"),
        ("clean_accuracy=1", "the unit is missing for clean_accuracy; write 0.5pp"),
        ("clean_accuracy=1nats", "'nats' is the wrong unit"),
        ("clean_nll=1pp", "'pp' is the wrong unit for clean_nll; write 0.02nats"),
        ("clean_brier=1pp", "write 0.01 or 5%"),
        ("clean_accuracy=-1pp", "a tolerance of 0 or more is wanted"),
        ("clean_accuracy=0,5pp", "a tolerance of 0 or more is wanted"),
        ("clean_accuracy=nanpp", "a tolerance of 0 or more is wanted"),
        ("clean_accuracy=" + "9" * 400 + "pp", "no number that can be lost"),
        ("clean_accuracy=101pp", "more than 100 percentage points"),
        ("clean_nll=101%", "more than 100 %"),
        ("clean_ece=1pp", "no test to gate by"),
        ("accuracy=1pp", "needs its cell, as accuracy[corruption=fog,severity=3], or any:accuracy of all"),
        ("nll=0.1nats", "as clean_nll"),
        ("clean_accuracy[corruption=fog]=1pp", "no number of one cell"),
        ("accuracy[corruption=fogg]=1pp", "no corruption named 'fogg'; did you mean 'fog'"),
        ("accuracy[severity=6]=1pp", "no severity named '6'"),
        ("accuracy[weather=fog]=1pp", "no axis named 'weather'"),
        ("accuracy[fog]=1pp", "a cell is clean, or as corruption=fog,severity=3"),
        ("accuracy[]=1pp", "a cell is clean, or as corruption=fog,severity=3"),
        ("accuracy[corruption=fog,corruption=snow]=1pp", "corruption stands in it twice"),
        ("sum:clean_accuracy=1pp", "no prefix named 'sum'; known: any, floor, total, warn"),
        ("wran:clean_accuracy=1pp", "did you mean 'warn'"),
        (":clean_accuracy=1pp", "no prefix named ''"),
        ("total:warn:clean_accuracy=1pp", "the prefixes are warn:, then total: or floor:, then any:"),
        ("any:total:accuracy=1pp", "the prefixes are warn:, then total: or floor:, then any:"),
        ("total:floor:clean_accuracy=1pp", "the prefixes are warn:, then total: or floor:, then any:"),
        ("warn:warn:clean_accuracy=1pp", "each once"),
        (
            "any:clean_accuracy=1pp",
            "any: is about cells, and clean_accuracy is over many; write any:accuracy=1pp",
        ),
        ("floor:clean_accuracy=95%", "a floor is a value of its own, as 0.5pp"),
        ("any:ece=1pp", "no test to gate by"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(text, told):
    with pytest.raises(UserError) as caught:
        parse_rule(text)

    assert told in str(caught.value)


def test_two_rules_about_one_number_are_refused():
    with pytest.raises(
        UserError, match="two rules about clean_accuracy: clean_accuracy=1pp and clean_accuracy=2pp"
    ):
        parse_rules(["clean_accuracy=1pp", "clean_accuracy=2pp"])
