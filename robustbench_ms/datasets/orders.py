"""In which order classes stand in a model's answers: ImageNet's, by numbers, sorted, or as a file says."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from robustbench_ms.datasets.listing import is_wnid
from robustbench_ms.errors import BadFile, UserError, suggest

__all__ = ["Order", "imagenet_ids", "order_of", "read_order", "real_labels", "subset_ids"]

_MOST = 2**20
"""Classes that a number may name: above it is no class index."""


@dataclass(frozen=True)
class Order:
    """Which class each word means."""

    kind: str
    """ "imagenet", "numbers", "sorted" or "file"."""
    index: Mapping[str, int]
    classes: int
    names: tuple[str, ...] = ()
    """What the classes are called, in order."""


def order_of(words: Sequence[str], where: Path | str, *, numbered: bool = False, classes: int = 0) -> Order:
    """Which class each word (a folder's name, a label) means: the words decide, and not how many they are.

    All among ImageNet's 1,000 WordNet ids are ImageNet's classes; exactly 0..k-1 are numbers; others are classes in the
    order of their names. `numbered` words are class indices in any case, of `classes` where that is known.
    """
    if numbered:
        return _numbers(words, where, classes)
    known = {wnid: i for i, wnid in enumerate(imagenet_ids())} if words and is_wnid(words[0]) else {}
    if words and all(word in known for word in words):
        return Order("imagenet", {word: known[word] for word in words}, len(known), tuple(known))
    if _are_numbers(words) and sorted(map(int, words)) == list(range(len(words))):
        return _numbers(words, where, classes)
    ordered = sorted(words)
    return Order("sorted", {word: i for i, word in enumerate(ordered)}, len(ordered), tuple(ordered))


def _are_numbers(words: Sequence[str]) -> bool:
    return bool(words) and all(word.isascii() and word.isdigit() and len(word) < 10 for word in words)


def _numbers(words: Sequence[str], where: Path | str, classes: int) -> Order:
    if not _are_numbers(words):
        wrong = next((word for word in words if not _are_numbers([word])), "")
        raise BadFile(f"{where}: {wrong!r} is no class index, a whole number from 0 on")
    index = {word: int(word) for word in words}
    top = max(words, key=lambda word: index[word])
    if classes and index[top] >= classes:
        raise BadFile(f"{where}: class {top} is none of the {classes:,} classes 0 to {classes - 1}")
    if index[top] >= _MOST:
        raise BadFile(f"{where}: {top} is no class index")
    return Order("numbers", index, classes or index[top] + 1)


def read_order(file: Path, words: Sequence[str], where: Path | str) -> Order:
    """Which class each word means, as a file says: JSON {"name": index}, or CSV with name,index a row.

    JSON of ImageNet's kind {"index": ["wnid", "name"]} and a list of names in order do as well. BadFile names what is
    wrong or missing.
    """
    said = _said(file)
    for name, index in said.items():
        if not 0 <= index < _MOST:
            raise BadFile(f"{file}: {name} must be a class index, from 0 on, not {index}")
    if lacking := [word for word in words if word not in said]:
        raise BadFile(f"{file} names no class {lacking[0]!r} of {where}{suggest(lacking[0], said)}")
    called = {index: name for name, index in said.items()}
    classes = max(said.values()) + 1
    names = tuple(called[i] for i in range(classes)) if len(called) == classes else ()
    return Order("file", {word: said[word] for word in words}, classes, names)


def _said(file: Path) -> dict[str, int]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        told = json.loads(text) if file.suffix.lower() == ".json" else None
    except FileNotFoundError:
        raise BadFile(f"{file} is missing") from None
    except (OSError, ValueError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadFile(f"{file} cannot be read ({error})") from error
    pairs: list[tuple[object, object]]
    if isinstance(told, dict):
        turned = told and all(isinstance(value, list) and value for value in told.values())
        pairs = [(v[0], k) for k, v in told.items()] if turned else list(told.items())
    elif isinstance(told, list):
        pairs = [(name, i) for i, name in enumerate(told)]
    elif told is None:
        rows = [row for row in csv.reader(text.splitlines()) if row]
        if bad := next((i for i, row in enumerate(rows, 1) if len(row) != 2), None):
            raise BadFile(f"{file}: line {bad} must be name,index")
        if rows and not rows[0][1].strip().isdigit():
            rows = rows[1:]  # its head
        pairs = [(row[0].strip(), row[1].strip()) for row in rows]
    else:
        raise BadFile(f'{file} must hold {{"name": index}}')
    found: dict[str, int] = {}
    for name, index in pairs:
        if not isinstance(name, str) or isinstance(index, bool) or not str(index).isdigit():
            raise BadFile(f"{file}: {name!r} must have one class index, a whole number, not {index!r}")
        if name in found:
            raise BadFile(f"{file} names {name!r} twice")
        found[name] = int(str(index))
    if not found:
        raise BadFile(f"{file} names no class")
    return found


def _info(name: str) -> Path:
    """A file of facts that timm ships; found, and not imported."""
    spec = find_spec("timm")
    at = Path(spec.origin).parent / "data" / "_info" / name if spec and spec.origin else Path(name)
    if not at.is_file():
        raise UserError(
            f"ImageNet's lists are read from the package timm, which has no data/_info/{name}; update timm"
        )
    return at


@lru_cache(maxsize=8)
def _list(name: str) -> tuple[str, ...]:
    return tuple(_info(name).read_text(encoding="utf-8").split())


def imagenet_ids() -> tuple[str, ...]:
    """The 1,000 WordNet ids of ILSVRC-2012 in the order of their classes, as timm ships them."""
    return _list("imagenet_synsets.txt")


_SUBSETS = {"imagenet-a": "imagenet_a_synsets.txt", "imagenet-r": "imagenet_r_synsets.txt"}


def subset_ids(name: str, folder: Path | None = None) -> tuple[int, ...]:
    """The classes of ImageNet that a subset has, rising: "imagenet-a" or "imagenet-r" (200 each, as timm ships them).

    Else a file of WordNet ids beside the suite, one a line.
    """
    known = {wnid: i for i, wnid in enumerate(imagenet_ids())}
    if name in _SUBSETS:
        words: Sequence[str] = _list(_SUBSETS[name])
    else:
        file = (folder or Path()) / name
        try:
            words = file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            if "." not in name:
                raise UserError(f"no subset named {name!r}{suggest(name, _SUBSETS)}") from error
            raise BadFile(f"{file} cannot be read ({error})") from error
    if strange := [word for word in words if word not in known]:
        raise BadFile(f"subset {name}: {strange[0]!r} is none of ImageNet's 1,000 WordNet ids")
    if not words:
        raise BadFile(f"subset {name} names no class")
    return tuple(sorted({known[word] for word in words}))


def real_labels(file: Path | None = None) -> list[list[int]]:
    """The right labels of ImageNet's validation pictures 1, 2, ... (Beyer et al. 2020): real.json, else timm's copy."""
    at = file or _info("imagenet_real_labels.json")
    try:
        told = json.loads(at.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{at} cannot be read ({error})") from error
    good = isinstance(told, list) and all(
        isinstance(row, list) and all(type(label) is int and 0 <= label < 1000 for label in row)
        for row in told
    )
    if not good:
        raise BadFile(f"{at} must hold a list of lists of class indices 0 to 999, one a picture")
    found: list[list[int]] = told
    return found
