"""Records as plain data: JSON read strictly, and the shape that readers rely on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robustbench_ms.errors import suggest

__all__ = ["read_json", "refuse_shape", "why_unread"]


def why_unread(path: Path, error: OSError) -> str:
    """What a message says of a file of JSON that could not be read: of one that is not there, what is in its place."""
    if not isinstance(error, FileNotFoundError):
        return str(error.strerror)
    if not path.parent.is_dir():
        return f"No such file: there is no folder {path.parent}"
    return f"No such file{suggest(path.name, (one.name for one in path.parent.glob('*.json')))}"


def read_json(text: str) -> Any:
    """Plain data, whose numbers are all finite and whose tables have each key once; ValueError names what is not so."""
    strange: list[float] = []

    def number(word: str) -> float:
        value = float(word)
        if not math.isfinite(value):
            strange.append(value)
        return value

    told = json.loads(text, parse_constant=number, parse_float=number, object_pairs_hook=_table)
    for place in _strange(told) if strange else ():
        raise ValueError(f"{place}, and JSON has finite numbers alone")
    return told


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one table"
        )
    return made


def _strange(value: Any, place: tuple[str, ...] = ()) -> Iterator[str]:
    """For each number that is not finite: "measurements: clean: values: nll: mean is nan"."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{': '.join(place)} is {value}"
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in rows:
        shown = inner.get("key", name) if isinstance(inner, dict) else name  # a cell by its key
        yield from _strange(inner, (*place, str(shown)))


_SHAPE: tuple[tuple[str, str, type | tuple[type, ...]], ...] = (
    ("suite", "name", str),
    ("suite", "summary", list),
    ("suite", "protocol", dict),
    ("suite", "matrix", dict),
    ("suite", "groups", dict),
    ("suite", "limit", (int, type(None))),
    ("suite", "seed", int),
    ("card", "name", str),
    ("card", "weights", (dict, type(None))),
    ("subject", "digest", str),
    ("health", "warnings", list),
)


def refuse_shape(told: Mapping[str, Any]) -> None:
    """TypeError or KeyError where a record of the present format lacks what readers rely on, but for its cells."""
    for key in ("suite", "card", "subject", "health", "measures"):
        if not isinstance(told[key], dict):
            raise TypeError(f"{key} is no table")
    for key, inner, kind in _SHAPE:
        if not isinstance(told[key][inner], kind):
            raise TypeError(f"{key}.{inner} is a {type(told[key][inner]).__name__}")
    for name in ("weights", "cells"):
        if not isinstance(told["subject"].get(name, ""), (str, type(None))):
            raise TypeError(f"subject.{name} is a {type(told['subject'][name]).__name__}")
    if re.fullmatch(r"[0-9a-f]{16}", told["subject"].get("cells") or "0" * 16) is None:
        raise TypeError("subject.cells is no digest")
    columns = told["suite"]["summary"]
    if not columns or not all(isinstance(column, str) for column in columns):
        raise TypeError("suite.summary is no list of words")
    lists = [*told["suite"]["matrix"].values(), *(row["values"] for row in told["suite"]["groups"].values())]
    axes = [row["axis"] for row in told["suite"]["groups"].values()]
    if not all(isinstance(values, list) for values in lists) or not set(axes) <= set(told["suite"]["matrix"]):
        raise TypeError("suite.matrix and suite.groups list the values of axes")
    names = told["suite"].get("classes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("suite.classes is no list of words")
    if not isinstance(told["suite"].get("alike", ""), str):
        raise TypeError("suite.alike is no word")
    protocol = told["suite"]["protocol"]
    for name in ("n", "classes", "classes_present"):
        if type(protocol.get(name, 0)) is not int:
            raise TypeError(f"suite.protocol.{name} is no whole number")
    if "classes_present" in protocol and "classes" not in protocol:
        raise TypeError("suite.protocol.classes_present says of how many classes")
    for name in ("dataset", "split"):
        if not isinstance(protocol.get(name, ""), str):
            raise TypeError(f"suite.protocol.{name} is no word")
    for name in ("args", "input"):
        if not isinstance(told["card"].get(name, {}), dict):
            raise TypeError(f"card.{name} is no table")
    cited = told["card"].get("published", [])
    if not isinstance(cited, list) or not all(_is_cited(row) for row in cited):
        raise TypeError("card.published has tables of metric, value, on and source")
    if not all(_names_cells(value) for values in lists for value in values):
        raise TypeError("suite.matrix and suite.groups have words without , and =, or numbers")
    if not all(isinstance(row, dict) and isinstance(row.get("device"), str) for row in told["environments"]):
        raise TypeError("an environment names its device")
    if not isinstance(told["task"], str) or not all(type(n) is int for n in told["measures"].values()):
        raise TypeError("a record names its task, and a whole number for each of its measures")


def _names_cells(value: Any) -> bool:
    """Whether a value of an axis can stand in a cell's key."""
    if isinstance(value, str):
        return not {",", "="} & {*value}
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_cited(row: Any) -> bool:
    """Whether it is a figure that others published, as a card cites it."""
    words = isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ("metric", "on", "source"))
    return words and isinstance(row.get("value"), (int, float)) and not isinstance(row["value"], bool)
