"""Records carry a digest, which finds damage and careless edits and not another layout."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.errors import BadFile
from robustbench_ms.records.canonical import arrays_digest, content_digest
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.records.samples import Samples, packed

KEPT = Path(__file__).parent / "data" / "records"
"""One record of each format that was ever written: these files are never changed."""


@pytest.fixture(scope="module")
def kept():
    return read_record(KEPT / "format-2.json")


@pytest.fixture(scope="module")
def old():
    return read_record(KEPT / "format-1.json")


TEXT = (KEPT / "format-2.json").read_text()


@pytest.mark.parametrize("spelling", ["one line", "turned", "tabs", "floats", "escapes"])
def test_a_record_may_be_laid_out_and_spelled_otherwise(tmp_path, kept, spelling):
    told = json.loads(TEXT)
    text = {
        "one line": json.dumps(told),
        "turned": json.dumps(dict(reversed(told.items()))),
        "tabs": json.dumps(told, indent="\t"),
        "floats": TEXT.replace('"mean":1.0,', '"mean":10e-1,').replace('"stderr":0.0}', '"stderr":0}'),
        "escapes": TEXT.replace('"clean"', '"\\u0063lean"'),
    }[spelling]
    path = tmp_path / "net.json"
    path.write_text(text)

    assert text != TEXT
    assert read_record(path) == kept


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mean":1.0', '"mean":0.99'),
        ('"n":50', '"n":51'),
        ('"dirty": ', '"Dirty": '),
        ('"warnings": []', '"warnings": ["odd"]'),
        ('"model":0.', '"model":1.'),
        ('"started": "20', '"started": "19'),
        ('"limit": 50,', '"limit": 40,'),
        ('"absent":{}', '"absent":{"ap":"no object"}'),
        ('"digest": "', '"digest": "0'),
        ('"arrays": "', '"arrays": "0'),
    ],
)
def test_an_edited_record_is_refused_and_told_how_to_make_it_again(tmp_path, old, new):
    path = tmp_path / "net.json"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))

    with pytest.raises(BadFile) as told:
        read_record(path)
    assert str(told.value) == (
        f"{path}: damaged or edited, as its digest does not fit; take it from the version control, or delete it and "
        "measure it again: rbms run quick -m digits-resnet8@0 --limit 50"
    )


def test_the_arrays_of_another_run_are_found(tmp_path, kept):
    path = tmp_path / "net.json"
    samples = kept.samples()
    write_record(kept, samples, path)
    other = dataclasses.replace(samples, correct=~samples.correct)
    write_record(kept, other, tmp_path / "other.json")
    (tmp_path / "other.correct.npz").replace(tmp_path / "net.correct.npz")

    with pytest.raises(
        BadFile,
        match=r"net\.json: the arrays beside it \(net\.correct\.npz\) are not those of its answers; .*"
        r"rbms run quick -m digits-resnet8@0 --limit 50$",
    ):
        read_record(path).samples()
    assert write_record(kept, samples, path)  # the run that ends later mends it
    assert np.array_equal(read_record(path).samples().correct, samples.correct)
    (tmp_path / "net.correct.npz").unlink()
    assert read_record(path).samples() is None


def test_one_number_has_one_digest():
    one = content_digest({"a": [1, 2.5, True, None, "x"], "b": 2**60})

    assert one == content_digest({"b": float(2**60), "a": (1.0, np.float64(2.5), True, None, "x")})
    assert one != content_digest({"a": [1, 2.5, 1, None, "x"], "b": 2**60})
    assert content_digest({"a": 10**400}) != content_digest({"a": 10**401})
    with pytest.raises(ValueError, match="Out of range float"):
        content_digest({"a": float("nan")})
    rows = np.arange(6, dtype=np.int32)
    assert arrays_digest({"a": rows}) == arrays_digest({"a": rows.astype(">i4")})
    others = [{"a": rows.reshape(2, 3)}, {"b": rows}, {"a": rows.astype(np.int64)}, {"a": rows[::-1]}, {}]
    assert len({arrays_digest(arrays) for arrays in [{"a": rows}, *others]}) == 6


def test_no_samples_and_no_cells_have_a_digest_too(tmp_path, kept):
    nothing = Samples((), np.zeros((0, 0), dtype=bool), {})
    path = tmp_path / "net.json"
    write_record(dataclasses.replace(kept, measurements=()), nothing, path)

    again = read_record(path)
    assert again.measurements == ()
    assert again.samples().keys == ()
    assert again.arrays == arrays_digest(packed(nothing))
