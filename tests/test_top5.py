"""Top-5's bits: kept beside top-1's, checked, and compared image by image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from robustbench_ms.errors import BadFile
from robustbench_ms.evaluation.checking import check
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.gating.judge import judge
from robustbench_ms.records.comparison import Comparison, Side
from robustbench_ms.records.record import read_record, write_record
from tests import fakes
from tests.judging import parse_rule
from tests.running import KEYS, card_of, measure, only

NAME = "top5_accuracy/bits"


@pytest.fixture
def two(tiny, places):
    """Records of two models on one suite."""
    cards = [card_of(fakes.build(), "one"), card_of(fakes.Coarse(4), "other")]
    return [event.record for event in only(measure(tiny, cards, places), RecordDone)]


def test_a_record_keeps_whether_the_label_is_among_the_five_largest(two, pictures):
    samples = two[0].samples()
    images = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).float() / 255
    logits = fakes.build()(images).detach().numpy()
    own = logits[np.arange(40), pictures[1]]

    found = samples.bits(NAME, ["clean"])[0]

    assert np.array_equal(found, (logits > own[:, None]).sum(axis=1) < 5)
    assert samples.tables[NAME].shape == (5, 40)
    assert (samples.tables[NAME] >= samples.correct).all()
    for key, row in zip(KEYS, samples.bits(NAME, KEYS), strict=True):
        assert row.mean() == pytest.approx(two[0].cell(key).values["top5_accuracy"]["mean"])


def test_two_records_are_compared_on_the_same_images(two):
    bits = [record.samples().bits(NAME, ["clean"])[0] for record in two]
    pair = Comparison.of(two[1], two[0])

    loss = pair.loss(pair.quantity("top5_accuracy", ["clean"]))

    assert loss.changed == (bits[0] != bits[1]).sum() > 0
    assert loss.difference.mean == pytest.approx(bits[0].mean() - bits[1].mean())
    (verdict,) = judge(two[1], two[0], [parse_rule("top5_accuracy[corruption=contrast]=5pp")]).verdicts
    assert "unpaired" not in verdict.method
    assert verdict.changed is not None


def test_bits_that_are_not_those_of_its_answers_are_found(two, tmp_path):
    record, path = two[0], tmp_path / "net.json"
    samples = record.samples()
    wrong = samples.tables[NAME].copy()
    wrong[1, 3] ^= True
    write_record(record, dataclasses.replace(samples, tables={**samples.tables, NAME: wrong}), path)

    (found,) = check([path])

    assert len(found.faults) == 1
    assert found.faults[0].startswith(f"{path}: {KEYS[1]}: top5_accuracy is ")
    with pytest.raises(BadFile, match="and its bits say"):
        Side.of(read_record(path))


def test_a_record_of_before_is_read_without_them_and_the_same_run_adds_them(two, tmp_path):
    record, path = two[0], tmp_path / "net.json"
    samples = record.samples()
    assert write_record(record, dataclasses.replace(samples, tables={}), path)
    before = read_record(path)
    assert before.samples().bits(NAME, KEYS) is None
    assert Side.of(before).bits("top5_accuracy", KEYS) is None
    assert [one.faults for one in check([path])] == [()]

    assert write_record(record, samples, path)
    assert not write_record(record, samples, path)
    assert read_record(path).samples().bits(NAME, KEYS).shape == (5, 40)
