"""rbms show: one suite, model, corruption or record, whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_ms.cli.options import Cache, Data, Json, Results, print_json
from robustbench_ms.errors import UserError, suggest
from robustbench_ms.specs.card import WINDOWS, Card, Output, Published
from robustbench_ms.specs.metrics import COSTS
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

if TYPE_CHECKING:
    from robustbench_ms.records.record import Record

__all__ = ["command"]


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="A suite, a model or a corruption, by name or file; or a record: its file, or SUITE/MODEL."
        ),
    ],
    measure: Annotated[
        bool, typer.Option("--measure", help="Build the model and count what it costs; needs no weights.")
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Of a record: draw pictures and answers into this file.", show_default=False),
    ] = None,
    maps: Annotated[
        Path | None,
        typer.Option(
            help="Of a record of localisation: draw heat maps over pictures into this file, the worst first.",
            show_default=False,
        ),
    ] = None,
    signals: Annotated[
        Path | None,
        typer.Option(
            help="Of a record of signals: draw a window clean and under each fault, and where accuracy went.",
            show_default=False,
        ),
    ] = None,
    slices: Annotated[
        Path | None,
        typer.Option(
            help="Of a record of volumes: draw three planes, clean and under each artefact, into this file.",
            show_default=False,
        ),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="ID,...",
            help="Which pictures: three, the first or worst; which window; which volumes: the first.",
            show_default=False,
        ),
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(metavar="clean,fog-3,...", help="In which cells.", show_default=False),
    ] = None,
    score: Annotated[float, typer.Option(help="Draw detections of that score or more.")] = 0.3,
    detections: Annotated[
        Path | None,
        typer.Option(
            help="Of a record: write its detections there, COCO results as -m results:FOLDER reads them.",
            show_default=False,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="The file or folder of a record's suite that is not shipped.", show_default=False),
    ] = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Show all that is known of a suite, a model (a shipped one with costs), a corruption or a record; asks no model.

    Pictures and detections are made of the finished cells in the cache.
    """
    places = Places.find(data, results, cache)
    path = _record_path(name, places.results)
    if path is None:
        given = {
            "images": images, "maps": maps, "signals": signals, "slices": slices, "ids": ids, "cells": cells,
            "detections": detections, "suite": suite,
        }  # fmt: skip
        if named := [option for option, value in given.items() if value is not None]:
            raise UserError(f"--{named[0]} is of a record, and {name} is none: give its file, or SUITE/MODEL")
        _show(name, measure, as_json=as_json)
        return
    if measure:
        raise UserError("--measure counts what a model costs, and a record is not built")
    asked = (("images", images), ("maps", maps), ("signals", signals), ("slices", slices))
    sheets = {kind: file for kind, file in asked if file is not None}
    if len(sheets) > 1:
        raise UserError(f"--{' and --'.join(sheets)} draw one sheet each: give one of them")
    if not sheets and (ids is not None or cells is not None):
        raise UserError(
            "--ids and --cells say what is drawn: give --images, --maps, --signals or --slices, the file for it"
        )
    if not 0 <= score <= 1:
        raise UserError(f"--score is from 0 to 1, not {score:g}")
    from robustbench_ms.records.record import read_record

    record = read_record(path)
    if not sheets and detections is None:
        _record(record, places, suite, as_json=as_json)
        return
    from robustbench_ms.evaluation.finished import Finished
    from robustbench_ms.records.suites import suite_of

    finished = Finished(record, places, suite_of(record, suite, places=places))
    told: dict[str, Any] = {}
    for kind, drawn in sheets.items():
        from robustbench_ms.cli.sheets import draw_images, draw_signals, draw_slices

        if kind == "signals":
            told |= draw_signals(finished, drawn, ids, cells)
        elif kind == "slices":
            told |= draw_slices(finished, drawn, ids, cells)
        else:
            told |= draw_images(finished, drawn, ids, cells, score, worst=kind == "maps")
    if detections is not None:
        told["detections"] = []
        for written, count in finished.write_detections(detections):
            told["detections"].append({"path": str(written), "detections": count})
            if not as_json:
                print(f"{written}: {count:,} detections")
        if not as_json and (lost := _not_read(record)):
            print(f"rbms: {lost}", file=sys.stderr)
    if as_json:
        print_json(told)
    else:
        print(*sheets.values(), sep="\n", end="\n" if sheets else "")


def _record_path(name: str, results: Path) -> Path | None:
    """The file of a record, named by it or as SUITE/MODEL; None for another kind of name. UserError where none is."""
    if name.endswith(".correct.npz"):
        raise UserError(
            f"{name} holds the arrays of a record; give the record, {name.removesuffix('.correct.npz')}.json"
        )
    path = Path(name)
    if path.suffix == ".json":
        if not path.is_file():
            near = sorted(p.name for p in path.parent.glob("*.json")) if path.parent.is_dir() else []
            raise UserError(f"{name}: no such record{suggest(path.name, near)}")
        return path
    if "/" not in name or ":" in name or path.suffix == ".toml" or path.exists():
        return None
    path = results / f"{name}.json"
    if not path.is_file():
        known = {str(p.relative_to(results).with_suffix("")) for p in results.glob("*/*.json")}
        raise UserError(f"no record {name!r} in {results}{suggest(name, known)}")
    return path


def _record(record: Record, places: Places, suite: str | None, *, as_json: bool) -> None:
    """Who, what, the cells, and what its data's parts come to where the cache has the cells."""
    from robustbench_ms.catalog.registry import DATASETS
    from robustbench_ms.reports.shown import parts_json, parts_markdown, record_json, record_markdown

    parts, lacking = {}, ""
    dataset = record.suite["protocol"].get("dataset")
    if dataset in DATASETS and (ways := DATASETS[dataset].parts):
        from robustbench_ms.evaluation.finished import Finished
        from robustbench_ms.records.suites import suite_of

        try:
            parts = dict(Finished(record, places, suite_of(record, suite, places=places)).parts())
        except UserError as error:
            lacking = f"by {' and '.join(ways)}: {error}"
    if as_json:
        found = record_json(record)
        print_json({**found, **({"parts": parts_json(parts)} if parts else {})})
        return
    print(record_markdown(record), end="")
    print(parts_markdown(record, parts), end="")
    if lacking:
        print(lacking)


def _not_read(record: Record) -> str:
    """What `-m results:FOLDER` would leave out of a record's detections, by its own threshold and maximum."""
    from robustbench_ms.catalog.find import DETECTED

    output = record.card.get("output") or {}
    least, most = output.get("score") or 0.0, output.get("maximum") or 0
    if least >= (DETECTED.score or 0.0) and most <= DETECTED.maximum:
        return ""
    return (
        f"this card has score = {least:g} and maximum = {most}; -m results:FOLDER has {DETECTED.score:g} and "
        f"{DETECTED.maximum}: to read all of it give a card with these in [output]"
    )


def _show(name: str, measure: bool, *, as_json: bool) -> None:
    from robustbench_ms.corruptions.table import NAMES

    if name in NAMES:
        if measure:
            raise UserError(f"--measure counts what a model costs, and {name} is a corruption")
        _corruption(name, as_json=as_json)
        return
    found = _find(name)
    told = {k: v for k, v in asdict(found).items() if v not in (None, False, "", (), {}) and k != "folder"}
    if isinstance(found, Card) and found.output == Output():
        told.pop("output", None)
    if isinstance(found, Card) and found.input.window is None:
        told["input"] = {k: v for k, v in told["input"].items() if k not in WINDOWS}
    costs = _costs(found, measure)
    if as_json:
        print_json({"kind": type(found).__name__.lower(), **told, **({"costs": costs} if costs else {})})
        return
    print(f"{type(found).__name__} {told.pop('name')}" + (f": {told.pop('about')}" if found.about else ""))
    if isinstance(found, Card) and costs:  # what was published of them stands beside them
        told["published"] = [row for row in told.pop("published", ()) if row["metric"] not in COSTS]
        told["costs"] = list(_cost_lines(costs, found.published))
    for key, value in told.items():
        for line in value if key == "costs" else _lines(key, value):
            print(f"  {line}")


def _corruption(name: str, *, as_json: bool) -> None:
    """Its kind, its protocol's number, and its parameters by profile at severities 1 to 5."""
    from robustbench_ms.corruptions.table import (
        COMMON,
        KINDS,
        PROFILES,
        PROTOCOL,
        SEVERITIES,
        meaning,
        parameters,
    )

    kind = next((kind for kind, names in KINDS.items() if name in names), "extra")
    settings = {p: [parameters(name, p, severity) for severity in SEVERITIES] for p in PROFILES}
    if as_json:
        print_json(
            {
                "kind": "corruption", "name": name, "group": "common" if name in COMMON else "extra",
                "of": kind, "number": PROTOCOL[name], "parameters": meaning(name), "severities": settings,
            }
        )  # fmt: skip
        return
    group = f"common, {kind}" if name in COMMON else "extra, in no mean"
    print(f"Corruption {name}: {group}; protocol number {PROTOCOL[name]}")
    print(f"  {meaning(name)}; at severities {' | '.join(map(str, SEVERITIES))}:")
    for profile, values in settings.items():
        numbers = (value if isinstance(value, tuple) else (value,) for value in values)
        print(f"  {profile:12}  {' | '.join(' '.join(f'{one:g}' for one in some) for some in numbers)}")
    print(f"  rbms corrupt IMAGE --name {name} -o out.png shows it on a picture")


def _costs(found: Suite | Card, measure: bool) -> Mapping[str, Any] | None:
    """What `models.costs` counted: now, or for a shipped card when its file was made; else None."""
    if not isinstance(found, Card):
        if measure:
            raise UserError(f"--measure counts what a model costs, and {found.name} is a suite")
        return None
    if measure:
        from robustbench_ms.subjects.costs import card_costs

        return card_costs(found)
    from robustbench_ms.catalog.find import counted_costs

    return counted_costs(found)


def _cost_lines(costs: Mapping[str, Any], published: Sequence[Published]) -> Iterator[str]:
    blocks = costs["attention"]
    shape = " x ".join(map(str, costs["input"]))
    yield f"costs of one sample of {shape}" + (
        f", and of its {blocks['blocks']} attention blocks:" if blocks["blocks"] else ":"
    )
    if own := blocks.get("own"):
        yield f"  its backbone keeps {own} of its own beside the {blocks['blocks'] - own} that were put in"
    for key, title in COSTS.items():
        whole, part = costs[key], blocks[key]
        share = f"{part:15,} {part / whole:6.1%}" if blocks["blocks"] and whole else ""
        cited = "".join(f"   published {p.value:,.0f}: {p.source}" for p in published if p.metric == key)
        yield f"  {title:36} {whole:15,}{share}{cited}"


def _find(name: str) -> Suite | Card:
    from robustbench_ms.catalog.find import card_names, find_card, find_suite, suite_names
    from robustbench_ms.catalog.table import read_toml
    from robustbench_ms.corruptions.table import NAMES
    from robustbench_ms.errors import UnknownName, suggest

    if name in suite_names():
        return find_suite(name)
    try:
        return find_card(name)
    except UnknownName:
        if "@" in name:
            raise
        raise UnknownName(
            f"no suite, model or corruption named {name!r}{suggest(name, [*suite_names(), *card_names(), *NAMES])}"
        ) from None
    except UserError:
        # A file is taken for what it begins to be, so that its mistake is told and not the other kind's.
        if not name.endswith(".toml") or not read_toml(Path(name)).has("dataset"):
            raise
        return find_suite(name)


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}:", *(f"  {k}: {_word(v)}" for k, v in value.items() if v not in (None, False, ()))]
    if isinstance(value, (list, tuple)) and all(isinstance(row, dict) for row in value):
        rows = [", ".join(f"{k} {_word(v)}" for k, v in row.items() if v is not None) for row in value]
        return [f"{key}:", *(f"  {row}" for row in rows)] if rows else []
    return [f"{key}: {_word(value)}"]


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
