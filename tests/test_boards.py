"""A leaderboard's columns of costs and of what cards cite, its rows that lack cells, its LaTeX, and bad input."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from robustbench_ms.records.profile import slug, write_profile
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.reports.boards import boards
from robustbench_ms.reports.costs import Cost, Speed
from robustbench_ms.reports.exports import suites_csv, suites_json
from robustbench_ms.reports.latex import latex, suites_latex
from robustbench_ms.reports.pages import suites_markdown
from robustbench_ms.reports.tables import Table, tables
from robustbench_ms.specs.card import Card
from robustbench_ms.statistics.intervals import Interval
from tests.records import keys, record_of
from tests.simulated import answers, record
from tests.test_profile_records import DEVICE, QUIET, profile, row

SUMMARY = ["mean_corruption_accuracy", "clean_accuracy"]
CITED = {"metric": "clean_accuracy", "value": 0.9173, "on": "cifar10", "source": "README & <p> 100%"}


def put(results, name, share, seed=0, cells=76, **card):
    made = record(answers(80, share, seed)[:cells], keys()[:cells], name=name, suite="small")
    facts = {"build": "tests.fakes:build", "args": {}, "input": {"assumed": True}, **card}
    made = replace(made, suite={**made.suite, "summary": SUMMARY}, card={**made.card, **facts})
    write_record(made, made.samples(), results / "small" / f"{name}.json")
    return made


@pytest.fixture
def results(tmp_path):
    """Two models, of which one is cited, and a third that lacks cells."""
    put(
        tmp_path,
        "a_1",
        0.6,
        published=[CITED, {**CITED, "on": "cifar100"}, {**CITED, "metric": "parameters"}],
    )
    put(tmp_path, "b", 0.8, seed=1)
    put(tmp_path, "part", 0.9, seed=2, cells=40)
    return tmp_path


def profiled(results, device=DEVICE, name="a_1", **options):
    made = replace(profile(row(**options), name=name, input={}), device=device)
    write_profile(made, results / "profiles" / slug(device) / f"{name}.json")


def head(text):
    """The names of a table's columns, and the cells of each row by them."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("|")]
    names = [name.strip() for name in lines[0]]
    return names, [dict(zip(names, map(str.strip, line), strict=True)) for line in lines[2:]]


def test_a_record_that_lacks_cells_is_a_row_without_a_rank(results):
    found = boards(results)
    text = suites_markdown(found)
    _, rows = head(text)

    assert [(one["#"], one["model"]) for one in rows] == [("1", "b"), ("2", r"a_1"), ("", "part")]
    assert rows[2]["corrupted, % ↑"] == "-"
    assert float(rows[2]["clean, % ↑"].split(" ± ")[0]) > 80
    assert "part lacks corruption=" in text
    assert "and 33 more: it is not ranked, and - stands for what needs them." in text
    assert "where no answer is right" not in text, "it is missing, and not without a value"
    (table,) = json.loads(suites_json(found))["small"]
    assert len(table["rows"][2]["lacks"]) == 36
    assert table["rows"][2]["values"]["mean_corruption_accuracy"]["mean"] is None


def test_a_part_of_another_protocol_is_in_that_table(results):
    for name, count in (("other", 76), ("other-part", 30)):
        one = record(answers(80, 0.7, count)[:count], keys()[:count], name=name, suite="small", seed=7)
        one = replace(one, suite={**one.suite, "summary": SUMMARY})
        write_record(one, one.samples(), results / "small" / f"{name}.json")

    first, second = boards(results)["small"]

    assert [one.card for one in first.rows] == ["b", "a_1", "part"]
    assert [one.card for one in second.rows] == ["other", "other-part"]


def test_parts_alone_share_a_table_where_they_ask_alike(tmp_path):
    for name, cells, seed in (("a", 20, 0), ("b", 30, 0), ("c", 30, 7)):
        one = record(answers(80, 0.7)[:cells], keys()[:cells], name=name, suite="small", seed=seed)
        one = replace(one, suite={**one.suite, "summary": SUMMARY})
        write_record(one, one.samples(), tmp_path / "small" / f"{name}.json")

    assert [[row.card for row in table.rows] for table in boards(tmp_path)["small"]] == [["a", "b"], ["c"]]


def test_two_parts_that_a_third_fits_and_that_ask_otherwise_are_two_tables(tmp_path):
    for name, picked, seed in (("a", slice(0, 1), 0), ("b", slice(0, 30), 0), ("c", slice(0, 30), 7)):
        one = record(answers(80, 0.7)[picked], keys()[picked], name=name, suite="small", seed=seed)
        if name == "c":  # of the clean images it asks as the others do
            first, *rest = one.measurements
            shared = record(answers(80, 0.7)[:1], keys()[:1], name="x", suite="small", seed=0)
            one = replace(one, measurements=(replace(first, protocol=shared.measurements[0].protocol), *rest))
        one = replace(one, suite={**one.suite, "summary": SUMMARY})
        write_record(one, one.samples(), tmp_path / "small" / f"{name}.json")

    assert [[row.card for row in table.rows] for table in boards(tmp_path)["small"]] == [["a", "b"], ["c"]]


def test_what_cards_cite_of_the_data_has_a_column_that_says_so(results):
    text = suites_markdown(boards(results))
    _, rows = head(text)

    assert [one["clean, %, published"] for one in rows] == ["", "91.73", ""]
    assert "clean, published: by others, and never ranked: a_1 from README &amp; &lt;p&gt; 100%." in text
    (line,) = [
        one for one in csv.DictReader(io.StringIO(suites_csv(boards(results)))) if one["card"] == "a_1"
    ]
    assert line["clean_accuracy_published"] == "0.9173"
    put(results, "a_1", 0.6)
    assert "published" not in suites_markdown(boards(results))


@pytest.mark.parametrize(("n", "shown"), [(10_000, True), (500, False)])
def test_what_is_cited_of_a_whole_split_does_not_stand_beside_a_part_of_it(n, shown):
    made = record(answers(80, 0.6), keys(), name="a", suite="small")
    protocol = {**made.suite["protocol"], "dataset": "cifar10", "split": "test", "n": n}
    card = {
        **made.card,
        "published": [CITED],
        "build": "tests.fakes:build",
        "args": {},
        "input": {"assumed": True},
    }
    made = replace(made, suite={**made.suite, "summary": SUMMARY, "protocol": protocol}, card=card)

    (table,) = tables([made])

    assert bool(table.cited) == shown


def test_costs_come_from_profiles_each_on_its_device(results):
    assert "images/s" not in suites_markdown(boards(results))
    profiled(results)
    names, rows = head(suites_markdown(boards(results)))
    assert names[-3:] == ["params, M", "MACs, G", "images/s ↑"]
    assert [one["params, M"] for one in rows] == ["", "1.500", ""]
    assert rows[1]["images/s ↑"].startswith("99.8 ± 0.0")
    assert f"images/s: on {DEVICE}, of profiles in batches of 1 and fp32" in suites_markdown(boards(results))

    profiled(results, device="Other", blocks=4)
    found = boards(results)
    names, rows = head(suites_markdown(found))
    assert names[-2:] == ["images/s ↑ (a)", "images/s ↑ (b)"]
    assert rows[1]["images/s ↑ (b)"] == "99.8", "four blocks tell no interval"
    (line,) = [one for one in csv.DictReader(io.StringIO(suites_csv(found))) if one["card"] == "a_1"]
    assert float(line[f"images_per_second on {DEVICE}"]) == pytest.approx(99.8, abs=0.1)
    assert line["parameters"] == "1500000"
    (table,) = json.loads(suites_json(found))["small"]
    assert table["rows"][1]["images_per_second"]["Other"]["low"] is None


def test_a_profile_of_another_network_or_a_busy_machine_is_no_plain_cost(results):
    profiled(results)
    put(results, "a_1", 0.6, args={"depth": 3})
    assert "images/s" not in suites_markdown(boards(results))

    put(results, "a_1", 0.6)
    busy = replace(row(), facts={**QUIET, "others": 1.0})
    write_profile(profile(busy, name="a_1", input={}), results / "profiles" / slug(DEVICE) / "a_1.json")
    text = suites_markdown(boards(results))
    assert head(text)[1][1]["images/s ↑"].endswith("(!)")
    assert "(!) a_1: other processes used 1.00 cores meanwhile" in text


@pytest.mark.parametrize("name", ["timm:resnet18", "mine[2]"])
def test_a_profile_is_found_by_the_file_that_it_is_written_to(tmp_path, name):
    put(tmp_path, "r", 0.7)
    record_file = next((tmp_path / "small").glob("*.json"))
    one = read_record(record_file)
    write_record(replace(one, card={**one.card, "name": name}), one.samples(), record_file)
    made = replace(profile(row(), name=name, input={}), device=DEVICE)
    file = Card(name, "tests.fakes:build").file_name
    write_profile(made, tmp_path / "profiles" / slug(DEVICE) / f"{file}.json")

    ((table,),) = boards(tmp_path).values()
    assert [one.cost.parameters for one in table.rows] == [1_500_000]


def test_speeds_of_unlike_numbers_of_threads_say_so(results):
    for name, threads in (("a_1", 2), ("b", 1)):
        made = profile(replace(row(), threads=threads), name=name, input={})
        write_profile(made, results / "profiles" / slug(DEVICE) / f"{name}.json")

    assert "batches of 1 and fp32, of 1 or 2 threads, ±" in suites_markdown(boards(results))


def test_what_a_profile_says_is_no_markup(results):
    ((table,),) = boards(results).values()
    speeds = {DEVICE: Speed(Interval(9.0, 8.0, 10.0), "<b>", 2, ("<i>",))}
    (hostile,) = [replace(one, cost=Cost(speeds=speeds)) for one in table.rows if one.card == "a_1"]

    text = suites_markdown({"small": [replace(table, rows=(hostile,))]})
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;, ±" in text
    assert "(!) a_1: &lt;i&gt;." in text


def test_a_profile_of_the_card_is_that_of_its_seeds(results):
    for seed in (0, 1):
        put(results, f"c@{seed}", 0.7, seed=seed + 5)
    profiled(results, name="c")

    assert {one["model"]: one["params, M"] for one in head(suites_markdown(boards(results)))[1]}[
        "c"
    ] == "1.500"


def test_the_text_in_latex(results):
    text = suites_latex(boards(results))
    lines = text.splitlines()

    assert lines[0] == r"% needs \usepackage{booktabs}"
    assert lines[1:8] == [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{rrlrrr}",
        r"\toprule",
        r"\# & ranks & model & corrupted, \% $\uparrow$ & clean, \% $\uparrow$ & clean, \%, published \\",
        r"\midrule",
        lines[7],
    ]
    assert lines[7].startswith("1 & 1 & b & ")
    assert r" $\pm$ " in lines[7]
    assert lines[8].startswith(r"2 & 2 & a\_1 & ")
    assert lines[8].endswith(r" & 91.73 \\")
    assert lines[9].startswith(" &  & part & - & ")
    assert lines[10:12] == [r"\bottomrule", r"\end{tabular}"]
    assert r"README \& \textless{}p\textgreater{} 100\%." in lines[12]
    assert lines[12].startswith(r"\caption{Suite small; n = 80 images a cell")
    assert lines[13:] == [r"\label{tab:small}", r"\end{table}"]
    for begin in ("table", "tabular"):
        assert text.count(rf"\begin{{{begin}}}") == text.count(rf"\end{{{begin}}}") == 1


def test_latex_is_escaped():
    assert latex("a_b & 5 % of #1 {x} $y$ ~z^ \\q\nr") == (
        r"a\_b \& 5 \% of \#1 \{x\} \$y\$ \textasciitilde{}z\textasciicircum{} \textbackslash{}q r"
    )
    assert latex("± ↑ ↓ <p>") == r"$\pm$ $\uparrow$ $\downarrow$ \textless{}p\textgreater{}"
    assert latex('|t| "s"\x00') == r"\textbar{}t\textbar{} {\char34}s{\char34}", (
        "\\textquotedbl needs fontenc"
    )


@pytest.mark.parametrize("name", ["[1] Theirs", "*Theirs"])
def test_no_name_is_an_argument_of_the_line_above(tmp_path, name):
    """LaTeX reads on after a rule and after the end of a line: [ opens a height there, and * a form of it."""
    path = tmp_path / "mine.csv"
    path.write_text(f"model,clean_accuracy\nNet,0.95\n{name},0.9\n")
    text = suites_latex(boards(tmp_path, "cifar10-c-disk", published=path))

    assert f"\n{{}}{name} & 90.00 \\\\\n" in text
    assert "\nNet & 95.00 " in text


def test_ranges_of_ranks_have_a_wide_dash(tmp_path):
    for seed, name in enumerate("ab"):
        put(tmp_path, name, 0.7, seed)

    assert "\n1 & 1--2 & " in suites_latex(boards(tmp_path))


def test_other_protocols_are_other_tables_in_latex(results):
    one = record(answers(80, 0.7, 3), keys(), name="other", suite="small", seed=7)
    one = replace(one, suite={**one.suite, "summary": SUMMARY})
    write_record(one, one.samples(), results / "small" / "other.json")
    text = suites_latex(boards(results))

    assert r"\caption{Another protocol, not to be compared with the others (seed: 7 instead of 0)." in text
    assert r"\label{tab:small-2}" in text


# bad input


def test_an_empty_folder_says_what_to_run(rbms, tmp_path):
    found = rbms("leaderboard", "--results", tmp_path)
    assert found.code == 2
    assert f"no records in {tmp_path}; make some with rbms run SUITE -m MODEL, or name another" in found.err
    found = rbms("leaderboard", "imagenet-c", "--results", tmp_path)
    assert "make some with rbms run imagenet-c -m MODEL" in found.err
    assert len(found.err.splitlines()) == 1


def test_a_record_of_a_newer_format_is_named(rbms, results):
    path = results / "small" / "b.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "format": 9}))

    found = rbms("leaderboard", "small", "--results", results)

    assert found.code == 2
    assert f"{path}: a record of format 9, newer than this version reads" in found.err
    assert len(found.err.splitlines()) == 1


def test_how_far_it_is_is_told_on_stderr(rbms, results, monkeypatch):
    from robustbench_ms.cli import looking

    quiet = rbms("leaderboard", "small", "--results", results)
    monkeypatch.setattr(looking, "_PATIENCE", 0.0)
    found = rbms("leaderboard", "small", "--results", results, "--cache", results / "another")

    assert quiet.err == ""
    assert "records: 1 of 3" in found.err
    assert found.out == quiet.out


def test_a_record_of_which_nothing_is_finished_says_so():
    one = record_of(dict.fromkeys(keys(), 0.5))
    failed = [replace(m, error="it raised", values={}) for m in one.measurements]
    (table,) = tables([replace(one, measurements=tuple(failed))])

    assert "Suite made; no cell is finished; measured on " in suites_markdown({"made": [table]})


def test_what_is_left_out_is_one_line_without_orders_to_a_terminal():
    assert "% Left out: a b[31m\n" in suites_latex({"small": [Table("small", (), (), "", ("a\nb\x1b[31m",))]})
