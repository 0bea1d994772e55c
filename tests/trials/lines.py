"""Command lines as nobody should write them: a word that is wrong is no traceback.

Verbs, positions and options are drawn, with right words, wrong ones, files for folders and folders for files. Nothing
that would take minutes or all memory where it is right is among them: thousands of workers, sides of a million pixels.
"""

from __future__ import annotations

import random
import shlex
from pathlib import Path

from tests.trials import Tally
from tests.trials.desk import call, fresh

__all__ = ["lines"]

WRONG = (
    "", " ", "0", "-1", "1.5", "nan", "1e999", "9" * 30, "ü", "\udcff", "fog", "--", "@", "a:b", "a.b:c", "timm:",
    "x@0", "torchvision:nothing", "tests.fakes:absent", "tests.nowhere:build", "missing", "missing/folder/x",
    "missing.toml", "missing.json", "empty", "suites", "picture.png", "picture.png/inside", "broken.toml",
    "broken.json", "x" * 300, "/dev/null", "results/tiny/net.correct.npz", "git:", "git:HEAD", "git:x:y.json",
    "git:--all", "--nothing", "[b]",
)  # fmt: skip
SUITES = ("suites/tiny.toml", "quikc", "cards/net.toml")
CARDS = (
    "cards/net.toml",
    "tests.fakes:build",
    "tests.fakes:breaks",
    "tests.fakes:returns_text",
    "digits-resnet9",
)
RECORDS = ("results/tiny/net.json", "results/tiny/other.json", "results/tiny/nett.json")
NUMBERS = ("0", "1", "3", "-2", "three", "1.5")
PLACES = ("results", "empty", "new", "picture.png", "missing/new")
FILES = ("new.md", "new/new.md", "empty", "picture.png/x.md")
MODEL = {
    "-m": CARDS,
    "--weights": ("cards/net.safetensors", "picture.png"),
    "--name": ("mine", "a/b", ".", ""),
}
SHOWN = {"--mean": ("0.5", "0.5,0.5", "a"), "--std": ("0.2", "0", "1,1,1"), "--size": ("32", "0", "-3", "x")}
WORK = {
    "--device": ("cpu", "cuda:9", "gpu"), "--batch-size": NUMBERS, "--limit": NUMBERS, "--seed": NUMBERS,
    "--threads": ("1", "0", "x"),
}  # fmt: skip
FOLDERS = {"--results": PLACES, "--cache": PLACES, "--data": PLACES}
JSON: dict[str, tuple[str, ...]] = {"--json": ()}
VERBS: dict[str, tuple[tuple[tuple[str, ...], ...], dict[str, tuple[str, ...]]]] = {
    "list": ((), JSON),
    "show": (((*SUITES, *CARDS),), {"--measure": (), **JSON}),
    "plan": ((SUITES,), {"-m": CARDS, "--limit": NUMBERS, "--seed": NUMBERS, "--results": PLACES, **JSON}),
    "run": ((SUITES,), {**MODEL, **SHOWN, **WORK, **FOLDERS, "--executor": ("local", "slurm"), **JSON}),
    "leaderboard": (
        (("tiny", "tinny"),), {"--results": PLACES, "-o": FILES, "--format": ("csv", "xml"), "--csv": (), **JSON},
    ),
    "gate": (
        ((*RECORDS, *SUITES),),
        {
            **MODEL, **WORK, "--against": (*RECORDS, *PLACES), "--alpha": ("0.05", "0", "1", "a"), "--lenient": (),
            "--rule": ("clean_accuracy=4pp", "clean_acuracy=4pp", "accuracy[corruption=fgo]=1pp", "nll=1pp", "a=b"),
            "--markdown": FILES, "--annotate": (), **JSON,
        },
    ),
    "accept": ((RECORDS,), {"--restart": (), "--results": PLACES, **JSON}),
    "compare": ((RECORDS, RECORDS), {"--alpha": ("0.1", "2", "a"), **JSON}),
    "reproduce": (
        ((*RECORDS, "tiny"),),
        {"-m": CARDS, "--suite": SUITES, "--published": (), "--limit": NUMBERS, "--results": PLACES, **JSON},
    ),
    "check": (((*RECORDS, *PLACES, "cache"),), JSON),
    "train": ((CARDS,), {"-o": ("new.safetensors", *PLACES), "--seed": NUMBERS, "--seeds": ("0,1", "a", ","), **JSON}),
    "corrupt": (
        (("picture.png",),),
        {
            "-o": ("new.png", "new.xyz", "new.jpg", *PLACES), "--name": ("fog", "fgo"), "--severity": NUMBERS,
            "--profile": ("cifar", "cifra"), "--seed": NUMBERS, "--grid": (), **JSON,
        },
    ),
    "rnu": ((), JSON),
}  # fmt: skip
"""Of each verb the right and nearly right words of its positions, and of its options."""


def lines(count: int, seed: int, desk: Path, work: Path) -> Tally:
    """Lines drawn from `VERBS`, each on a fresh desk."""
    draw, tally = random.Random(seed), Tally("command lines")
    for _ in range(count):
        words = _line(draw)
        done = call(*words, at=fresh(desk, work))
        what = f"rbms {shlex.join(words)[:300]!a}"
        if done.raised:
            tally.add("tracebacks", f"{what}: {done.raised}")
        elif done.code not in {0, 1, 2} or (done.code == 2 and not done.err.strip()):
            tally.add("wrong", f"{what}: exit {done.code}: {done.err[-300:]}")
        else:
            tally.add(f"with exit {done.code}")
    return tally


def _line(draw: random.Random) -> list[str]:
    verb = draw.choice(list(VERBS))
    places, options = VERBS[verb]
    words = [verb, *(_word(right, draw) for right in places if draw.random() < 0.95)]
    if draw.random() < 0.05:
        words.append(draw.choice(WRONG))
    for option in draw.sample(list(options), min(len(options), draw.randrange(5))):
        words += [option, *([_word(options[option], draw)] if options[option] else [])]
    return words


def _word(right: tuple[str, ...], draw: random.Random) -> str:
    return draw.choice(right) if draw.random() < 0.75 else draw.choice(WRONG)
