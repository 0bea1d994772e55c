"""The labels of pictures that lie in one folder, ImageNet's and Tiny ImageNet's, by files beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustbench_ms.datasets.layouts.found import Codes, Found
from robustbench_ms.datasets.listing import imagenet_number, is_wnid
from robustbench_ms.errors import BadFile

__all__ = ["label_file", "labelled_by"]

NAMES = (
    "ILSVRC2012_validation_ground_truth.txt",
    "val.txt",
    "imagenet_2012_validation_synset_labels.txt",
    "LOC_val_solution.csv",
    "val_annotations.txt",
)
"""What the files are called where they come from."""
_FOLDERS = ("", "data", "ILSVRC2012_devkit_t12/data", "caffe_ilsvrc12", "annotations")
_ALL = 50_000
"""Pictures of ImageNet's validation set."""


@dataclass(frozen=True)
class _Labels:
    """What a label file says: words of pictures 1, 2, ..., or by name."""

    file: Path
    numbered: bool
    by_number: tuple[str, ...] = ()
    by_name: Mapping[str, str] | None = None


def label_file(folder: Path) -> Path | None:
    """A label file where sets have it: in the folder of the pictures or in up to four above it; None without one."""
    for at in (folder, *folder.resolve().parents[:4]):
        for inner in _FOLDERS:
            for name in NAMES:
                if (at / inner / name).is_file():
                    return at / inner / name
    return None


def labelled_by(found: Found, file: Path) -> Found:
    """Pictures with the labels of a file; which of five kinds it is, its content tells.

    The devkit's ground truth (numbers 1..1000 of its own order, through meta.mat beside it), Caffe's val.txt (name and
    class index), TensorFlow's synset labels (a WordNet id a line), Kaggle's solution (CSV), and Tiny ImageNet's
    val_annotations.txt. BadFile names a picture without a label.
    """
    said, codes = _read(file), Codes()
    lines = len(said.by_number)
    if said.by_name is None and lines not in {len(found.files), _ALL}:
        raise BadFile(
            f"{file} has {lines:,} lines, and there are {len(found.files):,} pictures ({_ALL:,} as published): "
            "line N is picture N's, so that one line too few or too many gives all the others' labels away"
        )
    for row in range(len(found.files)):
        name = found.files.name(row)
        if said.by_name is not None:
            last = name.rpartition("/")[2]
            word = said.by_name.get(last.rpartition(".")[0])
        else:
            number = imagenet_number(name)
            if number is None:
                raise BadFile(
                    f"{file} goes by ImageNet's numbers, and {name} does not end in ILSVRC2012_val_N"
                )
            word = said.by_number[number - 1] if 0 < number <= lines else None
        if word is None:
            raise BadFile(f"{file} has no label for {name}")
        codes.append(word)
    return replace(found, words=tuple(codes.words), codes=codes.array(), numbered=said.numbered)


def _read(file: Path) -> _Labels:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise BadFile(f"{file} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{file} cannot be read ({error})") from error
    while lines and not lines[-1]:
        lines.pop()
    first = lines[0] if lines else ""
    if first.lower().startswith("imageid,"):
        return _Labels(file, numbered=False, by_name=_named(file, lines[1:], 2, _kaggle))
    if first.isdigit():
        numbers = _each(file, lines, str.isdigit, "a number of the devkit's own order")
        wnids = _devkit(file.parent / "meta.mat", file)
        if strange := [n for n in numbers if int(n) not in wnids]:
            raise BadFile(f"{file}: {strange[0]} is no class of {file.parent / 'meta.mat'}")
        return _Labels(file, numbered=False, by_number=tuple(wnids[int(n)] for n in numbers))
    if is_wnid(first):
        return _Labels(file, numbered=False, by_number=tuple(_each(file, lines, is_wnid, "a WordNet id")))
    if len(first.split("\t")) >= 2 and is_wnid(first.split("\t")[1]):
        return _Labels(file, numbered=False, by_name=_named(file, lines, 1, _tiny))
    if len(first.split()) == 2 and first.split()[1].isdigit():
        return _Labels(file, numbered=True, by_name=_named(file, lines, 1, _caffe))
    raise BadFile(
        f"{file} is no label file that is known: a line must be a number (devkit), a WordNet id, name and class "
        f"index, or Kaggle's CSV, not {first[:40]!r}"
    )


def _each(file: Path, lines: list[str], good: Callable[[str], bool], what: str) -> list[str]:
    for number, line in enumerate(lines, 1):
        if not good(line):
            raise BadFile(f"{file}: line {number} must be {what}, not {line[:40]!r}")
    return lines


def _named(
    file: Path, lines: list[str], first: int, split: Callable[[str], tuple[str, str] | None]
) -> dict[str, str]:
    """{a picture's stem: word} of lines from line `first` on."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines, first):
        pair = split(line)
        if pair is None:
            raise BadFile(f"{file}: line {number} is not as the lines before it: {line[:40]!r}")
        stem = pair[0].rpartition("/")[2]
        stem = stem.rpartition(".")[0] or stem
        if stem in found:
            raise BadFile(f"{file}: line {number}: {stem} stands there twice")
        found[stem] = pair[1]
    return found


def _kaggle(line: str) -> tuple[str, str] | None:
    name, _, boxes = line.partition(",")
    words = boxes.split()
    return (name, words[0]) if words and is_wnid(words[0]) else None


def _tiny(line: str) -> tuple[str, str] | None:
    words = line.split("\t")
    return (words[0], words[1]) if len(words) >= 2 and is_wnid(words[1]) else None


def _caffe(line: str) -> tuple[str, str] | None:
    words = line.split()
    return (words[0], words[1]) if len(words) == 2 and words[1].isdigit() else None


def _devkit(meta: Path, file: Path) -> dict[int, str]:
    """{the devkit's number: WordNet id} of its meta.mat, those that are no classes left out."""
    if not meta.is_file():
        raise BadFile(
            f"{file} has the devkit's own numbers, which mean nothing without its meta.mat: put that beside it, "
            "or a label file of another kind"
        )
    from scipy.io import loadmat

    try:
        rows: Any = loadmat(str(meta), squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows if int(row["num_children"]) == 0}
    except Exception as error:  # scipy raises as many kinds as there are damages
        raise BadFile(f"{meta} is not the devkit's meta.mat ({error})".splitlines()[0]) from error
