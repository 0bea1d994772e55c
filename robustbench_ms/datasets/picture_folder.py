"""Anybody's pictures: a folder of classes, tars, parquet files or a table."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.datasets.layouts.at import find_at
from robustbench_ms.datasets.layouts.labels import label_file, labelled_by
from robustbench_ms.datasets.listed import labels_of, listed, option
from robustbench_ms.datasets.listing import Listing
from robustbench_ms.datasets.orders import Order, order_of, read_order
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["index_picture_folder", "list_picture_folder"]

_TOLD = {
    "imagenet": "its labels are ImageNet's WordNet ids: a model must answer for ImageNet's 1,000 classes",
    "numbers": "its labels are class indices: a model must answer for {classes:,} classes in this order",
    "sorted": "its {classes:,} classes are in the order of their names, {names}: a model must answer for them in this "
    "order (--labels FILE says another)",
    "file": "its classes are numbered as {file} says",
}


def index_picture_folder(source: Source, places: Places, condition: Condition) -> Index:
    """The pictures at the suite's `path`."""
    from robustbench_ms.datasets.photographs import index_photographs

    del condition
    return index_photographs(list_picture_folder(source, places), places)


def list_picture_folder(source: Source, places: Places) -> Listing:
    """The pictures at `path` beside the suite, or else in the data folder, upright by their EXIF.

    Labels are read as `orders.order_of` has it, or as the file of the key `labels` says; a note says which.
    """
    path = option(source, "path")
    if path is None:
        raise UserError(f"{source.dataset}: the key 'path' is missing: where the pictures are")
    given = places.of(source.dataset)
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    where = given or next((folder / path for folder in folders if (folder / path).exists()), None)
    if where is None:
        raise BadFile(f"{source.dataset}: {path} is neither in {' nor in '.join(map(str, folders))}")
    found = find_at(where)
    named = option(source, "labels")
    file = None if named is None else (source.folder or Path()) / named
    if not len(found.files):
        raise BadFile(f"{where} has no picture, and no folder of pictures")
    if not found.words:
        file, beside = None, file or label_file(where)
        if beside is None:
            raise BadFile(
                f"{where} has pictures, and nothing says what is in them: put them into a folder a class, or name a "
                "label file with --labels"
            )
        found = labelled_by(found, beside)
    if file is None:
        order = order_of(found.words, where, numbered=found.numbered, classes=len(found.classes))
    else:
        order = read_order(file, found.words, where)
    labels, notes = labels_of(found, order, where)
    if order.classes < 2:
        raise BadFile(
            f"{where} has one class, {found.words[0]!r}: nothing can be told apart (pictures with boxes need an "
            "annotation file in COCO's format, see --annotations)"
        )
    from robustbench_ms.corruptions.pictures import checked_white

    names = order.names or found.classes
    told = f"{where}: {_told(order, file)}"
    return listed(
        found,
        labels,
        order.classes,
        where,
        source.skip,
        names=names,
        exif=True,
        white=checked_white(source.options.get("white")),
        notes=(told, *notes),
    )


def _told(order: Order, file: Path | None) -> str:
    few = order.names if len(order.names) <= 4 else (*order.names[:2], "...", order.names[-1])
    return _TOLD[order.kind].format(classes=order.classes, names=", ".join(few), file=file)
