"""ImageNet's validation set, ImageNet-C on disk, and their relatives; read from wherever and however they lie.

Russakovsky et al., IJCV 2015; Hendrycks and Dietterich, ICLR 2019 (C); Recht et al., ICML 2019 (V2); Hendrycks et al.,
ICCV 2021 (R) and CVPR 2021 (A); Wang et al., NeurIPS 2019 (Sketch); Beyer et al. 2020 (ReaL).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from robustbench_ms.datasets.layouts.at import find_at
from robustbench_ms.datasets.layouts.found import Found
from robustbench_ms.datasets.layouts.labels import label_file, labelled_by
from robustbench_ms.datasets.listed import chosen_folder, folders_of, labels_of, listed, option
from robustbench_ms.datasets.listing import Listing, imagenet_number, numbers_of
from robustbench_ms.datasets.located import FOLDERS, V2
from robustbench_ms.datasets.orders import Order, imagenet_ids, order_of, read_order, real_labels
from robustbench_ms.datasets.protocol import Data, Index, Progress
from robustbench_ms.datasets.shapes import Rows
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["count_listed", "index_imagenet", "list_imagenet"]

CLASSES = 1000

_GET = {
    "imagenet": "get ILSVRC2012_img_val.tar of https://image-net.org (rbms fetch imagenet unpacks it)",
    "imagenet-c": "rbms fetch imagenet-c, or unpack the tars of https://zenodo.org/records/2235448",
    "imagenet-v2": "rbms fetch imagenet-v2, or unpack the tars of https://huggingface.co/datasets/vaishaal/ImageNetV2",
    "imagenet-r": "rbms fetch imagenet-r, or unpack imagenet-r.tar of https://github.com/hendrycks/imagenet-r",
    "imagenet-a": "rbms fetch imagenet-a, or unpack imagenet-a.tar of https://github.com/hendrycks/natural-adv-examples",
    "imagenet-sketch": "rbms fetch imagenet-sketch, or unpack https://github.com/HaohanWang/ImageNet-Sketch",
}
_GROUPS = ("", "noise", "blur", "weather", "digital", "extra")
"""Folders that ImageNet-C's tars may have been unpacked to."""
_LIST = "imagenet_test_image_ids.txt"
_LISTED = {"robustbench": 5_000, "imagenet-val-500": 500}
"""Pictures of the list that a package ships, and of the folder that the suites of 500 read."""


def index_imagenet(source: Source, places: Places, condition: Condition) -> Index:
    """The pictures of a data set of ImageNet's family under a condition.

    ImageNet-C's are published as they were cut, 224 x 224: a canvas cuts the clean ones alone.
    """
    from robustbench_ms.datasets.photographs import index_photographs

    index = index_photographs(list_imagenet(source, places, condition), places)
    opens = index.opens
    if source.dataset != "imagenet-c" or not condition or opens is None:
        return index

    def cut(
        canvas: str | Canvas, keep: Path | None, rows: Rows | None = None
    ) -> Generator[Progress, None, Data]:
        as_is = replace(canvas, short=canvas.crop) if isinstance(canvas, Canvas) else canvas
        return (yield from opens(as_is, keep, rows))

    return replace(index, opens=cut)


def list_imagenet(source: Source, places: Places, condition: Condition) -> Listing:
    """What pictures there are, and their classes in ImageNet's order; BadFile says what is missing."""
    if source.dataset == "imagenet-real":
        return _real(source, places)
    if source.dataset == "imagenet-c" and not condition:
        source = replace(source, dataset="imagenet", split="val")
    where = _where(source, places, condition)
    found = _chosen(find_at(where, source.split), source, places)
    found, order = _ordered(found, source, where)
    labels, notes = labels_of(found, order, where)
    return listed(found, labels, CLASSES, where, source.skip, names=order.names, notes=notes)


def count_listed(source: Source) -> int | None:
    """Pictures that a source chooses, by its list or its folder; None where it takes the split, or nobody can tell."""
    for key in (source.options.get("list"), *source.options.get("folders", ())):
        if key in _LISTED:
            return _LISTED[key] - len(source.skip)
    return None


def _real(source: Source, places: Places) -> Listing:
    """ImageNet's validation pictures with all their right labels (Beyer et al. 2020); those without one left out."""
    where = _where(replace(source, dataset="imagenet", split="val"), places, ())
    found = find_at(where, "val")
    numbers = numbers_of(found.files)
    if numbers is None:
        raise BadFile(
            f"{where}: ReaL labels go by ImageNet's numbers, and not every name ends in ILSVRC2012_val_N"
        )
    named = option(source, "labels")
    said = real_labels(None if named is None else _beside(named, source, places))
    if numbers.size and not 1 <= numbers.min() <= numbers.max() <= len(said):
        raise BadFile(f"{where}: picture {numbers.max()} has no place among the {len(said):,} ReaL labels")
    labels = np.zeros((len(numbers), CLASSES), bool)
    for row, number in enumerate(numbers.tolist()):
        labels[row, said[number - 1]] = True
    kept = np.flatnonzero(labels.any(axis=1))
    notes: tuple[str, ...] = ()
    if lost := len(numbers) - len(kept):
        notes = (f"{where}: {lost:,} pictures have no ReaL label, and are left out",)
    return listed(found.take(kept), labels[kept], CLASSES, where, source.skip, notes=notes)


def _where(source: Source, places: Places, condition: Condition) -> Path:
    """The folder of a split, or of a condition."""
    usual = folders_of(source, places, FOLDERS[source.dataset])
    if source.dataset == "imagenet-v2":
        usual += [places.data / V2[source.split]]
    root = chosen_folder(source.dataset, places.of(source.dataset), usual, _GET[source.dataset])
    if source.dataset == "imagenet-c":
        wanted = dict(condition)
        cell = Path(str(wanted["corruption"])) / str(wanted["severity"])
        found = next((root / group / cell for group in _GROUPS if (root / group / cell).is_dir()), None)
        if found is None:
            raise BadFile(f"{root} has no folder {cell}")
        return found
    if source.dataset == "imagenet-v2":
        inner = root / V2[source.split]
        return inner if inner.is_dir() else root
    if source.dataset == "imagenet":
        inside = [
            root / source.split,
            root / "ILSVRC/Data/CLS-LOC" / source.split,
            root / "Data/CLS-LOC" / source.split,
        ]
        return next((at for at in inside if at.is_dir()), root)
    return root


def _ordered(found: Found, source: Source, where: Path) -> tuple[Found, Order]:
    """Pictures with labels, and which class of ImageNet each label means."""
    named = option(source, "labels")
    if not found.words:
        file = label_file(where) if named is None else (source.folder or Path()) / named
        if file is None:
            raise BadFile(
                f"{where} has pictures without class folders, and no label file is near: put the devkit's ground "
                "truth with its meta.mat, Caffe's val.txt, TensorFlow's synset labels or Kaggle's LOC_val_solution.csv "
                "beside them, or name one with --labels"
            )
        found = labelled_by(found, file)
        found = replace(found, notes=(*found.notes, f"{where}: labels of {file}"))
    elif named is not None:
        order = read_order((source.folder or Path()) / named, found.words, where)
        if order.classes > CLASSES:
            raise BadFile(
                f"{named} has classes up to {order.classes - 1}, and {source.dataset} has {CLASSES:,}"
            )
        return found, order
    numbered = found.numbered or source.dataset == "imagenet-v2"
    order = order_of(found.words, where, numbered=numbered, classes=CLASSES if numbered else 0)
    if order.kind != "imagenet" and not numbered:
        known = {*imagenet_ids()}
        strange = next(word for word in found.words if word not in known) if {*found.words} - known else ""
        raise BadFile(
            f"{where}: the folder {strange!r} is none of ImageNet's 1,000 WordNet ids; say which class each folder is "
            "with --labels FILE"
        )
    return found, order


def _chosen(found: Found, source: Source, places: Places) -> Found:
    """The pictures of a suite's list alone; all where it has none."""
    named = option(source, "list")
    if named is None:
        return found
    file = _list_file(named, source, places)
    wanted = set[int]()
    try:
        lines = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{file} cannot be read ({error})") from error
    for line, name in enumerate(lines, 1):
        number = imagenet_number(name)
        if number is None:
            raise BadFile(f"{file}: line {line} must be wnid/ILSVRC2012_val_N.JPEG, not {name[:60]!r}")
        wanted.add(number)
    numbers = [imagenet_number(found.files.name(row)) for row in range(len(found.files))]
    rows = np.array([row for row, number in enumerate(numbers) if number in wanted], np.int64)
    if lacking := wanted - {*numbers}:
        raise BadFile(
            f"{found.files.name(0)} lies where {len(lacking):,} of the {len(wanted):,} pictures that {file} names do "
            f"not, such as ILSVRC2012_val_{min(lacking):08d}"
        )
    return found.take(rows)


def _list_file(named: str, source: Source, places: Places) -> Path:
    """The list that the package "robustbench" ships, found and not imported; another name is a file."""
    if named != "robustbench":
        return _beside(named, source, places)
    spec = find_spec("robustbench")
    inside = [] if spec is None or spec.origin is None else [Path(spec.origin).parent]
    at = [folder / sub / _LIST for folder in inside for sub in ("data", "helper_files")]
    at += [places.data / "imagenet-c" / _LIST, places.data / _LIST]
    found = next((file for file in at if file.is_file()), None)
    if found is None:
        raise BadFile(
            f"the list of 5,000 pictures is missing: install the package robustbench, or put {_LIST} into {places.data}"
        )
    return found


def _beside(named: str, source: Source, places: Places) -> Path:
    """A file beside the suite, or else in the data folder."""
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    found = next((folder / named for folder in folders if (folder / named).is_file()), None)
    if found is None:
        raise BadFile(f"{source.dataset}: {named} is neither in {' nor in '.join(map(str, folders))}")
    return found
