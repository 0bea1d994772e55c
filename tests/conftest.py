"""Fixtures that several rooms share: folders, a tiny suite on files, the command line in this process, real data."""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.specs.places import Places

TINY = """\
about = "forty small images"
dataset = "arrays"
profile = "cifar"
classes = 10

[matrix]
corruption = ["brightness", "contrast"]
severity = [1, 3]

[files]
images = "images.npy"
labels = "labels.npy"
"""


def pytest_collection_finish():
    """What was imported so far stays to the end: no collection of garbage looks at it again.

    Of a whole run's objects one takes some two seconds.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_leaks(tmp_path, monkeypatch):
    """No test writes into the checkout or the user's cache, whatever it forgets to say."""
    monkeypatch.setenv("RBMS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("RBMS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "data", tmp_path / "results", tmp_path / "cache")


@pytest.fixture
def pictures():
    """uint8 (40, 32, 32, 3) smooth random pictures and labels (40,), four of each of ten classes."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    return images, np.arange(40) % 10


@pytest.fixture
def write_suite(tmp_path, pictures):
    """A function that writes a suite of the forty pictures; `old` is replaced by `new` in its TOML."""

    def write(name="tiny", replace=(), images=None, labels=None):
        folder = tmp_path / "suites"
        folder.mkdir(exist_ok=True)
        for kind, given, default in (("images", images, pictures[0]), ("labels", labels, pictures[1])):
            path = folder / f"{kind}.npy"
            if given is not None or not path.exists():
                np.save(path, default if given is None else given)
        text = TINY
        for old, new in replace:
            assert old in text, old
            text = text.replace(old, new)
        path = folder / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def tiny(write_suite):
    """The path of a suite of five cells: clean, and two corruptions at two severities."""
    return write_suite()


@pytest.fixture
def corrupted(monkeypatch):
    """What was corrupted so far: a list of (corruption, severity, ids)."""
    from robustbench_ms.tasks import corrupting

    calls = []
    corrupt = corrupting.corrupt

    def noting(images, name, severity, **rest):
        if len(images):  # with none it only asks whether the profile takes them
            calls.append((name, severity, tuple(rest["ids"].tolist())))
        return corrupt(images, name, severity, **rest)

    monkeypatch.setattr(corrupting, "corrupt", noting)
    return calls


@dataclass
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@pytest.fixture
def rbms(monkeypatch, capsys):
    """The command line in this process: rbms("run", suite, "-m", "...") -> Answer."""
    from robustbench_ms.cli import main

    def call(*argv):
        monkeypatch.setattr(sys, "argv", ["rbms", *map(str, argv)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return call


@pytest.fixture
def real_data():
    """A function: real_data("cifar10/test_images.npy") is that file in RBMS_DATA, or the test is skipped."""

    def find(name):
        folder = os.environ.get("RBMS_DATA")
        if not folder:
            pytest.skip(f"RBMS_DATA is not set, and {name} is needed")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"RBMS_DATA has no {name}")
        return path

    return find


def files_under(folder):
    """{relative path: (bytes, mtime in ns)} of every file."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def snapshot():
    return files_under
