"""From pictures as they lie to a listing: labels in an order of classes, ids, and what a suite leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.layouts.found import Found
from robustbench_ms.datasets.listing import Listing, ids_of
from robustbench_ms.datasets.orders import Order
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["chosen_folder", "folders_of", "labels_of", "listed", "option"]


def listed(
    found: Found,
    labels: NDArray[np.int64] | NDArray[np.bool_],
    classes: int,
    where: Path,
    skip: Sequence[int] = (),
    *,
    names: tuple[str, ...] = (),
    exif: bool = False,
    white: float | None = None,
    notes: tuple[str, ...] = (),
) -> Listing:
    """A listing in the order of ids, without those of `skip`.

    BadFile where two pictures have one id, or names that differ in case only; UserError where `skip` names none.
    """
    if not len(found.files):
        raise BadFile(f"{where} has no picture: an empty data set cannot be measured")
    ids = ids_of(found.files, where)
    rows = np.argsort(ids, kind="stable")
    if skip:
        if strange := sorted({*skip} - {*ids.tolist()}):
            raise UserError(f"{where}: skip has {strange[0]}, which is no picture's id")
        rows = rows[~np.isin(ids[rows], list(skip))]
        if not rows.size:
            raise UserError(f"{where}: skip leaves no picture")
    told = (*found.notes, *notes)
    return Listing(
        where, found.files.take(rows), ids[rows], labels[rows], classes, names, exif, white, told, frozenset(skip)
    )  # fmt: skip


def labels_of(found: Found, order: Order, where: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Class indices (n,) in an order, and what is to be told of it.

    A class without a picture is an error where its folder's place in the order counts, else a note.
    """
    codes = found.codes
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise BadFile(f"{where}: {found.files.name(row)} has no label: it lies in no class folder")
    shown = np.bincount(codes, minlength=len(found.words))
    empty = [word for word, count in zip(found.words, shown, strict=True) if not count]
    notes: tuple[str, ...] = ()
    if empty:
        if order.kind == "sorted":
            raise BadFile(
                f"{where}: the class folder {empty[0]!r} has no picture, and the classes are numbered by the order "
                "of the folders: remove it, or say their numbers with --labels FILE"
            )
        more = f" and {len(empty) - 1} more have" if len(empty) > 1 else " has"
        notes = (f"{where}: the class folder {empty[0]!r}{more} no picture",)
    folded: dict[str, str] = {}
    for word in found.words:
        if (other := folded.setdefault(word.casefold(), word)) != word:
            raise BadFile(
                f"{where}: the class folders {other!r} and {word!r} differ in case only: rename one"
            )
    table = np.array([order.index[word] for word in found.words], np.int64)
    return table[codes], notes


def option(source: Source, name: str) -> str | None:
    """A suite's key that must be a string; None where it is absent."""
    value = source.options.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{source.dataset}: {name} must be a string, not {value!r}")
    return value


def folders_of(source: Source, places: Places, usual: Sequence[str]) -> list[Path]:
    """The folders under the data folder that a suite's `folders` names; the usual ones unless it says others."""
    folders = source.options.get("folders", list(usual))
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise UserError(
            f"{source.dataset}: folders must be a list of folders in the data folder, not {folders!r}"
        )
    return [places.data / folder for folder in folders]


def chosen_folder(dataset: str, given: Path | None, folders: Sequence[Path], get: str) -> Path:
    """Where a data set lies: as it was said, else the first of the usual folders; BadFile says where it may lie."""
    if given is not None:
        if not given.exists():
            raise BadFile(f"--data {dataset}={given}: there is nothing")
        return given
    found = next((folder for folder in folders if folder.exists()), None)
    if found is None:
        raise BadFile(
            f"{dataset}: neither {' nor '.join(map(str, folders))} is there; {get}, or say where it is with "
            f"--data {dataset}=FOLDER"
        )
    return found
