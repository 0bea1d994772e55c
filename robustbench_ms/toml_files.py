"""Read suites and cards from TOML, checked key by key, and write cards; imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

import tomli_w

from robustbench_ms.corruptions.table import COMMON, NAMES, PROFILES, SEVERITIES
from robustbench_ms.datasets import DATASETS, DatasetInfo
from robustbench_ms.errors import BadFile, UserError, choose
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card, Input, Published, Weights
from robustbench_ms.specs.metrics import COSTS, MEASURED, METRICS
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks import TASKS
from robustbench_ms.toml_reader import Table, read_toml

__all__ = ["inside", "read_card", "read_input", "read_suite", "write_card"]

GROUPS = {"common": COMMON, "all": NAMES}
"""Words that stand for a list of corruptions in a suite's matrix."""

COLUMNS = tuple(name for name in METRICS if name not in MEASURED)
SHA256 = re.compile(r"[0-9a-f]{64}")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
FITS = ("resize", "crop", "letterbox")
PRECISIONS = ("fp32", "bf16", "fp16")
MEMORY_FORMATS = ("contiguous", "channels_last")


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file; its name is the file's name."""
    table = read_toml(path)
    dataset = table.word("dataset", DATASETS, "data set", required=True)
    info = DATASETS[dataset]
    suite = Suite(
        name=path.stem,
        task=table.word("task", TASKS, "task", default="classification"),
        dataset=dataset,
        split=table.word("split", info.splits, f"split of {dataset}", default="test"),
        about=table.take("about", str, ""),
        canvas=table.word("canvas", ("stored",), "canvas", default="stored"),
        profile=table.word("profile", PROFILES, "profile", default=None),
        encode=_encode(table),
        matrix=_matrix(table.table("matrix")),
        also=_words(table, "also", ("clean",), "cell", ("clean",)),
        summary=_words(table, "summary", COLUMNS, "column", ("clean_accuracy",)),
        seed=table.take("seed", int, 0),
        limit=_limit(table),
        files=_files(table.table("files")) if dataset == "arrays" else {},
        classes=table.take("classes", int, info.classes),
        sha256=_digests(table.table("sha256"), info),
        gate=table.strings("gate"),
        folder=path.parent,
    )
    table.done()
    _check_suite(suite, info, path)
    return suite


def _check_suite(suite: Suite, info: DatasetInfo, path: Path) -> None:
    """What no key says alone."""
    if not suite.matrix and not suite.also:
        raise UserError(f'{path}: the suite has no cell: it needs a [matrix] or also = ["clean"]')
    if suite.matrix and not info.corrupted and suite.profile is None:
        raise UserError(f"{path}: a matrix of corruptions needs a profile: one of {', '.join(PROFILES)}")
    if info.corrupted and (suite.profile is not None or suite.encode is not None):
        word = "profile" if suite.profile is not None else "encode"
        raise UserError(
            f"{path}: {suite.dataset} brings its corrupted images, so the suite can have no {word}"
        )
    if suite.classes is None:
        raise UserError(f"{path}: the key 'classes' is missing: how many classes the labels have")
    if suite.classes < 2 or suite.classes != (info.classes or suite.classes):
        raise UserError(f"{path}: classes must be {info.classes or '2 or more'}, not {suite.classes}")
    if not suite.summary:
        raise UserError(f"{path}: summary names no column; the first one ranks")
    for name in {"mce", "relative_mce"} & set(suite.summary):
        if not suite.dataset.startswith("imagenet"):
            raise UserError(
                f"{path}: summary: {name} is normalised by AlexNet on ImageNet-C and has no meaning on "
                f"{suite.dataset}; use mean_corruption_error"
            )


def _words(
    table: Table, key: str, known: tuple[str, ...], what: str, default: tuple[str, ...]
) -> tuple[str, ...]:
    """A list of different words, each one of `known`."""
    words = tuple(choose(w, known, what, f"{table.place}: {key}") for w in table.strings(key, default))
    if twice := [word for word in words if words.count(word) > 1]:
        raise UserError(f"{table.place}: {key} has {twice[0]!r} twice")
    return words


def _digests(table: Table, info: DatasetInfo) -> dict[str, str]:
    """Expected digests by what they are of; a misspelt one would be checked against nothing."""
    known = (*(NAMES if info.corrupted else ("images",)), "labels")
    found = table.rest()
    for key in found:
        choose(key, known, "array", table.place)
    return {key: _sha256(value, f"{table.place} {key}") for key, value in found.items()}


def read_card(path: Path) -> Card:
    """The card in a TOML file; its name is the file's name."""
    table = read_toml(path)
    build = table.take("build", str, required=True)
    if not re.fullmatch(r"(timm|torchvision):[\w./-]+|[\w.]+:[\w.]+", build):
        raise UserError(
            f"{path}: build must be 'package.module:function', 'timm:NAME' or 'torchvision:NAME', not {build!r}"
        )
    card = Card(
        name=path.stem,
        build=build,
        tasks=tuple(
            choose(t, TASKS, "task", f"{path}: tasks") for t in table.strings("tasks", ("classification",))
        ),
        args=table.table("args").rest(),
        input=read_input(table.table("input")),
        weights=_weights(table.tables("weights"), path),
        untrained=table.take("untrained", bool, default=False),
        precision=table.word("precision", PRECISIONS, "precision", default="fp32"),
        memory_format=table.word("memory_format", MEMORY_FORMATS, "memory format", default="contiguous"),
        recipe=table.table("recipe").rest(),
        published=tuple(_published(row) for row in table.tables("published")),
        about=table.take("about", str, ""),
        source=table.take("source", str, ""),
        licence=table.take("licence", str, ""),
        folder=path.parent,
    )
    table.done()
    if card.untrained and card.weights:
        raise UserError(f"{path}: untrained = true and [weights] exclude each other")
    return card


def read_input(table: Table) -> Input:
    """The [input] table of a card; where it is absent or empty, the run assumes and says so."""
    if not table:
        return Input(assumed=True)
    size = table.take("size", int)
    table.check("size", size, lambda s: s is None or s > 0, "positive")
    crop = table.check("crop", table.take("crop", float, 1.0), lambda c: 0 < c <= 1, "above 0 and at most 1")
    bounds = table.numbers("range", (0.0, 1.0))
    table.check("range", bounds, lambda r: len(r) == 2 and r[0] < r[1], "two numbers, the smaller first")
    mean, std = table.numbers("mean", (0.0, 0.0, 0.0)), table.numbers("std", (1.0, 1.0, 1.0))
    table.check("mean", mean, lambda m: len(m) in {1, 3}, "one number a channel (1 or 3)")
    table.check(
        "std",
        std,
        lambda s: len(s) == len(mean) and all(v > 0 for v in s),
        "as many positive numbers as mean",
    )
    made = Input(
        size=size,
        fit=table.word("fit", FITS, "fit", default="resize"),
        crop=crop,
        interpolation=table.word("interpolation", INTERPOLATIONS, "interpolation", default="bilinear"),
        range=(bounds[0], bounds[1]),
        mean=mean,
        std=std,
        channels=table.word("channels", ("RGB", "BGR", "L"), "channel order", default="RGB"),
    )
    table.done()
    return made


def _matrix(table: Table) -> dict[str, tuple[Any, ...]]:
    raw = table.rest()
    for axis in raw:
        choose(axis, ("corruption", "severity"), "axis", table.place)
    if not raw:
        return {}
    names = raw.get("corruption", "common")
    if isinstance(names, str):
        if names in NAMES:
            raise UserError(f'{table.place}: corruption must be a list: ["{names}"]')
        names = GROUPS[choose(names, GROUPS, "group of corruptions", f"{table.place} corruption")]
    severities = raw.get("severity", list(SEVERITIES))
    for axis, values in (("corruption", names), ("severity", severities)):
        if not isinstance(values, (list, tuple)) or not values:
            raise UserError(f"{table.place}: {axis} must be a list with something in it, not {values!r}")
        if any(values.count(v) > 1 for v in values):
            raise UserError(
                f"{table.place}: {axis} has {next(v for v in values if values.count(v) > 1)!r} twice"
            )
    for severity in severities:
        if type(severity) is not int or severity not in SEVERITIES:
            raise UserError(f"{table.place}: severity must be 1, 2, 3, 4 or 5, not {severity!r}")
    return {
        "corruption": tuple(choose(n, NAMES, "corruption", f"{table.place} corruption") for n in names),
        "severity": tuple(severities),
    }


def _encode(table: Table) -> str | None:
    value: str | None = table.take("encode", str)
    if value is not None and not re.fullmatch(r"jpeg-([1-9]\d?|100)", value):
        raise UserError(
            f"{table.place}: encode must be 'jpeg-QUALITY' with a quality of 1..100, not {value!r}"
        )
    return value


def _limit(table: Table) -> int | None:
    value: int | None = table.take("limit", int)
    return table.check("limit", value, lambda v: v is None or v > 0, "1 or more")


def _files(table: Table) -> dict[str, str]:
    files = {
        key: inside(table.take(key, str, required=True), f"{table.place} {key}")
        for key in ("images", "labels")
    }
    table.done()
    return files


def inside(name: str, where: str) -> str:
    """A relative path that stays inside its folder; anything else is refused."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise UserError(f"{where} must be a path inside its folder, not {name!r}")
    return name


def _sha256(value: Any, where: str) -> str:
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise UserError(f"{where} must be a SHA-256 in 64 lower-case hexadecimal digits, not {value!r}")
    return value


def _weights(rows: list[Table], path: Path) -> tuple[Weights, ...]:
    found = []
    for row in rows:
        sha256 = row.take("sha256", str)
        found.append(
            Weights(
                file=inside(row.take("file", str, required=True), f"{row.place} file"),
                sha256=None if sha256 is None else _sha256(sha256, f"{row.place} sha256"),
                seed=row.take("seed", int),
                url=row.take("url", str),
            )
        )
        row.done()
    seeds = [w.seed for w in found]
    if len(found) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
        raise UserError(f"{path}: several [[weights]] need a seed each, all different, not {seeds}")
    return tuple(found)


def _published(row: Table) -> Published:
    name = row.take("metric", str, required=True)
    published = Published(
        metric=choose(name, [*METRICS, *COSTS], "metric", f"{row.place} metric"),
        value=row.take("value", float, required=True),
        on=row.take("on", str, required=True),
        source=row.take("source", str, required=True),
    )
    row.done()
    return published


def write_card(card: Card, path: Path) -> Path:
    """Write a card as TOML, only what differs from the defaults.

    UserError where no other process could build it, or where reading it again would give another card.
    """
    if not isinstance(card.build, str):
        raise UserError(
            f"card {card.name}: its build target cannot be imported by another process, so it cannot be saved; "
            'register it as "package.module:function"'
        )
    tables: dict[str, Any] = {"build": card.build, **_changed(card, Card(name=card.name, build=card.build))}
    for key in ("name", "folder"):
        tables.pop(key, None)
    if not card.input.assumed:
        # An input that is all defaults is told by one of them: an empty table would be taken as not known.
        tables["input"] = _changed(card.input, Input()) or {"range": card.input.range}
    else:
        tables.pop("input", None)
    try:
        text = tomli_w.dumps(_plain(tables))
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
            _refuse_loss(card, part)
    except TypeError as error:
        raise UserError(f"card {card.name}: its args cannot be written as TOML ({error})") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be written: {error.strerror}") from error
    return path


def _refuse_loss(card: Card, path: Path) -> None:
    """What was written is read again: TOML has no None, and a card's file holds no absolute path."""
    try:
        again = replace(read_card(path), name=card.name, folder=card.folder)
    except UserError as error:
        told = str(error).removeprefix(f"{path}: ")
        raise UserError(f"card {card.name} cannot be saved: {told}") from error
    if _plain(asdict(again), none=True) != _plain(asdict(card), none=True):
        raise UserError(f"card {card.name} cannot be saved: TOML cannot hold its args as they are")


def _changed(thing: Card | Input, default: Card | Input) -> dict[str, Any]:
    before = asdict(default)
    return {key: value for key, value in asdict(thing).items() if value != before[key]}


def _plain(value: Any, *, none: bool = False) -> Any:
    """Tuples as lists, and no None: TOML has neither."""
    if isinstance(value, Mapping):
        return {key: _plain(v, none=none) for key, v in value.items() if none or v is not None}
    return [_plain(v, none=none) for v in value] if isinstance(value, (list, tuple)) else value
