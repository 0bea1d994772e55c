"""Texts of a record are data: none of them is markup, a formula, a link or an order to a terminal, wherever printed."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.gating.judge import judge
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.records.record import read_record
from robustbench_ms.reports.annotations import annotation_lines
from robustbench_ms.reports.comparisons import compared_markdown
from robustbench_ms.reports.exports import suites_csv, unformulated
from robustbench_ms.reports.markdown import code, escape, printable
from robustbench_ms.reports.pages import page, to_markdown
from robustbench_ms.reports.shown import record_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.reports.verdicts import judged_markdown
from tests.judging import parse_rules
from tests.records import keys, record_of, written

HOSTILE = (
    "=1+1|<b>x</b> [red]y[/red] [z](http://evil.example) @someone #1\n## head\x1b[31m\x07\u202egnp\u200b"
)
SHOWN = (
    "<b>",
    "[red]",
    "[z]",
    "\n## head",
    "\x1b",
    "\x07",
    "\u202e",
    "\u200b",
    " @someone",
    "| <",
    "://evil",
)


def hostile(folder, file, share):
    record = record_of(dict.fromkeys(keys(), share), name=f"={share}{HOSTILE}")
    record = replace(
        record,
        suite={**record.suite, "name": HOSTILE, "protocol": {"dataset": HOSTILE, "split": HOSTILE}},
        card={**record.card, "build": HOSTILE, "source": HOSTILE, "precision": HOSTILE},
        subject={"digest": HOSTILE + str(share)},
        health={"warnings": [HOSTILE], "nondeterministic": False},
        environments=(
            replace(record.environment, device=HOSTILE, cpu=HOSTILE, torch=HOSTILE, version=HOSTILE),
        ),
        started=HOSTILE,
    )
    bits = np.zeros((len(keys()), 100), dtype=bool)
    bits[:, : round(100 * share)] = True
    (folder / file).mkdir()
    made = written(record, folder / file, bits)
    return made if hasattr(made, "measurements") else read_record(made)


@pytest.fixture
def two(tmp_path):
    return hostile(tmp_path, "one", 0.5), hostile(tmp_path, "other", 0.9)


def failed(record):
    first, *rest = record.measurements
    return replace(
        record, measurements=(*rest, replace(first, error=HOSTILE, values={})), path=None, arrays=None
    )


def test_no_printed_place_lets_one_through(two):
    one, other = two
    judged = [judge(one, other, parse_rules(["clean_accuracy=1pp"]))]
    printed = {
        "show": record_markdown(one),
        "show failed": record_markdown(failed(one)),
        "table": to_markdown(tables([one, other])),
        "left out": to_markdown(tables([failed(one)])),
        "page": page({HOSTILE: tables([one, other])}),
        "compare": compared_markdown(Comparison.of(one, other), 0.05),
        "gate": judged_markdown(judged),
        "annotations": "\n".join(annotation_lines(judged, lenient=False)),
    }

    for place, text in printed.items():
        assert "someone" in text or "x" in text, place
        wrong = {"\x1b", "\x07", "\u202e", "\u200b", "\n## head"} if place == "annotations" else SHOWN
        plain = re.sub(r"`[^`\n]*`", "", text)  # code shows what stands in it
        assert not [mark for mark in wrong if mark in plain], place
        assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(text), place


def test_a_table_keeps_its_columns(two):
    lines = [line for line in to_markdown(tables(two)).splitlines() if line.startswith("|")]

    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_spreadsheet_computes_nothing(two):
    rows = list(csv.reader(io.StringIO(suites_csv({"made": tables(two)}))))

    assert len(rows) == 3
    for row in rows[1:]:
        words = [cell for cell in row if "x" in cell]
        assert words
        assert all(cell.startswith("'=") for cell in words)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", " =", "\x00="])
def test_each_sign_of_a_formula_is_quoted(sign):
    assert unformulated(f"{sign}cmd|' /C calc'!A0").startswith("'")
    assert unformulated("resnet20-ema@0") == "resnet20-ema@0"


def test_half_a_surrogate_pair_ends_no_writing():
    """JSON may hold one ("\\ud800"), and UTF-8 has no bytes for it."""
    assert printable("a\ud800b") == escape("a\ud800b") == "ab"
    assert unformulated("\udfff=1") == "'=1"


def test_names_of_the_field_stay_as_they_are():
    for name in ("resnet20-ema@0", "timm:resnet18", "digits-resnet8", "Größe ± 1"):
        assert escape(name) == printable(name) == name
        assert code(name) == f"`{name}`"
