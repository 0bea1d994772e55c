"""Cards and suites in TOML with one thing wrong, or odd: one sentence and exit 2, or still right.

Still right is exit 0 with nothing on a stream that is no text, or, where a model cannot be built with what a card
says, exit 1 with the model named as stopped.
"""

from __future__ import annotations

import copy
import random
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from tests.trials import Tally
from tests.trials.desk import Answer, call, fresh

__all__ = ["texts"]

SUITE = """\
about = "forty small images"
task = "classification"
dataset = "arrays"
split = "test"
profile = "cifar"
classes = 10
seed = 1
limit = 8
also = ["clean"]
summary = ["clean_accuracy", "clean_nll"]
gate = ["clean_accuracy=4pp"]

[matrix]
corruption = ["brightness"]
severity = [1]

[files]
images = "images.npy"
labels = "labels.npy"
"""
CARD = """\
build = "tests.fakes:build"
tasks = ["classification"]
precision = "fp32"
memory_format = "contiguous"
about = "a small one"
source = "nowhere"
licence = "none"

[args]
classes = 10
seed = 3

[input]
size = 32
fit = "resize"
crop = 1.0
interpolation = "bilinear"
range = [0.0, 1.0]
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
channels = "RGB"

[[weights]]
file = "net.safetensors"

[[published]]
metric = "clean_accuracy"
value = 0.9
on = "arrays"
source = "nowhere"

[recipe]
epochs = 1
"""
ODD: tuple[Any, ...] = (
    "", "a", "ümläut", "💥", "\x7f", "a\nb", "x" * 20_000, "../up", "/up", "C:\\x", "nan", "0", "clean",
    "[b]bold[/b]", 0, 1, -1, 2**63 - 1, -(2**63), 10**40, 0.0, 1.5, -0.5, 1e300, float("nan"), float("inf"),
    True, False, [], [[]], ["a"], [1, "a"], [{}], {}, {"a": 1}, {"a": {"b": {"c": []}}}, {"": ""}, ["fog"] * 3,
)  # fmt: skip


def texts(count: int, seed: int, desk: Path, work: Path) -> Tally:
    """Suites and cards in turn."""
    draw, tally = random.Random(seed), Tally("TOML")
    for i in range(count):
        suite = i % 2 == 0
        text, how = _changed(SUITE if suite else CARD, draw)
        at = fresh(desk, work)
        file = "suites/odd.toml" if suite else "cards/odd.toml"
        (at / file).write_bytes(text)
        model = ("-m", "tests.fakes:build" if suite else file)
        verb = draw.choice(["show", "plan", "run"])
        words = ("show", file) if verb == "show" else (verb, file if suite else "suites/tiny.toml", *model)
        done = call(*words, at=at)
        _judge(tally, f"{'suite' if suite else 'card'} {i}: {how}: rbms {' '.join(words)}", done)
    return tally


def _judge(tally: Tally, what: str, done: Answer) -> None:
    if done.raised:
        tally.add("tracebacks", f"{what}: {done.raised}")
    elif done.one_sentence:
        tally.add("refused")
    elif done.code == 0 or (done.code == 1 and " was stopped: " in done.err):
        tally.add("still right" if done.code == 0 else "stopped the model by name")
    else:
        tally.add("wrong", f"{what}: exit {done.code}: {done.err[-300:]}")


def _changed(text: str, draw: random.Random) -> tuple[bytes, str]:
    """A document with one change, and what it was: of its values as often as not, else of its text."""
    if draw.random() < 0.3:
        return _rewritten(text, draw)
    told = tomllib.loads(text)
    places = list(_places(told))
    holder, key = draw.choice(places)
    value = holder[key]
    how = draw.choice(["dropped", "retyped", "renamed", "doubled", "odd", "moved"])
    if how == "dropped":
        del holder[key]
    elif how == "retyped":
        holder[key] = (
            [value] if draw.random() < 0.5 else {"value": value} if draw.random() < 0.5 else str(value)
        )
    elif how == "renamed" and isinstance(holder, dict):
        del holder[key]
        odd = draw.choice([key[1:] or "k", key + "s", key.upper(), "ü" + key, "", " ", key * 500])
        holder[odd] = value
    elif how == "doubled" and isinstance(value, list):
        holder[key] = value * 2
    elif how == "moved":
        told[draw.choice(["about", "args", "input", "files", "extra", "weights"])] = copy.deepcopy(value)
    else:
        how, holder[key] = "odd", draw.choice(ODD)
    try:
        return tomli_w.dumps(told).encode("utf-8", "surrogatepass"), f"{how} {key!r}"
    except (TypeError, ValueError, AttributeError):
        return text.encode(), "nothing"


def _rewritten(text: str, draw: random.Random) -> tuple[bytes, str]:
    lines = text.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    how = draw.choice(["twice", "cut", "byte", "nest", "bom", "digits", "dotted"])
    match how:
        case "twice":
            lines.insert(at, lines[at])
        case "cut":
            return text[: draw.randrange(len(text))].encode(), how
        case "byte":
            data = bytearray(text.encode())
            data[draw.randrange(len(data))] = draw.randrange(256)
            return bytes(data), how
        case "nest":
            lines.insert(0, f"deep = {'[' * draw.choice([3, 5_000])}\n")
        case "bom":
            return b"\xef\xbb\xbf" + text.encode(), how
        case "digits":
            lines.insert(0, f"many = {'9' * 5_000}\n")
        case _:
            lines.insert(0, f"{draw.choice(['a.b.c', 'matrix.severity', 'input.size', 'args.x'])} = 1\n")
    return "".join(lines).encode(), how


def _places(value: Any) -> Any:
    """Every (holder, key) of a nest."""
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(rows):
        yield value, key
        yield from _places(inner)
