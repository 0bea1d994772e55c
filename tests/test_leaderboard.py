"""Tables: who stands beside whom, in which order, and what is said of the rest."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from robustbench_ms.reports.exports import to_csv, to_json
from robustbench_ms.reports.pages import page, to_markdown
from robustbench_ms.reports.tables import difference, tables
from tests.records import keys, record_of


def flat(accuracy, name, **rest):
    return record_of(dict.fromkeys(keys(), accuracy), name, **rest)


COLUMNS = ("mean_corruption_accuracy", "clean_accuracy", "mean_corruption_nll")


def test_rows_are_ranked_by_the_first_column_in_its_direction():
    records = [flat(a, f"m{a}", summary=COLUMNS) for a in (0.3, 0.9, 0.6)]

    (table,) = tables(records)
    assert [(r.rank, r.card) for r in table.rows] == [(1, "m0.9"), (2, "m0.6"), (3, "m0.3")]
    turned = [
        replace(r, suite={**r.suite, "summary": ["mean_corruption_nll", "clean_accuracy"]}) for r in records
    ]
    assert [r.card for r in tables(turned)[0].rows] == ["m0.9", "m0.6", "m0.3"]
    assert [r.card for r in tables(reversed(records))[0].rows] == [r.card for r in table.rows]


def test_other_protocols_are_another_table_that_says_what_differs():
    same = [flat(0.5, n, summary=COLUMNS) for n in "ab"]
    other = flat(0.9, "c", summary=COLUMNS, seed=7)

    first, second = found = tables([other, *same])

    assert [r.card for r in first.rows] == ["a", "b"]
    assert first.protocol == ""
    assert second.protocol == "seed: 7 instead of 0"
    assert second.rows[0].rank == 1
    text = to_markdown(found)
    assert "Another protocol, not to be compared with the above (seed: 7 instead of 0):" in text
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [r["protocol"] for r in rows] == ["", "", "seed: 7 instead of 0"]
    assert [t["protocol_difference"] for t in to_json(found)] == [None, "seed: 7 instead of 0"]


def test_fields_that_one_record_shares_and_another_does_not_are_no_difference():
    whole = flat(0.5, "a")
    hoisted = replace(
        whole,
        suite={**whole.suite, "protocol": {**whole.suite["protocol"], "seed": 0, "data": "x"}},
        measurements=tuple(replace(m, condition={}) for m in whole.measurements[1:]),
    )

    assert difference(whole, hoisted) == "data: x instead of None"
    assert difference(whole, whole) == "other columns"


def test_a_partial_record_is_not_ranked_and_says_what_it_lacks():
    whole = flat(0.5, "whole", summary=COLUMNS)
    part = replace(whole, card={**whole.card, "name": "part"}, measurements=whole.measurements[:40])

    (table,) = tables([part, whole])

    assert [(r.card, r.rank, len(r.lacks)) for r in table.rows] == [("whole", 1, 0), ("part", None, 36)]
    assert table.rows[1].values["clean_accuracy"].mean == 0.5
    assert "part lacks " in to_markdown([table])
    (alone,) = tables([part])
    assert [r.rank for r in alone.rows] == [None]
    nothing = replace(part, measurements=())
    assert "nothing" in to_markdown(tables([replace(nothing, card={"name": "nothing"})]))
    assert tables([]) == []


def without(record, measure, where, why="a label has probability 0"):
    """The record of a model whose measure has no value in some of its cells."""
    cells = [
        replace(
            m, values={k: v for k, v in m.values.items() if k != measure}, absent={measure: why}
        ) if m.key in where else m
        for m in record.measurements
    ]  # fmt: skip
    return replace(record, measurements=tuple(cells))


def test_a_measure_without_a_value_costs_its_column_and_not_the_row():
    some = without(flat(0.7, "some", summary=COLUMNS), "nll", keys()[1:4])

    (table,) = tables([flat(0.5, "all", summary=COLUMNS), some])

    why = f"nll has no value in {keys()[1]} and 2 more (a label has probability 0)"
    assert [(r.card, r.rank, r.lacks) for r in table.rows] == [("some", 1, ()), ("all", 2, ())]
    assert table.left_out == ()
    row = table.rows[0]
    assert row.values["mean_corruption_accuracy"].mean == pytest.approx(0.7)
    assert row.without == {"mean_corruption_nll": why}
    text = to_markdown([table])
    assert f"some: - in NLL: {why}." in text
    assert "no answer is right" not in text
    told = to_json([table])[0]["rows"]
    assert [one["without"] for one in told] == [{"mean_corruption_nll": why}, {}]
    assert told[0]["values"]["mean_corruption_nll"] == {"mean": None, "low": None, "high": None}
    assert [one["lacks"] for one in csv.DictReader(io.StringIO(to_csv([table])))] == [why, ""]


def test_of_several_seeds_none_is_averaged_without_the_one_that_has_no_value():
    seeds = [flat(a, f"net@{i}", summary=COLUMNS) for i, a in enumerate((0.5, 0.6, 0.7))]
    seeds[1] = without(seeds[1], "nll", ["clean", keys()[1]])

    (table,) = tables(seeds)

    (row,) = table.rows
    assert (row.seeds, row.rank) == (3, 1)
    assert row.values["clean_accuracy"].mean == pytest.approx(0.6)
    assert str(row.values["mean_corruption_nll"].mean) == "nan"
    assert row.without["mean_corruption_nll"].startswith("net@1's nll has no value in ")


@pytest.mark.parametrize("column", ["mce", "a_column_of_the_future"])
def test_a_column_that_has_no_meaning_here_does_not_hide_the_others(column):
    records = [flat(0.5, "plain", summary=COLUMNS), flat(0.5, "odd", summary=(column,))]

    (table,) = tables(records)

    assert [r.card for r in table.rows] == ["plain"]
    assert table.left_out[0]


def test_replicates_are_one_row_and_an_untrained_card_is_not_ranked():
    records = [flat(a, f"net@{i}", summary=COLUMNS) for i, a in enumerate((0.5, 0.6, 0.7))]
    records += [flat(0.99, "random", summary=COLUMNS, untrained=True), flat(0.55, "other@3", summary=COLUMNS)]

    (table,) = tables(records)

    assert [(r.rank, r.card, r.seeds) for r in table.rows] == [
        (1, "net", 3),
        (2, "other@3", 1),
        (None, "random (untrained)", 1),
    ]
    value = table.rows[0].values["clean_accuracy"]
    assert value.mean == pytest.approx(0.6)
    assert value.half_width == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)
    text = to_markdown([table])
    assert "over the seeds" in text
    assert "it does not cover training seeds" in text


def test_models_that_are_no_better_than_an_untrained_one_are_told():
    """By the mean alone, in the column's direction."""
    records = [
        flat(a, name, summary=COLUMNS, untrained=name == "random")
        for a, name in ((0.7, "good"), (0.2, "poor"), (0.3, "random"))
    ]

    assert "No better by " in to_markdown(tables(records))
    assert "than random (untrained): poor." in to_markdown(tables(records))
    assert "No better" not in to_markdown(tables([records[0], records[2]]))


def test_what_the_first_column_cannot_judge_is_not_ranked():
    nothing = record_of(
        {**dict.fromkeys(keys(), 0.0)}, "nothing", summary=("relative_drop", "clean_accuracy")
    )
    good = [flat(a, f"m{a}", summary=("relative_drop", "clean_accuracy")) for a in (0.2, 0.4)]

    (table,) = tables([good[0], nothing, good[1]])

    assert [r.rank for r in table.rows] == [1, 2, None]
    assert table.rows[-1].card == "nothing"
    assert json.loads(json.dumps(to_json([table]), allow_nan=False))[0]["rows"][2]["values"]["relative_drop"] == {
        "mean": None, "low": None, "high": None,
    }  # fmt: skip


def test_markdown_is_a_table_that_a_forge_renders():
    """By the specification of GitHub's Markdown: a delimiter cell is hyphens with a colon at either end or none."""
    odd = flat(0.5, "a|b <script> \\ x", summary=COLUMNS)
    odd = replace(odd, health={"warnings": ["it |breaks| <b>"], "nondeterministic": False})

    lines = to_markdown(tables([odd, flat(0.4, "c", summary=COLUMNS)])).splitlines()

    rows = [line for line in lines if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
    assert len({len(row) for row in cells}) == 1
    assert len({len(row) for row in rows}) == 1
    assert all(re.fullmatch(r" :?-+:? ", cell) for cell in cells[1])
    assert "<script>" not in "".join(lines)
    assert "<b>" not in "".join(lines)
    assert any("breaks" in line for line in lines if not line.startswith("|"))
    text = page({"one": tables([odd]), "two": tables([odd])})
    assert text.index("## one") < text.index("## two")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_csv_is_not_rounded():
    records = [flat(1 / 3, "a", summary=COLUMNS)]

    (row,) = csv.DictReader(io.StringIO(to_csv(tables(records))))

    assert float(row["mean_corruption_accuracy"]) == pytest.approx(1 / 3, abs=1e-15)
    assert (row["rank"], row["card"], row["n"]) == ("1", "a", "100")


# formats


def told(suites):
    return f"{len(suites)} suites of ours\n"


def test_a_format_of_ones_own_is_a_row(rbms):
    from robustbench_ms.reports.formats import FORMATS, Format

    if "mine" not in FORMATS:
        FORMATS.register("mine", Format("tests.test_leaderboard:told", "a line"))

    assert (
        rbms("leaderboard", "quick", "--results", "results", "--format", "mine").out == "1 suites of ours\n"
    )
    for flag, name in (("--csv", "csv"), ("--json", "json")):
        mine = rbms("leaderboard", "quick", "--results", "results", "--format", name)
        assert mine.code == 0
        assert mine.out == rbms("leaderboard", "quick", "--results", "results", flag).out
    wrong = rbms("leaderboard", "quick", "--results", "results", "--format", "markdwn")
    assert wrong.code == 2
    assert "did you mean 'markdown'" in wrong.err
