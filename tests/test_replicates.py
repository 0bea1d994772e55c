"""Which records are seeds of one card, which are left out, and what tables say of it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from robustbench_ms.records.replicates import grouped
from robustbench_ms.reports.exports import to_csv, to_json
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from tests.records import keys, record_of
from tests.simulated import record

SHARED = {
    "build": "mypkg.nets:net",
    "args": {"depth": 20, "classes": 10},
    "input": {"size": None, "mean": [0.5], "assumed": False},
    "precision": "fp32",
    "untrained": False,
}


def seed_of(name, accuracy=0.5, **card):
    return record_of(dict.fromkeys(keys(), accuracy), name, **{**SHARED, **card})


def names(records):
    return [(group.name, [one.name for one in group.records]) for group in grouped(records).groups]


def test_seeds_of_one_card_are_one_row_in_any_order():
    records = [seed_of(f"net@{i}", 0.5 + i / 100) for i in (0, 1, 2, 10)]
    records += [seed_of("net-b@0"), seed_of("c@1")]
    expected = [("c@1", ["c@1"]), ("net", ["net@0", "net@1", "net@2", "net@10"]), ("net-b@0", ["net-b@0"])]

    assert sorted(names(records)) == sorted(names(records[::-1])) == expected
    assert grouped(records).apart == grouped(records).repeated == ()


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ({"build": "mypkg.nets:other"}, "build is mypkg.nets:net and mypkg.nets:other"),
        ({"args": {"depth": 32, "classes": 10}}, "args.depth is 20 and 32"),
        ({"args": {"depth": 20}}, "args.classes is 10 and not given"),
        (
            {"input": {"size": 64, "mean": [0.4], "assumed": False}},
            "input.mean is [0.5] and [0.4]; input.size is None and 64",
        ),
        ({"precision": "bf16"}, "precision is fp32 and bf16"),
        ({"untrained": True}, "untrained is False and True"),
    ],
)  # fmt: skip
def test_what_is_another_card_is_a_row_of_its_own_and_the_table_says_in_what(card, told):
    records = [seed_of("net@0", 0.5), seed_of("net@1", 0.6), seed_of("net@2", 0.9, **card)]

    assert names(records) == [("net@0, net@1", ["net@0", "net@1"]), ("net@2", ["net@2"])]
    sentence = f"net@0, net@1 and net@2 are no seeds of one card: {told}."
    assert grouped(records).apart == (sentence,)
    found = tables(records)
    assert re.sub(r"\\", "", to_markdown(found)).count(sentence) == 1
    assert to_json(found)[0]["apart"] == [sentence]
    assert {row.card.removesuffix(" (untrained)"): row.seeds for row in found[0].rows} == {
        "net@0, net@1": 2, "net@2": 1,
    }  # fmt: skip


def test_an_input_that_was_assumed_is_the_one_that_was_said():
    said = seed_of("net@0", 0.5)
    assumed = seed_of("net@1", 0.6, input={**SHARED["input"], "assumed": True})

    assert names([said, assumed]) == [("net", ["net@0", "net@1"])]


def test_records_of_format_1_that_say_less_of_their_card_are_seeds():
    bare = [record_of(dict.fromkeys(keys(), a), f"net@{i}") for i, a in enumerate((0.5, 0.6))]

    assert names(bare) == [("net", ["net@0", "net@1"])]


def test_a_model_that_stands_under_two_seeds_counts_once_and_is_named():
    one, other, twin = (seed_of(f"net@{i}", a) for i, a in ((0, 0.5), (1, 0.6), (2, 0.5)))
    twin = replace(twin, subject=dict(one.subject))
    elsewhere = replace(seed_of("copy", 0.5), subject=dict(one.subject))

    (table,) = found = tables([twin, other, elsewhere, one])

    assert [(row.card, row.seeds) for row in table.rows] == [("net", 2), ("copy", 1)]
    assert table.rows[0].values["clean_accuracy"].mean == pytest.approx(0.55)
    assert table.left_out == ("net@2: the same model as net@0, its weights and answers are equal",)
    assert "Left out: net@2: the same model as net@0" in to_markdown(found)
    assert [row["card"] for row in csv.DictReader(io.StringIO(to_csv(found)))] == ["net", "copy"]


# the footnote on few seeds


def test_the_same_weights_on_another_device_are_no_more_seeds():
    """Twins would halve the interval for nothing."""
    weights = {i: f"{i:064x}" for i in range(3)}

    def of(i, end=""):
        one = seed_of(f"net@{i}{end}", 0.5 + i / 100 + (0.001 if end else 0))
        return replace(one, subject={**one.subject, "weights": weights[i]})

    cpu, twins = [of(i) for i in range(3)], [of(i, "-gpu") for i in range(3)]
    assert names(cpu + twins) == [(", ".join(row), row) for row in (
        ["net@0", "net@1", "net@2"], ["net@0-gpu", "net@1-gpu", "net@2-gpu"],
    )]  # fmt: skip
    (told,) = grouped(cpu + twins).apart
    assert told.endswith(
        "are no seeds of one card: weights are the same, and answer otherwise (another device, or an edit)."
    )
    rows = {row.card: row for row in tables(cpu + twins)[0].rows}
    (alone,) = tables(cpu)[0].rows
    assert rows["net@0, net@1, net@2"].values == alone.values
    assert {row.seeds for row in rows.values()} == {3}

    edited = [
        replace(one, subject={"digest": "a", "weights": None, "cells": c})
        for one, c in zip(cpu[:2], "bc", strict=True)
    ]
    assert not grouped(edited).repeated  # one digest by the probe, and other arguments

    empty = [replace(one, subject={**one.subject, "weights": sha256().hexdigest()}) for one in cpu]
    assert names(empty) == [("net", ["net@0", "net@1", "net@2"])]


def models(*seeds):
    """Records of models with so many seeds each, of 50 images, by name."""
    random = np.random.default_rng(0)
    found = []
    for i, count in enumerate(seeds):
        for seed in range(count):
            made = record(random.random((76, 50)) < 0.7)
            name = f"m{i}@{seed}" if count > 1 else f"m{i}"
            found.append(replace(made, card={**made.card, "name": name}))
    return found


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ((2, 2), "Two one pair apart, Holm needs |t| of 12.7 at 1 degree of freedom"),
        ((3, 1, 2, 1), "Two the first of 6 pairs apart, Holm needs |t| of 76.4 at 1 "),
        ((3, 1, 4), "Three the first of 3 pairs apart, Holm needs |t| of 7.65 at 2 "),
        ((4, 5), None),
        ((1, 1, 1), None),
        ((3,), None),
    ],
)  # fmt: skip
def test_a_table_says_what_so_few_seeds_would_have_to_show(seeds, told):
    untrained = [
        replace(one, card={**one.card, "name": f"r{i}", "untrained": True})
        for i, one in enumerate(models(1, 1))
    ]

    text = to_markdown(tables([*models(*seeds), *untrained]))

    assert ("rank almost nothing" in text) == (told is not None)
    assert (told or "").replace(" ", " seeds rank almost nothing: to tell ", 1) in text
