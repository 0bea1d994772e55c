"""Read suites from TOML, checked key by key; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.registry import DATASETS, TASKS
from robustbench_ms.catalog.table import Table, inside, read_toml, sha256
from robustbench_ms.corruptions.table import COMMON, NAMES, PROFILES, SEVERITIES
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.metrics import MEASURED, METRICS
from robustbench_ms.specs.suite import Suite

__all__ = ["COLUMNS", "read_suite"]

GROUPS = {"common": COMMON, "all": NAMES}
"""Words that stand for a list of corruptions in a suite's matrix."""

COLUMNS = tuple(name for name in METRICS if name not in MEASURED)


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
    return {key: sha256(value, f"{table.place} {key}") for key, value in found.items()}


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
