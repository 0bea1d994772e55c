"""Every shipped card costs what baselines/costs.json says and answers what golden.json says."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from robustbench_ms.catalog.find import find_card
from tests.models.golden import CARDS, COSTS, GOLDEN, answers_of, cost_of

FRESH = "python -m tests.models.golden writes it anew"


def _found(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _needs(name):
    if ":cct_" in str(find_card(name).build):
        pytest.importorskip("vit_pytorch", reason="the extra `cct` is not installed")


def test_both_files_name_every_card_and_no_other():
    assert sorted(_found(COSTS)) == sorted(_found(GOLDEN)) == CARDS, FRESH


@pytest.mark.parametrize("name", CARDS)
def test_costs_are_fresh(name):
    _needs(name)

    assert _found(COSTS)[name] == cost_of(name), FRESH


def _draws_as_then():
    """Whether torch draws truncated normal numbers, CCT's weights, as 2.11 does; 2.14 draws others of the same seed."""
    torch.manual_seed(0)
    return nn.init.trunc_normal_(torch.empty(1), std=0.02).item() == pytest.approx(-1.876695e-4)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_answers_as_it_did(name):
    _needs(name)
    if ":cct_" in str(find_card(name).build) and not _draws_as_then():
        pytest.skip("this torch draws other weights of a seed than the tested one")

    assert answers_of(name) == pytest.approx(_found(GOLDEN)[name], rel=1e-4, abs=1e-5), FRESH
