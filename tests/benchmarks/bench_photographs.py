"""What photographs cost before a model sees them, on the CPU, in one run on the same pictures.

    make bench FILE=tests/benchmarks/bench_photographs.py

Corruptions: wall time of draining one condition at 224 x 224, without a model, of imagecorruptions in a DataLoader (two
worker processes, each decodes, resizes, crops and corrupts) and of ours (two threads, from the file of canvases that
conditions share; its building stands beside it), in turns, the first not counted; of RBMS_DATA's imagenet-val-500 some
RBMS_BENCH_LIMIT (default 100). Many pictures: RBMS_BENCH_PICTURES (default 100,000) JPEGs of 64 x 64 in 100 class
folders, made here: listing, digesting and opening again, bytes an entry, and the second pass over their canvases after
the kernel was told to drop them, beside a plain read of the file. Nothing is asserted about time.
"""

from __future__ import annotations

import os
import time
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from robustbench_ms.catalog.registry import perturbation_of
from robustbench_ms.datasets.photographs import index_photographs
from robustbench_ms.datasets.picture_folder import list_picture_folder
from robustbench_ms.datasets.protocol import exhausted
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

LIMIT = int(os.environ.get("RBMS_BENCH_LIMIT", "100"))
PICTURES = int(os.environ.get("RBMS_BENCH_PICTURES", "100000"))
THREADS = 2
CORRUPTIONS = ("gaussian_noise", "defocus_blur", "zoom_blur", "fog", "jpeg_compression")
TURNS = int(os.environ.get("RBMS_BENCH_TURNS", "5"))


class Reference(Dataset):
    """The field's way: a picture at a time, decoded for every condition."""

    def __init__(self, paths, corruption, severity):
        self.paths, self.corruption, self.severity = paths, corruption, severity
        self.shown = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, row):
        from imagecorruptions import corrupt

        with Image.open(self.paths[row]) as picture:
            image = np.asarray(self.shown(picture.convert("RGB")))
        return torch.from_numpy(
            corrupt(image, corruption_name=self.corruption, severity=self.severity).copy()
        )


def folder_suite(folder, **facts):
    return Suite(
        "mine", "classification", "picture-folder", canvas=Canvas(256, 224), classes=10,
        options={"path": str(folder)}, **facts,
    )  # fmt: skip


def test_a_condition_drained_without_a_model(tmp_path):
    source = Places.find().data / "imagenet-val-500"
    if not source.is_dir():
        pytest.skip("RBMS_DATA has no imagenet-val-500")
    paths = sorted(source.rglob("*.JPEG"))[:: max(1, 500 // LIMIT)][:LIMIT]
    for path in paths:
        link = tmp_path / "pictures" / path.parent.name / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    places = Places(tmp_path, tmp_path, tmp_path / "cache")
    torch.set_num_threads(THREADS)
    suite = folder_suite(
        tmp_path / "pictures", profile="imagenet", matrix={"corruption": CORRUPTIONS, "severity": (3,)}
    )
    index = index_photographs(list_picture_folder(suite.source(), places), places)
    index.open(suite.canvas)
    begin = time.perf_counter()
    data = index.open(suite.canvas, tmp_path / "kept")
    built = time.perf_counter() - begin
    perturbation = perturbation_of(suite, data.facts)

    def ours(condition):
        for rows in data.batches(25 * data.facts.layout.values):
            perturbation(data.load(rows, torch.device("cpu")), condition)

    print(f"\n{len(paths)} pictures at 224, {THREADS} cores, ms a picture; canvases built once: ", end="")
    print(f"{1e3 * built / len(paths):.2f}")
    ratios = []
    for corruption in CORRUPTIONS:
        condition = (("corruption", corruption), ("severity", 3))
        loader = DataLoader(
            Reference(paths, corruption, 3), batch_size=25, num_workers=THREADS, persistent_workers=True
        )
        times = {"reference": [], "ours": []}
        for _ in range(1 + TURNS):  # the first one starts processes, imports and compiles
            begin = time.perf_counter()
            for _batch in loader:
                pass
            times["reference"].append(time.perf_counter() - begin)
            begin = time.perf_counter()
            ours(condition)
            times["ours"].append(time.perf_counter() - begin)
        theirs, mine = (min(found[1:]) / len(paths) * 1e3 for found in times.values())
        ratios.append(theirs / mine)
        print(f"{corruption:20s}{theirs:9.2f}{mine:9.3f}{theirs / mine:8.1f}x")
    print(f"geometric mean {np.exp(np.mean(np.log(ratios))):.1f}x (aim 10)")


def drained(data):
    """Seconds of loading every row."""
    begin = time.perf_counter()
    for rows in data.batches(2**20):
        data.load(rows, torch.device("cpu"))
    return time.perf_counter() - begin


def read(path):
    """Seconds of a plain sequential read."""
    buffer = bytearray(2**20)
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - begin


def dropped(path):
    """Tell the kernel to forget a file's pages."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_many_small_pictures(tmp_path):
    folder, random = tmp_path / "pictures", np.random.default_rng(0)
    made = []
    for i in range(64):
        path = tmp_path / f"{i}.jpg"
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(path, quality=90)
        made.append(path.read_bytes())
    for i in range(PICTURES):
        at = folder / f"class{i % 100:02}"
        at.mkdir(parents=True, exist_ok=True)
        (at / f"{i:06}.jpg").write_bytes(made[i % 64])
    places = Places(tmp_path, tmp_path, tmp_path / "cache")
    suite = folder_suite(folder)

    def opening(keep=None):
        begin = time.perf_counter()
        listing = list_picture_folder(suite.source(), places)
        listed = time.perf_counter() - begin
        begin = time.perf_counter()
        index = index_photographs(listing, places)
        data = exhausted(index.opening(Canvas(72, 64), keep))
        return data, listed, time.perf_counter() - begin

    _, listed, first = opening()
    tracemalloc.start()
    kept_alive = opening()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept_alive
    _, _, again = opening()
    data, _, built = opening(tmp_path / "kept")
    (path,) = (tmp_path / "kept").glob("*.npy")
    ours, plain = [], []
    for _ in range(TURNS):
        dropped(path)
        ours.append(drained(data))
        dropped(path)
        plain.append(read(path))
    print(
        f"\n{PICTURES:,} JPEGs of 64 x 64, {path.stat().st_size / 1e9:.2f} GB of canvases; microseconds a picture"
    )
    for what, seconds in (
        ("listing", listed), ("digesting", first), ("opening again, digests remembered", again),
        ("building canvases", built), ("second pass", min(ours)), ("plain read", min(plain)),
    ):  # fmt: skip
        print(f"{what:36s}{1e6 * seconds / PICTURES:9.2f}")
    print(f"{size / PICTURES:.0f} bytes an entry (aim 150)")
    print(f"second pass {min(plain) / min(ours):.2f} of a plain sequential read (aim 0.8)")
