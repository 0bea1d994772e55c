"""Read suites from TOML, checked key by key; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.columns import columns_of
from robustbench_ms.catalog.registry import DATASETS, TASKS, perturbation_info, perturbations, rows_of
from robustbench_ms.catalog.table import Table, inside, read_toml, sha256
from robustbench_ms.corruptions.table import NAMES, PROFILES
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.axes import Axis
from robustbench_ms.specs.canvas import INTERPOLATIONS, MODES, Canvas
from robustbench_ms.specs.places import PROFILES_FOLDER
from robustbench_ms.specs.suite import Suite

__all__ = ["read_suite"]


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file; its name is the file's name."""
    table = read_toml(path)
    if path.stem == PROFILES_FOLDER:
        raise UserError(
            f"{path}: {PROFILES_FOLDER!r} is no name for a suite: results/{PROFILES_FOLDER} holds profiles"
        )
    dataset = table.word("dataset", DATASETS, "data set", required=True)
    info = DATASETS[dataset]
    task = table.word("task", TASKS, "task", default="classification")
    matrix, also = _matrix(table.table("matrix")), _words(table, "also", ("clean",), "cell", ("clean",))
    columns = columns_of(task, dataset, matrix, clean=bool(also))
    suite = Suite(
        name=path.stem,
        task=task,
        dataset=dataset,
        split=table.word("split", info.splits, f"split of {dataset}", default=info.splits[0]),
        about=table.take("about", str, ""),
        canvas=_canvas(table),
        profile=table.word("profile", PROFILES, "profile", default=None),
        encode=_encode(table),
        matrix=matrix,
        also=also,
        summary=_words(table, "summary", tuple(rows_of(task).summaries), "column", columns),
        seed=table.take("seed", int, 0),
        limit=_limit(table),
        files=_files(table.table("files")) if dataset == "arrays" else {},
        classes=table.take("classes", int, info.classes),
        sha256=_digests(table.table("sha256"), info),
        gate=table.strings("gate"),
        options={key: table.anything(key) for key in (*info.options, *TASKS[task].options) if table.has(key)},
        folder=path.parent,
        skip=_skip(table, info),
    )
    table.done()
    _check_suite(suite, info, path)
    return suite


def _check_suite(suite: Suite, info: DatasetInfo, path: Path) -> None:
    """What no key says alone."""
    if not suite.matrix and not suite.also:
        raise UserError(f'{path}: the suite has no cell: it needs a [matrix] or also = ["clean"]')
    if suite.canvas != "stored" and not info.photographs:
        raise UserError(
            f"{path}: canvas must be 'stored': {suite.dataset} shows its images as they are stored"
        )
    perturbation = perturbation_info(suite.matrix)
    profiles = () if perturbation is None else perturbation.profiles
    if profiles and not info.corrupted and suite.profile is None:
        raise UserError(f"{path}: a matrix of corruptions needs a profile: one of {', '.join(profiles)}")
    if info.corrupted and (suite.profile is not None or suite.encode is not None):
        word = "profile" if suite.profile is not None else "encode"
        raise UserError(
            f"{path}: {suite.dataset} brings its corrupted images, so the suite can have no {word}"
        )
    if suite.classes is None:
        if not info.counts_classes:
            raise UserError(f"{path}: the key 'classes' is missing: how many classes the labels have")
    elif suite.classes < 2 or suite.classes != (info.classes or suite.classes):
        raise UserError(f"{path}: classes must be {info.classes or '2 or more'}, not {suite.classes}")
    if not suite.summary:
        raise UserError(f"{path}: summary names no column; the first one ranks")
    for name in suite.summary if info.normaliser is None else ():
        if why := rows_of(suite.task).without_normaliser(name, suite.dataset):
            raise UserError(f"{path}: summary: {why}")


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
    """A suite's matrix; an axis that is not in it has its first group, or all its values."""
    raw = table.rest()
    if not raw:
        return {}
    unusable: list[str] = []
    every = [info.axes for info in perturbations(unusable)]
    known = dict.fromkeys(axis.name for axes in every for axis in axes)
    for name in raw:
        try:
            choose(name, known, "axis", table.place)
        except UserError as error:
            raise type(error)("; ".join([str(error), *unusable])) from None
    found = next((axes for axes in every if raw.keys() <= {axis.name for axis in axes}), None)
    if found is None:
        raise UserError(f"{table.place}: no perturbation has the axes {' and '.join(raw)}")
    return {axis.name: _values(axis, raw.get(axis.name), table.place) for axis in found}


def _values(axis: Axis, given: Any, place: str) -> tuple[Any, ...]:
    """The values of one axis, in the suite's order."""
    if given is None:
        return tuple(next(iter(axis.groups.values()), axis.values))
    name = axis.name
    if isinstance(given, str) and given in axis.values:
        raise UserError(f'{place}: {name} must be a list: ["{given}"]')
    if isinstance(given, str) and axis.groups:
        return tuple(axis.groups[choose(given, axis.groups, f"group of {axis.many}", f"{place} {name}")])
    if not isinstance(given, list) or not given:
        raise UserError(f"{place}: {name} must be a list with something in it, not {given!r}")
    if twice := [value for value in given if given.count(value) > 1]:
        raise UserError(f"{place}: {name} has {twice[0]!r} twice")
    for value in given:
        if all(isinstance(known, str) for known in axis.values):
            choose(value, axis.values, name, f"{place} {name}")
        elif not any(type(value) is type(known) and value == known for known in axis.values):
            *first, last = map(str, axis.values)
            raise UserError(f"{place}: {name} must be {', '.join(first)} or {last}, not {value!r}")
    return tuple(given)


def _canvas(table: Table) -> str | Canvas:
    """A word, "stored" or "model", or canvas = {short = 256, crop = 224, interpolation = "bilinear"}."""
    value = table.anything("canvas") if table.has("canvas") else table.take("canvas", str, "stored")
    place = f"{table.place}: canvas"
    if not isinstance(value, dict):
        return choose(value, ("stored", "model"), "canvas", table.place)
    inner = Table(value, place)
    sides = {
        key: inner.check(key, inner.take(key, int, required=True), lambda side: side > 0, "1 or more")
        for key in ("short", "crop")
    }
    made = Canvas(
        **sides,
        interpolation=inner.word("interpolation", INTERPOLATIONS, "interpolation", default="bilinear"),
        mode=inner.word("mode", MODES, "crop mode", default="center"),
    )
    inner.done()
    return made


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


def _skip(table: Table, info: DatasetInfo) -> tuple[int, ...]:
    """Ids of samples, in their order; only of data sets of which some may be left out."""
    if not table.has("skip") or not (info.photographs or info.skips):
        return ()
    given: list[Any] = table.take("skip", list)
    for one in given:
        if type(one) is not int or one < 0:
            raise UserError(f"{table.place}: skip must list ids, whole numbers, not {one!r}")
    return tuple(sorted({*given}))


def _files(table: Table) -> dict[str, str]:
    files = {
        key: inside(table.take(key, str, required=True), f"{table.place} {key}")
        for key in ("images", "labels")
    }
    table.done()
    return files
