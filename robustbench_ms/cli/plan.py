"""rbms plan: what a run would do, before it costs anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_ms.cli.options import (
    Annotations,
    Cache,
    Corruptions,
    Data,
    Json,
    Labels,
    Limit,
    Models,
    On,
    Results,
    Seed,
    White,
    print_json,
)

if TYPE_CHECKING:
    from robustbench_ms.specs.card import Card
    from robustbench_ms.specs.engines import Engine
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.suite import Suite

__all__ = ["command"]

KNOWN = ("robustbench_ms", "timm", "torchvision")
"""Where models come from that every worker has."""


def command(
    suite: Annotated[
        str, typer.Argument(help="A suite, by name or file, or pictures, as `rbms run` takes them.")
    ],
    model: Models = None,
    annotations: Annotations = None,
    corruptions: Corruptions = None,
    labels: Labels = None,
    white: White = None,
    limit: Limit = None,
    seed: Seed = None,
    on: On = None,
    data: Data = None,
    results: Results = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Show the cells and images of a run, and what is measured already."""
    from robustbench_ms.catalog.find import find_card, find_suite, is_folder
    from robustbench_ms.catalog.registry import index_of, rows_of, size_of, task_of
    from robustbench_ms.cli.looking import looking
    from robustbench_ms.evaluation.measured import measured, probably_finished
    from robustbench_ms.gating.limits import noticed, noticed_lines
    from robustbench_ms.specs.canvas import told
    from robustbench_ms.specs.conditions import conditions, key, plan
    from robustbench_ms.specs.engines import Engine
    from robustbench_ms.specs.places import Places

    places = Places.find(data, results, cache)
    with looking() as tell:
        chosen = find_suite(
            suite,
            annotations=annotations,
            corruptions=corruptions,
            labels=labels,
            white=white,
            places=places,
            tell=tell,
        ).limited(limit, seed)
    cards = [find_card(name) for name in model or []]
    size = size_of(chosen.source())
    if size is None and is_folder(suite):  # its pictures were read for its name
        size = len(index_of(chosen.source(task_of(chosen).wants), places, ()).ids)
    keys = [key(condition) for condition in conditions(chosen)]
    engine = None if on is None else Engine.read(on)
    if engine is None:  # else the workers' modules count, not this machine's
        _refuse_absent(cards)
    folder = places.results / chosen.label
    subjects = [subject for card in cards for subject in card.replicates()]
    done = {card.name: measured(card, folder) for card in subjects}
    cached = probably_finished(subjects, chosen, places.cache / "cells")
    cells = list(plan(chosen, cards))
    room = _room(chosen, size)
    if as_json:
        print_json(
            {
                "suite": chosen.label,
                "conditions": keys,
                "cells": len(cells),
                "images_per_cell": size,
                "noticed": noticed(chosen, size),
                "canvas": told(chosen.canvas),
                "canvas_bytes": room,
                "measured": {
                    name: None if found is None else sorted(found & set(keys)) for name, found in done.items()
                },
                "probably_finished": {name: sorted(found) for name, found in cached.items()},
                **({} if engine is None else {"on": _on(engine, chosen, subjects, places)}),
            }
        )
        return
    shown = "an unknown number of" if size is None else f"{size:,}"
    sample = rows_of(chosen.task).sample
    print(f"Suite {chosen.label}: {len(keys)} conditions of {shown} {sample}s" + _matrix(chosen.matrix))
    for line in noticed_lines(chosen, size):
        print(line)
    if chosen.canvas != "stored":
        print(_canvas(chosen.canvas, room, size, len(keys)))
    if not cards:
        print("Name models with -m to see their cells.")
        return
    total = f", {len(cells) * size:,} answers" if size else ""
    print(f"{len(done)} model{'s' * (len(done) > 1)}: {len(cells)} cells{total}")
    for name, found in done.items():
        if found is None:
            print(
                f"  {name}: what is measured is known only when it runs (the card declares no digest of its weights)"
            )
        else:
            more = len(cached[name] - found)
            print(
                f"  {name}: {len(found & set(keys))} of {len(keys)} cells in {_shown(folder)}"
                + (f", {more} more probably finished in the cache" if more else "")
                + ", by the weights' digest"
            )
    if engine is not None:
        shared = _on(engine, chosen, subjects, places)
        print(
            f"On {engine}: {shared['jobs']} jobs, a condition for all models each, for {shared['workers']}."
        )
        print(f"  Each needs {', '.join(shared['needs'])}; suite, cards and weights travel.")


def _refuse_absent(cards: Sequence[Card]) -> None:
    """UserError for a model that nothing is the name of, as far as that is known before it is built."""
    from robustbench_ms.catalog.meant import not_there
    from robustbench_ms.errors import UserError

    for card in cards:
        if why := isinstance(card.build, str) and not_there(card.build):
            raise UserError(f"model {card.name}: {why}")


def _on(engine: Engine, suite: Suite, cards: Sequence[Card], places: Places) -> dict[str, Any]:
    """What an engine's workers would share, how many they are, and what each must have."""
    from robustbench_ms.specs.card import ADAPTERS
    from robustbench_ms.specs.conditions import conditions

    if engine.workers or engine.name == "slurm":
        count = engine.workers or 1
        workers = f"{count} worker{'s' * (count > 1)}"
    else:
        each = f"{engine.cpus} cores" if engine.cpus > 1 else "core"
        workers = f"a worker for each GPU of the cluster, or for each {each}"
    files = ", ".join(suite.files.values()) or "files"
    needs = [
        "this version of robustbench-ms",
        f"the data set {suite.dataset} ({files} in {places.data}, or its RBMS_DATA)",
    ]
    modules = {str(card.build).partition(":")[0] for card in cards if isinstance(card.build, str)}
    own = sorted(name for name in modules if name.partition(".")[0] not in {*KNOWN, *ADAPTERS})
    needs += [f"the module {name}" for name in own]
    if engine.name == "slurm":
        needs.append(f"the folder {places.cache}, which it shares with this machine")
    return {"jobs": len(list(conditions(suite))), "workers": workers, "needs": needs}


def _canvas(canvas: object, room: int | None, size: int | None, conditions: int) -> str:
    pictures = "" if size is None else f"{size * conditions:,} pictures are shown to each model; "
    if canvas == "model":
        return f"{pictures}canvas: each model's own, a file for each that several conditions show"
    kept = "decoded each time" if room is None else f"{room / 1e9:.2f} GB, decoded once and kept"
    return f"{pictures}canvas {canvas}: {kept}"


def _matrix(matrix: object) -> str:
    axes = dict(matrix) if isinstance(matrix, dict) else {}
    return f" ({' x '.join(f'{len(v)} {k}' for k, v in axes.items())}, and clean)" if axes else ""


def _shown(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _room(suite: Suite, size: int | None) -> int | None:
    """Bytes of a suite's decoded canvases, of `size` samples; None where none are kept, or nobody can tell yet."""
    from robustbench_ms.catalog.registry import DATASETS
    from robustbench_ms.specs.canvas import Canvas
    from robustbench_ms.specs.conditions import conditions

    shown_again = len(conditions(suite)) > 1 and not DATASETS[suite.dataset].corrupted
    if size is None or not shown_again or not isinstance(suite.canvas, Canvas):
        return None
    return size * 3 * suite.canvas.crop**2
