"""The samples that cards lose, on their pages: by id and drawn where the data are here, by row where they are not."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from robustbench_ms.datasets.digits import index_digits
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.records.terms import Terms
from robustbench_ms.site import build, samples
from robustbench_ms.site.build import build_site
from robustbench_ms.site.lost import lost_of
from robustbench_ms.site.samples import AtHand
from robustbench_ms.specs.source import Source
from tests.records import record_of, written

RESULTS = Path(__file__).resolve().parent.parent / "results"
SEEDS = ("digits-resnet8@0", "digits-resnet8@1", "digits-resnet8@2")


@pytest.fixture(autouse=True)
def no_examples(monkeypatch):
    """The corruptions are not compiled for these pages."""
    monkeypatch.setattr(build, "examples", lambda names, progress: {})


def copied(folder, suite, *names):
    (folder / suite).mkdir(parents=True)
    for name in names:
        for ending in (".json", ".correct.npz"):
            shutil.copy(RESULTS / suite / f"{name}{ending}", folder / suite)
    return folder


def wrong_most(names, count):
    """Rows of those right when clean in all seeds by how often they are wrong, ties by row; without the product."""
    kept = [np.load(RESULTS / "quick" / f"{name}.correct.npz") for name in names]
    bits = np.stack([np.unpackbits(one["correct"], axis=1, count=int(one["n"])) for one in kept]).astype(bool)
    clean = list(kept[0]["keys"]).index("clean")
    wrong = (~np.delete(bits, clean, axis=1)).sum(axis=(0, 1)) * bits[:, clean].all(axis=0)
    return sorted(range(wrong.size), key=lambda i: (-wrong[i], i))[:count], wrong


def test_lost_samples_are_named_and_drawn_where_the_data_are_embedded(tmp_path, places):
    build_site([copied(tmp_path / "results", "quick", *SEEDS)], tmp_path / "site", places)
    text = (tmp_path / "site" / "card-digits-resnet8.html").read_text()
    rows, wrong = wrong_most(SEEDS, 10)
    index = index_digits(Source("digits", "test", sha256={}), places, ())
    shown = re.findall(r"id (\d+)(?:</strong>)?: (\d+) of 285 answers wrong", text)
    assert shown == [(str(index.ids[row]), str(wrong[row])) for row in rows]
    files = re.findall(r'<img src="(sample-\d+\.png)" [^>]*alt="id (\d+), ([^"]*)"', text)
    assert [number for _, number, _ in files] == [str(index.ids[row]) for row in rows[:6] for _ in (1, 2)]
    for row, (name, _, told) in zip(rows, files[::2], strict=False):
        assert told == "clean"
        pixels = np.array(Image.open(tmp_path / "site" / name))
        batch = index.opener(None).load(np.array([row]), torch.device("cpu"))
        np.testing.assert_array_equal(pixels[::3, ::3].transpose(2, 0, 1), batch.samples[0].numpy())
    for (clean, *_), (worse, _, told) in zip(files[::2], files[1::2], strict=True):
        assert "severity 1" in told
        assert (tmp_path / "site" / clean).read_bytes() != (tmp_path / "site" / worse).read_bytes()
    assert all(path.stat().st_size < 50_000 for path in (tmp_path / "site").glob("sample-*.png"))


def test_pictures_are_bounded_in_number_and_drawn_once(places, monkeypatch):
    monkeypatch.setattr(samples, "_MOST", 2)
    record = read_record(RESULTS / "quick" / f"{SEEDS[0]}.json")
    at_hand = AtHand(places)
    names = [at_hand.picture(record, row, "clean") for row in (0, 1, 0, 2)]
    assert names == ["sample-1.png", "sample-2.png", "sample-1.png", None]
    assert list(at_hand.files) == names[:2]


def test_large_pictures_are_made_small():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 300, 600), dtype=np.uint8)
    content = samples._of_pixels(pixels)
    assert Image.open(io.BytesIO(content)).size == (112, 56)
    assert len(content) < 20_000


def test_the_weakest_condition_is_the_first(tmp_path):
    keys = ["clean", *(f"corruption={c},severity={s}" for c in ("fog", "snow") for s in (1, 2, 3))]
    correct = np.ones((7, 4), dtype=bool)
    correct[[keys.index("corruption=snow,severity=2"), keys.index("corruption=fog,severity=3")], 1] = False
    correct[keys.index("corruption=fog,severity=1"), 2] = False
    correct[:, 3] = False  # it was never right, so that it is not lost
    record = record_of(dict(zip(keys, correct.mean(axis=1), strict=True)), n=4)
    measurements = tuple(replace(m, values={"accuracy": m.values["accuracy"]}) for m in record.measurements)
    matrix = {"corruption": ["fog", "snow"], "severity": [1, 2, 3]}
    record = replace(record, suite={**record.suite, "matrix": matrix}, measurements=measurements)
    found = lost_of([written(record, tmp_path, correct)], Terms.of(record))
    assert [(one.place, one.cell) for one in found] == [
        (1, "corruption=snow,severity=2"), (2, "corruption=fog,severity=1"),
    ]  # fmt: skip
    assert found[0].told == "2 of 6 answers wrong, first under snow, severity 2"


@pytest.mark.parametrize("there", [False, True])
def test_data_that_are_not_here_are_named_by_row_and_not_fetched(there, tmp_path, places, monkeypatch):
    fetched = []
    monkeypatch.setattr(datasets.CIFAR10, "download", lambda self: fetched.append(self.root))
    if there:  # of training alone
        (places.data / "cifar10").mkdir(parents=True)
        np.save(places.data / "cifar10" / "train_images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    build_site([copied(tmp_path / "results", "cifar10-c", "resnet20")], tmp_path / "site", places)
    text = (tmp_path / "site" / "card-resnet20.html").read_text()
    assert len(re.findall(r"row \d+: \d+ of 75 answers wrong", text)) == 10
    assert "<img" not in text
    assert fetched == []


@pytest.mark.parametrize("what", ["another question", "a path"])
def test_records_that_are_not_of_data_here_open_nothing(what, tmp_path, places):
    """One that claims a shipped suite and asks otherwise, and one whose suite is called like a folder of pictures."""
    folder = copied(tmp_path / "results", "quick", SEEDS[0])
    path = folder / "quick" / f"{SEEDS[0]}.json"
    record = read_record(path)
    arrays, suite = record.samples(), dict(record.suite)
    if what == "a path":
        for i in range(4):
            (tmp_path / "mine" / "a").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "mine" / "a" / f"{i}.png")
        suite["name"] = str(tmp_path / "mine")
    measurements = tuple(replace(m, protocol=f"{i:064x}") for i, m in enumerate(record.measurements))
    write_record(replace(record, suite=suite, measurements=measurements), arrays, path)
    build_site([folder], tmp_path / "site", places)
    text = (tmp_path / "site" / "card-digits-resnet8@0.html").read_text()
    assert len(re.findall(r"row \d+: \d+ of 95 answers wrong", text)) == 10
    assert "<img" not in text


def test_without_bits_of_samples_the_page_says_so(tmp_path):
    build_site([copied(tmp_path / "results", "coco-mini-c", "yolox-nano")], tmp_path / "site")
    text = (tmp_path / "site" / "card-yolox-nano.html").read_text()
    assert "no answers to single samples" in text
