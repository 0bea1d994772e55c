"""What `rbms show` draws of a record: pictures with answers, heat maps, windows of signals, planes of volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robustbench_ms.errors import UserError
from robustbench_ms.files import replacing

if TYPE_CHECKING:
    from robustbench_ms.evaluation.finished import Finished
    from robustbench_ms.records.record import Record
    from robustbench_ms.reports.charts import Shares

__all__ = ["draw_images", "draw_signals", "draw_slices"]


def draw_images(
    finished: Finished, path: Path, ids: str | None, cells: str | None, score: float, *, worst: bool
) -> dict[str, Any]:
    """Draw a sheet; what is on it. Of heat maps those that lose most come first."""
    from robustbench_ms.evaluation.panels import drawing_of, panels, worst_maps
    from robustbench_ms.reports.sheets import sheet
    from robustbench_ms.reports.shown import cell_title
    from robustbench_ms.specs.conditions import file_name, key

    option = "--maps" if worst else "--images"
    _refuse_ending(option, path)
    record, drawing = finished.record, drawing_of(finished.record.task)
    names = finished.few() if cells is None else [one.strip() for one in cells.split(",")]
    wanted = [finished.named(one) for one in names]
    first = worst_maps(finished, wanted) if worst else finished.index.ids.tolist()
    chosen = first[:3] if ids is None else _numbers(ids)
    rows = finished.rows(chosen)
    made = sheet(
        panels(finished, wanted, rows, score),
        [*([("truth", "")] if drawing.truth else []), *(cell_title(record, key(one)) for one in wanted)],
        [f"id {number}" for number in chosen],
        f"{record.name} on {record.suite['name']}, n = {finished.measured(wanted[0]).n:,}. {drawing.legend(score)}",
    )
    _save(made, option, path)
    return {
        option.removeprefix("--"): str(path),
        "size": list(made.size),
        "ids": chosen,
        "cells": [file_name(one) for one in wanted],
    }


def _numbers(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise UserError(f"--ids wants whole numbers with commas between them, not {text!r}") from None


def draw_signals(finished: Finished, path: Path, ids: str | None, cells: str | None) -> dict[str, Any]:
    """Draw one window clean and under each fault at a middle level, then where accuracy went; what is on it.

    By default the window that is right clean and wrong under most of what is drawn.
    """
    from robustbench_ms.evaluation.panels import signals_under
    from robustbench_ms.reports.charts import Panel, bands_of, contact, limits_of, shaded, traces
    from robustbench_ms.reports.shown import cell_title
    from robustbench_ms.specs.conditions import file_name, key

    _refuse_ending("--signals", path)
    record = finished.record
    names = finished.middling() if cells is None else [one.strip() for one in cells.split(",")]
    wanted = [finished.named(one) for one in names]
    chosen = None if ids is None else _numbers(ids)
    if chosen is not None and len(chosen) > 1:
        raise UserError(f"--ids: --signals draws one window, and {len(chosen)} are named")
    shown = signals_under(finished, wanted, None if chosen is None else chosen[0])
    bands = bands_of(shown.channels)
    limits = limits_of(shown.windows, bands)
    panels = [
        Panel(
            cell_title(record, key(one))[0],
            f"answered {shown.name(answer)}",
            traces(window, bands, limits),
            good,
        )
        for one, window, answer, good in zip(wanted, shown.windows, shown.answers, shown.right, strict=True)
    ]
    made = contact(
        panels, min(5, len(panels)),
        f"{record.name} on {record.suite['name']}: window {shown.id}, which is {shown.name(shown.label)}; wrong "
        "answers in orange. A triad's channels are blue, yellow and green, each band at one scale throughout. Below: "
        f"all n = {finished.measured(wanted[0]).n:,} windows, in per cent; rows of confusions are what was true, and "
        "add up to 100.",
        [shaded(table, cell) for table, cell in _where_it_went(record)],
    )  # fmt: skip
    _save(made, "--signals", path)
    return {
        "signals": str(path), "size": list(made.size), "ids": [shown.id], "cells": [file_name(one) for one in wanted],
    }  # fmt: skip


def draw_slices(finished: Finished, path: Path, ids: str | None, cells: str | None) -> dict[str, Any]:
    """Draw three planes of volumes, by default of the first, clean and under each artefact at a middle level."""
    from robustbench_ms.evaluation.slices import slices
    from robustbench_ms.reports.sheets import sheet
    from robustbench_ms.reports.shown import cell_title
    from robustbench_ms.specs.conditions import file_name, key

    _refuse_ending("--slices", path)
    record = finished.record
    names = finished.middling() if cells is None else [one.strip() for one in cells.split(",")]
    wanted = [finished.named(one) for one in names]
    chosen = finished.index.ids.tolist()[:1] if ids is None else _numbers(ids)
    drawn = slices(finished, wanted, finished.rows(chosen))
    titles = [cell_title(record, key(one)) for one in wanted]
    made = sheet(
        drawn.pictures,
        [(title.replace(", level", ""), under) for title, under in titles],
        drawn.names,
        f"{record.name} on {record.suite['name']}, n = {finished.measured(wanted[0]).n:,}. {drawn.legend}",
    )
    _save(made, "--slices", path)
    return {
        "slices": str(path), "size": list(made.size), "ids": chosen, "cells": [file_name(one) for one in wanted],
    }  # fmt: skip


def _where_it_went(record: Record) -> Iterator[tuple[Shares, tuple[int, int]]]:
    """The first metric by the matrix's two axes, the worst first; and confusions, clean and of the worst fault."""
    from robustbench_ms.records.terms import Terms
    from robustbench_ms.reports.charts import Shares
    from robustbench_ms.reports.confusions import confusions

    first = Terms.of(record).rows.first
    found: dict[str, dict[str, tuple[str, float]]] = {}
    for cell in record.measurements:
        if cell.error is None and cell.key.count(",") == 1 and first.name in cell.values:
            (_, row), (_, column) = (part.split("=", 1) for part in cell.key.split(","))
            found.setdefault(row, {})[column] = cell.key, cell.values[first.name]["mean"]
    if not found:
        return
    mean = {row: float(np.mean([value for _, value in cells.values()])) for row, cells in found.items()}
    order = sorted(found, key=lambda row: mean[row])
    columns = sorted({column for cells in found.values() for column in cells})
    axes = [part.partition("=")[0] for part in next(iter(found[order[0]].values()))[0].split(",")]
    values = np.array([[found[row].get(c, ("", np.nan))[1] for c in columns] + [mean[row]] for row in order])
    words = [row.replace("_", " ") for row in order]
    yield Shares(f"{first.label} by {axes[0]} and {axes[1]}", words, [*columns, "mean"], values), (52, 21)
    for one in confusions(record, record.samples()):
        yield Shares(f"answered where true: {one.title}", one.names, one.names, one.shares), (44, 32)


def _refuse_ending(option: str, path: Path) -> None:
    if _format(path) is None:
        raise UserError(f"{option}: Pillow writes no picture with the ending {path.suffix!r}; .png is usual")


def _format(path: Path) -> str | None:
    from PIL import Image

    return {k: v for k, v in Image.registered_extensions().items() if v in Image.SAVE}.get(
        path.suffix.lower()
    )


def _save(made: Any, option: str, path: Path) -> None:
    try:
        with replacing(path) as part:
            made.save(part, format=_format(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{option}: {path} cannot be written ({error})") from error
