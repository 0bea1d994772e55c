"""A few pictures in memory as a data set of photographs, registered as `photographs`."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.datasets.listing import Listing
from robustbench_ms.datasets.photographs import index_photographs
from robustbench_ms.errors import BadFile
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from tests.fakes import Coarse

CANVAS = Canvas(40, 32)

SIZES = ((60, 80), (80, 60), (70, 70), (45, 100), (64, 64), (120, 40), (61, 83), (50, 50))
"""Height and width of each."""


class InMemory:
    """Picture files as bytes, by name."""

    def __init__(self, files):
        self.files = dict(files)
        self.reads = []

    def __len__(self):
        return len(self.files)

    def name(self, row):
        return list(self.files)[row]

    def read(self, row):
        self.reads.append(row)
        data = list(self.files.values())[row]
        if data is None:
            raise BadFile(f"{self.name(row)} is missing")
        return data

    def stamps(self):
        return np.array([(len(data or b""), 0) for data in self.files.values()], np.int64)


def picture(row, *, kind="PNG", mode="RGB", exif=None):
    """A picture of coarse noise, the same each time, in the bytes of a file."""
    height, width = SIZES[row % len(SIZES)]
    words = np.random.default_rng(row).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    made = Image.fromarray(words).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    told = io.BytesIO()
    made.save(told, kind, **({} if exif is None else {"exif": exif}))
    return told.getvalue()


def listing_of(count=8, classes=10, files=None, **facts):
    files = files or InMemory({f"{row}.png": picture(row) for row in range(count)})
    labels = np.arange(len(files), dtype=np.int64) % classes
    ids = np.arange(1, len(files) + 1, dtype=np.int64)
    return Listing(Path("/pictures"), files, ids, facts.pop("labels", labels), classes, **facts)


_listing = [listing_of()]


def shown(listing):
    """Make these the pictures of the data set."""
    _listing[0] = listing
    return listing


def index(source, places, condition):
    return index_photographs(_listing[0], places)


def eight():
    """Eight pictures of several sizes, as the data set "photographs"."""
    DATASETS.register(
        "photographs", DatasetInfo("tests.photographs:index", "in memory", classes=10, splits=("test",))
    )
    return shown(listing_of())


def suite_on(canvas, **facts):
    facts = {"profile": "any-size", "matrix": {"corruption": ("contrast",), "severity": (1,)}} | facts
    return Suite("mine", "classification", "photographs", canvas=canvas, classes=10, **facts)


def cards(*crops, size=32):
    return [
        Card(f"crop{crop}", build=Coarse(), input=Input(size=size, fit="crop", crop=crop)) for crop in crops
    ]


def measured(suite, cards, places, **settings):
    return list(run(suite, cards, places, Settings(device="cpu", **settings)))


def opened(listing, places, canvas="stored", keep=None):
    return index_photographs(listing, places).open(canvas, keep)


def rows(data):
    return np.arange(data.facts.n)


def samples(data):
    return data.load(rows(data), torch.device("cpu")).samples.numpy()
