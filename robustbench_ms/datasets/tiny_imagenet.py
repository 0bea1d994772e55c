"""Tiny ImageNet (Stanford CS231n, 2015): 200 classes, 64 x 64; its validation set lies in one folder."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.datasets.layouts.at import find_at
from robustbench_ms.datasets.layouts.labels import labelled_by
from robustbench_ms.datasets.listed import chosen_folder, labels_of, listed
from robustbench_ms.datasets.listing import Listing
from robustbench_ms.datasets.located import FOLDERS
from robustbench_ms.datasets.orders import Order
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["index_tiny_imagenet", "list_tiny_imagenet"]


def index_tiny_imagenet(source: Source, places: Places, condition: Condition) -> Index:
    """The validation set; its classes are those of wnids.txt in the order of their WordNet ids."""
    from robustbench_ms.datasets.photographs import index_photographs

    del condition
    return index_photographs(list_tiny_imagenet(source, places), places)


def list_tiny_imagenet(source: Source, places: Places) -> Listing:
    """val/images and val/val_annotations.txt as they are unpacked, or class folders in val; beside wnids.txt.

    The classes are sorted, as models of it are trained (torchvision's ImageFolder on train/), whatever the order of
    wnids.txt.
    """
    usual = [places.data / name for name in FOLDERS["tiny-imagenet"]]
    get = "rbms fetch tiny-imagenet, or unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    root = chosen_folder(source.dataset, places.of(source.dataset), usual, get)
    try:
        wnids = sorted((root / "wnids.txt").read_text(encoding="utf-8").split())
    except OSError as error:
        raise BadFile(f"{root / 'wnids.txt'} is missing: it says which classes there are") from error
    if source.classes is not None and len({*wnids}) != source.classes:
        raise BadFile(
            f"{root / 'wnids.txt'} names {len({*wnids})} classes, and {source.dataset} has {source.classes}"
        )
    file = root / "val" / "val_annotations.txt"
    where = root / "val" / "images" if file.is_file() else root / "val"
    found = find_at(where)
    if not found.words:
        found = labelled_by(found, file)
    order = Order("file", {wnid: i for i, wnid in enumerate(wnids)}, len(wnids), tuple(wnids))
    _known(found.words, order, where)
    labels, notes = labels_of(found, order, where)
    return listed(found, labels, order.classes, where, source.skip, names=order.names, notes=notes)


def _known(words: tuple[str, ...], order: Order, where: Path) -> None:
    if strange := [word for word in words if word not in order.index]:
        raise BadFile(f"{where}: {strange[0]!r} is none of the {order.classes} classes of wnids.txt")
