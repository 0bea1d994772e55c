"""The contract of a suite: that it reads, that all it names is there, and that its data are those that it pins."""

from __future__ import annotations

from dataclasses import replace

from robustbench_ms.catalog.registry import (
    DATASETS,
    TASKS,
    axes_of,
    index_of,
    perturbation_info,
    perturbation_of,
    task_of,
)
from robustbench_ms.catalog.targets import load
from robustbench_ms.contracts.findings import Findings
from robustbench_ms.datasets.located import found_in
from robustbench_ms.datasets.protocol import MAP, DataFacts, Index
from robustbench_ms.datasets.shapes import Images, Photographs
from robustbench_ms.errors import UserError
from robustbench_ms.gating.run import rules_of
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.conditions import conditions
from robustbench_ms.specs.metrics import Summary
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["hold_suite"]


def hold_suite(find: Findings, suite: Suite, places: Places) -> None:
    """Hold a suite that was read to it; no model is asked, and no code is run but of its task and its data set."""
    place = f"suite {suite.name}"
    if not suite.about:
        find.fault(place, 'says nothing about itself; add about = "one sentence"')
    info, task = DATASETS[suite.dataset], TASKS[suite.task]
    wants: tuple[str, ...] = ()
    with find.holding(f"{place}: task {suite.task}"):
        load(task.measures)
        wants = task_of(suite).wants
    # A task's own words are those of data that are made for it.
    lacking = [
        want
        for want in wants
        if want in {"label", "boxes", "masks", "shapes", "map"} and want not in info.gives
    ]
    if lacking:
        gives = ", ".join(info.gives)
        find.fault(
            place, f"its task wants {', '.join(lacking)} of a sample, and {suite.dataset} gives {gives}"
        )
    with find.holding(f"{place}: data set {suite.dataset}"):
        load(info.target)
        if info.counter is not None:
            load(info.counter)
    if suite.matrix and not info.corrupted and (perturbation := perturbation_info(suite.matrix)) is not None:
        with find.holding(f"{place}: perturbation"):
            load(perturbation.target)
    if suite.gate:
        with find.holding(place):
            rules_of(suite)
    _summaries(find, place, suite)
    _pins(find, place, suite, places)


def _summaries(find: Findings, place: str, suite: Suite) -> None:
    """Whether each column of its tables has cells."""
    groups = {"clean"} if suite.also else set()
    groups |= {name for axis in axes_of(suite.matrix) or () for name in axis.groups}
    with find.holding(place):
        for name in suite.summary:
            row = load(TASKS[suite.task].rows)[name]
            if isinstance(row, Summary) and (lost := [over for over in row.over if over not in groups]):
                find.fault(place, f"summary: {name} is over {lost[0]} cells, and its matrix has none")


def _pins(find: Findings, place: str, suite: Suite, places: Places) -> None:
    """Whether the data are there, and those that are meant."""
    info = DATASETS[suite.dataset]
    here = info.embedded or suite.files or found_in(suite.dataset, places) is not None
    if not here:  # some data sets would be downloaded otherwise
        find.note(place, f"its data are not in {places.data}, so that they were not opened")
        return
    if suite.files and not suite.sha256:
        find.note(
            place, 'pins no digests; [sha256] images = "..." and labels = "..." say which arrays are meant'
        )
    condition = next((c for c in conditions(suite) if c or not info.corrupted), ())
    source = suite.source(())
    with find.holding(place):
        source = suite.source(task_of(suite).wants)
    try:
        _open(suite, index_of(replace(source, sha256={}), places, condition))
    except UserError as error:
        find.note(place, f"its data could not be opened: {error}")
        return
    with find.holding(place):
        index = index_of(source, places, condition)
        _open(suite, index)
        _perturb(suite, index, (MAP,) if "map" in source.wants else ())


def _open(suite: Suite, index: Index) -> None:
    """Pictures are not decoded: they are many."""
    if isinstance(index.layout, Images):
        index.open(suite.canvas)


def _perturb(suite: Suite, index: Index, maps: tuple[str, ...]) -> None:
    """UserError for what the suite's perturbation cannot do with such data; nothing is made worse yet."""
    layout = index.layout
    if isinstance(layout, Photographs):
        if not isinstance(suite.canvas, Canvas):
            return  # each model has one of its own
        layout = Images(layout.channels, suite.canvas.crop, suite.canvas.crop)
    facts = DataFacts(
        len(index.ids), index.asked, index.ids, index.groups, index.classes, corrupted=False, layout=layout,
        names=index.names, maps=maps,
    )  # fmt: skip
    if (perturbation := perturbation_of(suite, facts)) is not None:
        for one in filter(None, conditions(suite)):
            perturbation.check(one)
