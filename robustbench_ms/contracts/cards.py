"""The contract of a card: what it says of itself, that it is built and answers whatever the batch, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from robustbench_ms.catalog.registry import DATASETS, TASKS, answers_of, index_of, task_of
from robustbench_ms.contracts.findings import Findings
from robustbench_ms.datasets.protocol import Data, DataFacts, Index
from robustbench_ms.datasets.shapes import Images, Layout, Photographs, RaggedImages, Signals, Volumes
from robustbench_ms.errors import Misbehaved, UserError
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.adapting import is_adapted
from robustbench_ms.subjects.asking import ask
from robustbench_ms.subjects.costs import card_costs
from robustbench_ms.subjects.devices import find_device
from robustbench_ms.subjects.fitting import misfit
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.identity import Unwell, identify
from robustbench_ms.subjects.loading import Model, load_model
from robustbench_ms.tasks.protocol import Task

__all__ = ["hold_card"]

CLASSES = 1000
"""What a library's network is built for where nothing says how many classes it has."""

_KINDS: dict[str, type] = {"signals": Signals, "volumes": Volumes}
"""What samples are of which a card says that it is shown them, and no images."""
BY_NUMBER = ("data", "background+data")
"""Label maps of a card that need no names of classes."""


@dataclass(frozen=True)
class _Asked:
    """What a card is asked about."""

    suite: Suite
    task: Task
    index: Index
    facts: DataFacts
    data: Data | None
    """Clean samples; None where none are at hand."""
    made_up: bool = False
    """Nobody said what it is asked about."""


def hold_card(
    find: Findings, card: Card, places: Places, suite: Suite | None = None, device: str | None = "cpu"
) -> None:
    """Hold a card to it; its code is run. It is asked about `suite`, else its recipe's data set, else made images."""
    place = f"card {card.name}"
    _says(find, place, card)
    classes, built = CLASSES, False
    if suite is None and card.input.channels in _KINDS and not _embedded(card):
        find.note(place, f"is not asked: --suite SUITE says which {card.input.channels} it is shown")
        return
    with find.holding(place):
        asked = _asked(card, suite, places)
        classes = asked.index.classes
        for replicate in card.replicates():
            with find.holding(place if replicate.name == card.name else f"card {replicate.name}"):
                _answers(find, f"card {replicate.name}", replicate, asked, places, device)
                built = True
    if built and not is_adapted(card):
        with find.holding(f"{place}: costs"):
            try:
                with Guard(card.name):
                    card_costs(card, classes)
            except Misbehaved as error:
                raise (error.__cause__ or error) from None  # with its line of code
            except UserError as error:
                find.note(place, f"its costs are not counted: {error}")


def _says(find: Findings, place: str, card: Card) -> None:
    """What it says of itself, before anything is run."""
    if card.folder is not None:  # it has a file
        for key, what in (("about", "one sentence for rbms list"), ("source", "where it is from")):
            if not getattr(card, key):
                find.fault(place, f"says no {key}; add {key} = ... ({what})")
        if card.weights and not card.licence:
            find.note(place, "says no licence of its weights")
    if card.input.assumed:
        find.fault(
            place,
            "nobody said what it wants to be shown; add [input] with range, mean, std and size (or --mean, --std)",
        )
    for weights in card.weights:
        if weights.sha256 is None and card.folder is not None:
            find.fault(
                place, f"{weights.file} may be any file of that name; add sha256 = ... (of sha256sum) to it"
            )


def _embedded(card: Card) -> bool:
    """Whether its recipe names a data set that is at hand."""
    named = str(card.recipe.get("dataset", ""))
    return named in DATASETS and DATASETS[named].embedded


def _asked(card: Card, suite: Suite | None, places: Places) -> _Asked:
    """By the suite at hand, by an embedded data set that its recipe names, or by made images."""
    named = str(card.recipe.get("dataset", ""))
    if suite is None and _embedded(card):
        info = DATASETS[named]
        suite = Suite("check", _task_name(card), named, split=info.splits[0], classes=info.classes)
    if suite is not None:
        if answers_of(suite.task) not in card.tasks:
            raise UserError(
                f"does {', '.join(card.tasks)}, and suite {suite.name} asks for {answers_of(suite.task)}"
            )
        task = task_of(suite)
        index = index_of(suite.source(task.wants), places, ())
        if isinstance(index.layout, (Images, RaggedImages)) and DATASETS[suite.dataset].embedded:
            data = index.open(suite.canvas)
            return _Asked(suite, task, index, data.facts, data)
        return _Asked(suite, task, index, _facts(index), None)
    known = DATASETS[named].classes if named in DATASETS else None
    classes = CLASSES if known is None else known
    suite = Suite("check", card.tasks[0], "arrays", classes=classes)
    task = task_of(suite)
    side = card.input.size or 32
    layout: Layout = (
        Images(3, side, side) if Images in task.layouts else RaggedImages(3, np.full((8, 2), max(side, 128)))
    )
    index = Index(np.arange(8), layout, classes, "", _nothing)
    return _Asked(suite, task, index, _facts(index), None, made_up=True)


def _task_name(card: Card) -> str:
    """The task by which a card is asked where no suite says: the one of its samples whose answers it gives."""
    kind = _KINDS.get(card.input.channels)
    for name in TASKS if kind is not None else ():
        if answers_of(name) == card.tasks[0] and kind in task_of(Suite("check", name, "arrays")).layouts:
            return name
    return card.tasks[0]


def _nothing(canvas: object) -> Data:
    raise UserError(f"there are no samples to be shown on canvas {canvas!r}")


def _facts(index: Index) -> DataFacts:
    layout = Images(3, 224, 224) if isinstance(index.layout, Photographs) else index.layout
    return DataFacts(
        len(index.ids),
        index.asked,
        index.ids,
        None,
        index.classes,
        corrupted=False,
        layout=layout,
        names=index.names,
    )


def _answers(
    find: Findings, place: str, card: Card, asked: _Asked, places: Places, device: str | None
) -> None:
    """Build it, load its weights, ask it the probe."""
    canvas = asked.suite.canvas
    where = find_device(device)
    model = load_model(card, asked.index, device=where, places=places, canvas=canvas)
    if "detection" in card.tasks and not asked.facts.names and card.output.labels not in BY_NUMBER:
        find.note(place, "is loaded and not asked: its labels go by name, and --suite SUITE says whose names")
        return
    if "segmentation" in card.tasks and asked.made_up:
        find.note(place, "is loaded and not asked: --suite SUITE says whose classes it labels")
        return
    facts = _own(model, asked)
    model = replace(model, classes=facts.classes)
    if facts.classes != asked.facts.classes:
        find.note(
            place,
            f"answers for {facts.classes} classes; --suite SUITE holds it to those of a suite's data",
        )
    if not card.weights and not card.untrained and model.card.untrained:
        find.fault(
            place,
            "has no weights and is built anew each time; add [[weights]] with file and sha256, or untrained = true",
        )
    try:
        subject = identify(model, asked.task, facts, 8)
    except Unwell as error:
        find.fault(place, f"{error}; a run would stop it")
        return
    for warning in subject.warnings:
        if not (card.untrained and warning in model.warnings):
            find.fault(place, warning)
    if asked.data is not None and not card.untrained and (told := misfit(model, asked.task, asked.data)):
        find.fault(place, told)


def _own(model: Model, asked: _Asked) -> DataFacts:
    """The facts of what it is asked about; where nothing said its classes, as many as it answers for."""
    if not asked.made_up or not model.asked or Images not in asked.task.layouts:
        return asked.facts
    probe = asked.task.probe(asked.facts.layout)
    try:
        shown = replace(probe, samples=probe.samples.to(model.device))
        shape: Sequence[int] = ask(asked.task, replace(model, classes=0), shown).tensor.shape
    except UserError:  # it is told when it is asked the probe
        return asked.facts
    return replace(asked.facts, classes=shape[1]) if len(shape) == 2 else asked.facts
