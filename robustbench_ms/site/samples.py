"""Samples of records whose data are on this machine: their ids, and small pictures of them for the pages."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from robustbench_ms.catalog.find import suite_names
from robustbench_ms.datasets.located import found_in, looked_in
from robustbench_ms.errors import UserError
from robustbench_ms.records.record import Record
from robustbench_ms.records.suites import suite_name, suite_of
from robustbench_ms.specs.places import Places

if TYPE_CHECKING:
    from robustbench_ms.evaluation.finished import Finished

__all__ = ["AtHand"]

_SIDE = 112
"""Pixels of a picture's longer side, but for samples that are shown as lines."""
_LONGEST = 1000
"""Photographs of a data set above which none is decoded: all of them are, before their digest is known."""
_PNG = b"\x89PNG"
_MOST = 1500
"""Pictures of a site."""


class AtHand:
    """The data of records that lie in the data folder or come with a package; nothing is downloaded.

    Of the suites that are shipped or installed alone: what a record's name spells is no reason to open a file.
    """

    def __init__(self, places: Places) -> None:
        self._places = replace(places, downloads=False)
        self._opened: dict[tuple[str, str], Finished | None] = {}
        self._named: dict[tuple[str, int, str], str] = {}
        self.files: dict[str, bytes] = {}
        """{"sample-1.png": its bytes, "sample-2.jpg": ...}, of those that were asked for."""

    def id_of(self, record: Record, place: int) -> int | None:
        """What its data call the sample in a row; None where they are not here, or are others than were measured."""
        finished = self._finished(record)
        if finished is None or place >= len(finished.index.ids):
            return None
        return int(finished.index.ids[place])

    def picture(self, record: Record, place: int, key: str) -> str | None:
        """The file of a picture of a sample as it was shown in a cell; None as above, and of too many."""
        finished = self._finished(record)
        cell = record.cell(key)
        if finished is None or cell is None:
            return None
        named = (
            cell.protocol,
            place,
            str(record.card.get("input")) if finished.suite.canvas == "model" else "",
        )
        if named not in self._named and len(self.files) < _MOST:
            try:
                content = _drawn(finished, record, place, key)
            except UserError:
                return None
            name = f"sample-{len(self.files) + 1}.{'png' if content.startswith(_PNG) else 'jpg'}"
            self.files[name], self._named[named] = content, name
        return self._named.get(named)

    def _finished(self, record: Record) -> Finished | None:
        clean = record.cell("clean")
        if clean is None:
            return None
        at = clean.protocol, str(record.suite["name"])
        if at not in self._opened:
            self._opened[at] = self._open(record)
        return self._opened[at]

    def _open(self, record: Record) -> Finished | None:
        from robustbench_ms.datasets.shapes import Photographs
        from robustbench_ms.evaluation.finished import Finished
        from robustbench_ms.specs.conditions import CLEAN

        dataset = str(record.suite["protocol"].get("dataset"))
        needed = {
            dataset,
            dataset.removesuffix("-c"),
        }  # published corrupted sets have their clean one beside them
        lacking = [one for one in needed if looked_in(one, self._places) and not found_in(one, self._places)]
        if lacking or suite_name(record) not in suite_names():
            return None
        try:
            found = Finished(record, self._places, suite_of(record, places=self._places))
            if isinstance(found.index.layout, Photographs) and len(found.index.ids) > _LONGEST:
                return None
            found.check_data(CLEAN)
        except UserError:  # they are not here whole, or are others
            return None
        return found


def _drawn(finished: Finished, record: Record, place: int, key: str) -> bytes:
    """A file of one sample under a condition, lossy where it was made smaller.

    UserError where there is no such condition, or it asks otherwise now.
    """
    import numpy as np

    from robustbench_ms.datasets.shapes import RaggedVolumes, Signals, Volumes
    from robustbench_ms.evaluation.finished import Finished
    from robustbench_ms.evaluation.panels import canvas_of, shown_under
    from robustbench_ms.specs.conditions import CLEAN, conditions
    from robustbench_ms.specs.conditions import key as key_of

    condition = next((one for one in conditions(finished.suite) if key_of(one) == key), None)
    cell = record.cell(key)
    if condition is None or cell is None:
        raise UserError(f"{finished.suite.name} has no cell {key}")
    if finished.shown.question(condition).protocol != cell.protocol:
        raise UserError(f"{finished.suite.name} asks otherwise in {key} than {record.name} was asked")
    try:
        canvas = canvas_of(Finished(record, finished.places, finished.suite))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{record.name}: its card's input is none ({error})") from error
    row = np.array([place])
    layout = finished.shown.data(condition, canvas).facts.layout
    if isinstance(layout, (Volumes, RaggedVolumes)):
        from robustbench_ms.evaluation.slices import slices

        picture = slices(finished, [condition], row).pictures[0][0]
    elif isinstance(layout, Signals):
        from robustbench_ms.reports.charts import bands_of, limits_of, traces

        clean, shown = (shown_under(finished, one, row, canvas).samples.numpy() for one in (CLEAN, condition))
        bands = bands_of(layout.of)
        picture = traces(shown[0], bands, limits_of(clean, bands), width=2 * _SIDE)
    else:
        return _of_pixels(shown_under(finished, condition, row, canvas).samples[0].numpy())
    return _file(picture, "PNG")


def _of_pixels(pixels: Any) -> bytes:
    """A file of a picture of uint8 (1 or 3, h, w), enlarged by whole numbers, or made smaller and lossy."""
    import numpy as np
    from PIL import Image

    shown = Image.fromarray(
        np.repeat(pixels, 3, axis=0).transpose(1, 2, 0) if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    )
    longer = max(shown.size)
    if longer <= _SIDE:
        times = _SIDE // longer
        size = times * shown.width, times * shown.height
        return _file(shown.resize(size, Image.Resampling.NEAREST), "PNG")
    shown.thumbnail((_SIDE, _SIDE))
    return _file(shown, "JPEG")


def _file(picture: Any, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, optimize=True, quality=85)
    return out.getvalue()
