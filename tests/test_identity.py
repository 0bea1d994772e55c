"""Digests and the provenance that stands beside them."""

from __future__ import annotations

import getpass
import json
import platform
import re
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import index_of, task_of
from robustbench_ms.evaluation.environment import describe_environment
from robustbench_ms.evaluation.jobs import Conditions
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.conditions import CLEAN, conditions, key, plan
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import digest

VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_a_digest_knows_no_order_and_every_value(fields):
    told = digest(fields)

    assert len(told) == 16
    assert int(told, 16) >= 0
    assert digest(dict(reversed(fields.items()))) == told
    assert digest({**fields, "one more": 1}) != digest({**fields, "one more": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


def test_the_probe_is_the_same_on_every_machine():
    """Pinned: another probe would make every record another subject's."""
    import hashlib

    suite = Suite("s", "classification", "digits", classes=10)
    probe = task_of(suite).probe(index_of(suite.source(), None, CLEAN).layout).samples

    assert (probe.dtype, tuple(probe.shape)) == (torch.uint8, (8, 3, 32, 32))
    assert len({probe[i].numpy().tobytes() for i in range(8)}) == 8
    assert hashlib.sha256(probe.numpy().tobytes()).hexdigest()[:16] == "8ff93593f3fea2fd"


def test_a_plan_is_the_product_in_the_suites_order():
    suite = Suite(
        "s",
        "classification",
        "digits",
        matrix={"corruption": ("fog", "snow"), "severity": (2, 1)},
        profile="cifar",
    )
    cards = [Card("a", "x:y"), Card("b", "x:y", weights=(Weights("w", seed=3), Weights("v", seed=5)))]

    cells = list(plan(suite, cards))

    assert [key(c) for c in conditions(suite)] == [
        "clean",
        "corruption=fog,severity=2",
        "corruption=fog,severity=1",
        "corruption=snow,severity=2",
        "corruption=snow,severity=1",
    ]
    assert [(c.key, c.card.name) for c in cells[:4]] == [
        ("clean", "a"),
        ("clean", "b@3"),
        ("clean", "b@5"),
        ("corruption=fog,severity=2", "a"),
    ]
    assert len(cells) == 15


def test_the_environment_names_versions_and_no_path_host_or_user():
    told = describe_environment(torch.device("cpu"))

    assert (told.python, told.torch, told.device) == (platform.python_version(), torch.__version__, "cpu")
    assert told.packages["timm"]
    text = json.dumps(asdict(told))
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
    assert not {socket.gethostname(), getpass.getuser()} & set(re.split(r'[\s",:{}]+', text))


RECORDS = Path(__file__).parent.parent / "results"


def test_no_digest_of_a_committed_cell_moves(places):
    """Questions come to the digests that records of stored images were committed with; the data are embedded."""
    suite = find_suite("quick")
    shown = Conditions(suite, task_of(suite), places)
    record = read_record(RECORDS / "quick" / "digits-amsra-net@0.json")

    asked = {key(condition): shown.question(condition) for condition in shown.conditions}
    assert {m.key: m.protocol for m in record.measurements} == {k: q.protocol for k, q in asked.items()}
    assert list(asked["clean"].fields) == [
        "task", "task_protocol", "dataset", "split", "limit", "canvas", "data", "n",
    ]  # fmt: skip
