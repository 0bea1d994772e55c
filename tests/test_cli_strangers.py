"""The command line among strangers' files and words: what lies in the working folder, odd names, full disks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustbench_ms import __version__
from robustbench_ms.catalog.find import find_card
from robustbench_ms.corruptions.table import NAMES, PROFILES, meaning
from robustbench_ms.errors import UnknownName
from robustbench_ms.specs.card import Card

ROOT = Path(__file__).parent.parent
LONG = 300 * "a"
STRAY = 'raise SystemExit("a stray file was run")\n'
RUN = "import sys; sys.argv[0] = 'rbms'; from robustbench_ms.cli import main; main()"


def called(folder, *words):
    """In a process whose path has this package and not the working folder, as the installed command has it."""
    return subprocess.run(
        [sys.executable, "-P", "-c", RUN, *map(str, words)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_working_folder_holds_models_and_shadows_nothing(tmp_path):
    for name in ("numpy", "torch", "PIL", "typer", "json", "scipy", "timm", "pyarrow"):
        (tmp_path / f"{name}.py").write_text(STRAY)
    (tmp_path / "nets.py").write_text("import parts\nfrom tests.fakes import build\n")
    (tmp_path / "parts.py").touch()
    (tmp_path / "one.toml").write_text('dataset = "digits"\nlimit = 20\n')

    done = called(
        tmp_path, "run", "one.toml", "-m", "nets:build", "--results", "results", "--cache", "cache",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "stray" not in done.stderr


def test_a_word_that_is_no_card_is_told_what_it_may_mean(tmp_path, monkeypatch):
    (tmp_path / "small.py").write_text(f"{STRAY}def other(): ...\ndef build(): ...\n")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "wide.py").write_text("class Wide: ...\n")
    monkeypatch.chdir(tmp_path)

    for word, meant in {
        "resnet18": "timm:resnet18",
        "resnet18.a1_in1k": "timm:resnet18.a1_in1k",
        "squeezenet1_1": "torchvision:squeezenet1_1",
        "small": "small:build",
        "small.py": "small:build",
        "nets.wide": "nets.wide:Wide",
        "resnet20-em": "resnet20-ema",
    }.items():
        with pytest.raises(UnknownName, match=f"did you mean '{meant}'"):
            find_card(word)


def test_version(rbms):
    assert rbms("--version").out == f"rbms {__version__}\n"


def test_a_corruption_is_shown(rbms):
    told = rbms("show", "fog").out
    found = rbms("show", "fog", "--json").json()

    assert "common, weather; protocol number 1" in told
    assert "cifar         0.2 3 | 0.5 3 | 0.75 2.5 | 1 2 | 1.5 1.75" in told
    assert set(found["severities"]) == set(PROFILES)
    assert all(meaning(name) for name in NAMES)
    assert "did you mean 'fog'" in rbms("show", "fgo").err
    assert rbms("show", "fog", "--measure").code == 2


def test_mean_and_std_have_help():
    from robustbench_ms.cli import options

    for option in (options.Mean, options.Std):
        assert "--" in option.__metadata__[0].help


@pytest.mark.parametrize(
    "words",
    [
        ("run", LONG, "-m", "digits-resnet8@0"),
        ("run", "quick", "-m", "digits-resnet8@0", "--weights", LONG),
        ("run", "quick", "-m", "digits-resnet8@0", "--cache", LONG),
        ("run", "quick", "-m", "digits-resnet8@0", "--name", LONG),
        ("show", f"{LONG}.json"),
        ("plan", LONG),
        ("check", LONG),
        ("cache", "--cache", LONG),
        ("compare", "{record}", "{record}", "--alpha", "1e-17"),
        ("gate", "{record}", "--against", "{record}", "--alpha", "1e-17"),
        ("gate", "{record}", "--against", LONG),
        ("corrupt", "{bomb}", "--name", "fog", "-o", "o.png"),
    ],
)
def test_it_is_one_sentence_and_exit_2(words, rbms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {
        "record": ROOT / "results" / "quick" / "digits-resnet8@0.json",
        "bomb": bomb(tmp_path / "bomb.png"),
    }

    told = rbms(*(word.format(**places) for word in words))

    assert told.code == 2
    assert told.err.startswith("rbms: ")
    assert told.err.count("\n") == 1
    assert len(told.err) < 600


def bomb(path):
    """A PNG of some bytes that says 30,000 x 30,000 pixels."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_a_bomb_among_pictures_is_named(tmp_path):
    from robustbench_ms.datasets.pictures import as_rgb
    from robustbench_ms.errors import BadFile

    with pytest.raises(BadFile, match=r"bomb\.png .*pixels"):
        as_rgb(bomb(tmp_path / "bomb.png"), "bomb.png")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_output_to_a_full_disk_is_one_sentence(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "robustbench_ms", "list"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert (done.returncode, done.stderr) == (2, "rbms: No space left on device\n")


def test_names_that_make_one_file_are_refused(rbms, tmp_path):
    suite = tmp_path / "one.toml"
    suite.write_text('dataset = "digits"\nlimit = 20\n')
    first = rbms("run", suite, "-m", "digits-resnet8@0", "--name", "a b")
    second = rbms("run", suite, "-m", "digits-resnet8@0", "--name", "a/b")

    assert first.code == 0, first.err
    assert second.code == 2
    assert "is the record of 'a b'; give 'a/b' another --name" in second.err
    assert rbms("run", suite, "-m", "digits-resnet8@0", "--name", "a b").code == 0


def test_two_of_one_run_are_named_both():
    from robustbench_ms.catalog.find import find_suite
    from robustbench_ms.errors import UserError
    from robustbench_ms.evaluation.jobs import refuse_twins

    cards = [Card(name=name, build="tests.fakes:build") for name in ("a b", "a/b")]
    with pytest.raises(UserError, match="two models are 'a b' and 'a/b'"):
        refuse_twins(cards, find_suite("quick"))
