"""Whatever is changed in a record or cut off it: what is read is whole, or a bad file is named."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.errors import BadFile
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.records.record import FORMAT, Record, read_record
from robustbench_ms.reports.tables import tables
from tests.test_record import KEPT, TEXT


def spots(value, at=()):
    """Every place in a nest of JSON."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from spots(value[key], (*at, key))
    elif isinstance(value, list):
        for i, item in enumerate(value[:4]):
            yield from spots(item, (*at, i))


WHOLE = {number: json.loads((KEPT / f"format-{number}.json").read_text()) for number in range(1, FORMAT + 1)}
SPOTS = [(number, *at) for number, told in WHOLE.items() for at in spots(told) if at]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GONE = object()


@settings(max_examples=400, deadline=None)
@given(changes=st.lists(st.tuples(st.sampled_from(SPOTS), JSON | st.just(GONE)), min_size=1, max_size=3))
def test_a_changed_record_is_a_record_or_a_bad_file(tmp_path_factory, changes):
    number = changes[0][0][0]
    told = copy.deepcopy(WHOLE[number])
    told["measurements"] = told["measurements"][:5]
    for (of, *at), value in changes:
        if of != number:
            continue
        inner = told
        try:
            for step in at[:-1]:
                inner = inner[step]
            if value is GONE:
                del inner[at[-1]]
            else:
                inner[at[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    path = tmp_path_factory.getbasetemp() / "changed.json"
    if number > 1 and "digest" in told:
        with contextlib.suppress(ValueError):  # so that what is behind the digest is reached
            told["digest"] = content_digest({k: v for k, v in told.items() if k != "digest"})
    path.write_text(json.dumps(told))

    try:
        found = read_record(path)
    except BadFile as error:
        assert str(path) in str(error)  # noqa: PT017 - either end is fine
        return
    assert isinstance(found, Record)
    found.answers()
    tables([found])  # what is read can be shown, or is left out with a reason


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 60_000))
def test_a_record_cut_off_anywhere_is_a_bad_file(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_text(TEXT[: min(cut, len(TEXT) - 3)])

    with pytest.raises(BadFile, match=r"cut\.json"):
        read_record(path)
