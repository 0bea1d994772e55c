"""Picture files of any size: digested as they lie, decoded by Pillow, and shown on a canvas.

What is digested is (id, label, SHA-256 of the file's bytes) in the order of ids, so that the same pictures have the
same digest however they lie, and on whatever canvas they are shown.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.canvases import drawn
from robustbench_ms.datasets.images import array_digest
from robustbench_ms.datasets.kept import kept
from robustbench_ms.datasets.pictures import as_rgb
from robustbench_ms.datasets.protocol import (
    Batch,
    Broken,
    Data,
    DataFacts,
    Index,
    Progress,
    Tell,
    exhausted,
    rows_of_one_shape,
)
from robustbench_ms.datasets.remembered import NAMED, Known, cores, digested, fault, refused
from robustbench_ms.datasets.shapes import Images, Photographs, RaggedImages, Rows
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.canvas import Canvas, told
from robustbench_ms.specs.places import Places

if TYPE_CHECKING:
    import torch

    from robustbench_ms.datasets.listing import Listing

__all__ = ["Shown", "broken", "index_photographs"]

_AHEAD = 1
"""Helpings that are decoded while one is answered."""
_LOOKED = 256
"""Pictures that are decoded between two words on how far it is."""


def index_photographs(listing: Listing, places: Places) -> Index:
    """The index of listed pictures, without those that are skipped; none of them is read yet.

    BadFile where there are none.
    """
    chosen = np.flatnonzero(~np.isin(listing.ids, list(listing.skip)))
    if not len(chosen):
        raise BadFile(f"{listing.where} has no picture: an empty data set cannot be measured")
    ids, labels = listing.ids[chosen], listing.labels[chosen]
    asked = hashlib.sha256(f"{array_digest(ids)} {array_digest(labels)}".encode()).hexdigest()
    known: list[Known] = []

    def opens(
        canvas: str | Canvas, keep: Path | None, rows: Rows | None = None
    ) -> Generator[Progress, None, Data]:
        if not known:
            known.append((yield from digested(listing, chosen, places.cache)))
        facts = _facts(listing, ids, labels, known[0], canvas)
        shown = Shown(
            listing, chosen, labels, known[0], facts, canvas if isinstance(canvas, Canvas) else None
        )
        shown = shown if rows is None else shown.of(rows)
        return (yield from _kept(shown, keep))

    def looked_at(some: Rows) -> list[Broken]:
        with ThreadPoolExecutor(cores(), "decoding") as pool:
            found = pool.map(lambda row: _broken(listing, int(chosen[row])), some)
            return [one for one in found if one is not None]

    return Index(
        ids,
        Photographs(3),
        listing.classes,
        asked,
        opener=lambda canvas: exhausted(opens(canvas, None)),
        names=listing.names,
        opens=opens,
        notes=listing.notes,
        broken=looked_at,
    )


class _Changed(BadFile):
    """A picture that is no longer what was digested: it can be shown, but not as that."""


def broken(index: Index, tell: Tell | None = None) -> list[Broken]:
    """The pictures that cannot be decoded: id, name and fault. Decodes every one of them."""
    if index.broken is None:
        return []
    rows, found = np.arange(len(index.ids)), list[Broken]()
    for start in range(0, len(rows), _LOOKED):
        found += index.broken(rows[start : start + _LOOKED])
        if tell is not None:
            tell("decoding every picture", min(start + _LOOKED, len(rows)), len(rows))
    return found


def _broken(listing: Listing, row: int) -> Broken | None:
    name = listing.files.name(row)
    try:
        as_rgb(io.BytesIO(listing.files.read(row)), name, turn=listing.exif, white=listing.white)
    except BadFile as error:
        return fault(listing, row, error)
    return None


def _facts(
    listing: Listing, ids: Rows, labels: NDArray[Any], known: Known, canvas: str | Canvas
) -> DataFacts:
    n = len(ids)
    columns = [ids.astype("<i8"), labels if labels.dtype == bool else labels.astype("<i8"), known.sha256]
    table = np.concatenate([np.ascontiguousarray(c).reshape(n, -1).view(np.uint8) for c in columns], axis=1)
    layout: Images | RaggedImages
    if isinstance(canvas, Canvas):
        layout = Images(3, canvas.crop, canvas.crop)
    else:
        sizes = known.sizes(exif=listing.exif)
        one = bool((sizes == sizes[0]).all())
        layout = Images(3, int(sizes[0, 0]), int(sizes[0, 1])) if one else RaggedImages(3, sizes)
    said: dict[str, Any] = {"decoder": "pillow"}
    if listing.exif:
        said["exif"] = "applied"
    if listing.white is not None:
        said["white"] = listing.white
    if listing.skip:
        said["skip"] = sorted(listing.skip)
    return DataFacts(
        n, hashlib.sha256(table.data).hexdigest(), ids, None, listing.classes, corrupted=False, layout=layout,
        names=listing.names, told=said, present=_present(labels),
    )  # fmt: skip


def _present(labels: NDArray[Any]) -> int:
    """How many classes any picture has, of labels (n,) or sets of them (n, classes)."""
    return int(labels.any(axis=0).sum() if labels.ndim == 2 else np.unique(labels).size)


class Shown:
    """Pictures on one canvas under one condition."""

    def __init__(
        self,
        listing: Listing,
        rows: Rows,
        labels: NDArray[Any],
        known: Known,
        facts: DataFacts,
        canvas: Canvas | None,
        stack: NDArray[np.uint8] | None = None,
    ) -> None:
        self.facts = facts
        self._listing, self._rows, self._labels, self._known = listing, rows, labels, known
        self._canvas, self._stack = canvas, stack
        self._ahead: dict[int, list[Future[NDArray[np.uint8]]]] = {}

    def of(self, rows: Rows) -> Shown:
        """Some of them, in that order."""
        facts = replace(
            self.facts,
            n=len(rows),
            ids=self.facts.ids[rows],
            layout=self.facts.layout.part(rows),
            present=_present(self._labels[rows]),
        )
        known = Known(self._known.sha256[rows], self._known.facts[rows])
        return Shown(self._listing, self._rows[rows], self._labels[rows], known, facts, self._canvas)

    def on(self, stack: NDArray[np.uint8]) -> Shown:
        """The same, decoded already: uint8 (n, 3, H, W)."""
        return Shown(self._listing, self._rows, self._labels, self._known, self.facts, self._canvas, stack)

    def batches(self, size: int) -> Iterator[Rows]:
        """Rows of one shape, in helpings of `size` numbers; the next one is decoded while this one is answered."""
        helpings = list(rows_of_one_shape(self.facts, size))
        if self._stack is not None:
            yield from helpings
            return
        pool = ThreadPoolExecutor(cores(), "decoding")
        self._ahead.clear()
        try:
            for i, rows in enumerate(helpings):
                for later in helpings[i : i + 1 + _AHEAD]:
                    if int(later[0]) not in self._ahead and len(self._ahead) < 2 + _AHEAD:
                        self._ahead[int(later[0])] = [pool.submit(self.pixels, int(row)) for row in later]
                yield rows
        except GeneratorExit:
            pool.shutdown(cancel_futures=True)
            self._ahead.clear()
            raise
        pool.shutdown(wait=False)  # the last helpings may still be on their way

    def load(self, rows: Rows, device: torch.device) -> Batch:
        """Samples uint8 (k, 3, H, W) and labels, int64 (k,) or bool (k, classes), on the device.

        BadFile names the pictures that cannot be decoded, and those that are no longer what was digested.
        """
        import torch

        samples, labels = torch.from_numpy(self._loaded(rows)), torch.from_numpy(self._labels[rows])
        if device.type != "cpu":
            samples, labels = (t.pin_memory().to(device, non_blocking=True) for t in (samples, labels))
        return Batch(samples, labels, self.facts.ids[rows], np.asarray(rows))

    def _loaded(self, rows: Rows) -> NDArray[np.uint8]:
        if self._stack is not None:
            # A slice of a memory map is read at once, single rows one by one.
            first = int(rows[0]) if len(rows) else 0
            follow = np.array_equal(rows, np.arange(first, first + len(rows)))
            return np.array(self._stack[first : first + len(rows)] if follow else self._stack[rows])
        # Taken here and not in `batches`, which may be asked for the next helping before this one is loaded.
        submitted = self._ahead.pop(int(rows[0]), None) if len(rows) else None
        found, wrong = [], []
        for place, row in enumerate(rows):
            try:
                ready = submitted is not None and len(submitted) == len(rows)
                found.append(submitted[place].result() if submitted and ready else self.pixels(int(row)))
            except _Changed:
                raise
            except BadFile as error:
                wrong.append(fault(self._listing, int(self._rows[row]), error))
        if wrong:
            raise refused(self._listing, wrong, " (others may follow: not all were looked at)")
        return np.stack(found) if found else np.empty((0, 3, 0, 0), np.uint8)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """One picture on its canvas, uint8 (3, H, W); BadFile where it is broken or has changed."""
        place, files = int(self._rows[row]), self._listing.files
        data, name = files.read(place), files.name(place)
        if hashlib.sha256(data).digest() != self._known.sha256[row].tobytes():
            raise _Changed(
                f"{self._listing.where}: {name} has changed since it was digested; start the run again"
            )
        picture = as_rgb(io.BytesIO(data), name, turn=self._listing.exif, white=self._listing.white)
        return drawn(picture, self._canvas)

    def refused(self, first: int) -> BadFile:
        """What is said of broken pictures, of which `first` is one: those after it are looked at too."""
        wrong: list[Broken] = []
        with ThreadPoolExecutor(cores(), "decoding") as pool:
            for start in range(first, self.facts.n, _LOOKED):
                part = self._rows[start : start + _LOOKED]
                found = pool.map(lambda row: _broken(self._listing, int(row)), part)
                wrong += [one for one in found if one is not None]
                if len(wrong) >= NAMED:
                    break
        return refused(self._listing, wrong)

    @property
    def name(self) -> str:
        """That of the file of its canvases: over data, rows, canvas, rules of decoding and the decoder."""
        from PIL import __version__, features

        layout = self.facts.layout
        said = [
            dict(self.facts.told), None if self._canvas is None else told(self._canvas), __version__,
            features.version("jpg"), array_digest(self.facts.ids), repr(layout),
        ]  # fmt: skip
        way = hashlib.sha256(json.dumps(said, default=list).encode()).hexdigest()[:16]
        return f"{self.facts.digest[:16]}-{way}.npy"


def _kept(shown: Shown, keep: Path | None) -> Generator[Progress, None, Data]:
    """The same from a file of canvases in `keep`, where they have one size and there is room."""
    layout = shown.facts.layout
    if keep is None or not isinstance(layout, Images):
        return shown
    failed: list[int] = []

    def make(row: int) -> NDArray[np.uint8]:
        try:
            return shown.pixels(row)
        except BadFile:
            failed.append(row)
            raise

    try:
        stack = yield from kept(keep / shown.name, (shown.facts.n, 3, layout.height, layout.width), make)
    except _Changed:
        raise
    except BadFile as error:
        raise shown.refused(min(failed)) from error
    return shown if stack is None else shown.on(stack)
