"""The tables of what a suite may name: ours, those registered in this process, and installed packages' entry points.

A row is facts and names of modules ("package.module:name"), so that listing and planning import nothing. A package
announces a row by an entry point in the table's group, whose name is the row's and whose object is the row; it is
imported when a suite names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from robustbench_ms.datasets import DATASETS as OUR_DATASETS
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.errors import UserError, choose

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import DataFacts, Index
    from robustbench_ms.specs.conditions import Condition
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.source import Source
    from robustbench_ms.specs.suite import Suite
    from robustbench_ms.tasks.protocol import Perturbation, Task

__all__ = [
    "DATASETS", "PERTURBATIONS", "TASKS", "PerturbationInfo", "Registry", "TaskInfo", "index_of", "load",
    "perturbation_of", "task_of",
]  # fmt: skip


Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """One table: a mapping of names to rows."""

    def __init__(self, what: str, kinds: str, kind: type[Row], ours: Mapping[str, Row]) -> None:
        self._what, self._kind = what, kind
        self._group = f"robustbench_ms.{kinds}"
        self._ours, self._registered = dict(ours), dict[str, Row]()

    def register(self, name: str, row: Row) -> None:
        """Make a row known in this process. A name of ours is refused; one registered before is replaced."""
        if name in self._ours:
            raise UserError(f"register: {name!r} is a {self._what} of robustbench_ms; choose another name")
        self._registered[name] = row

    @property
    def registered(self) -> Mapping[str, Row]:
        """What was registered in this process."""
        return dict(self._registered)

    def __getitem__(self, name: str) -> Row:
        """The row of that name; UnknownName with the nearest, UserError where a package announces something else."""
        choose(name, self, self._what)
        if name in self._ours or name in self._registered:
            return self._ours.get(name) or self._registered[name]
        (point,) = entry_points(group=self._group, name=name)
        row = point.load()
        if not isinstance(row, self._kind):
            raise UserError(
                f"the {self._what} {name!r} of {point.value} is a {type(row).__name__}, not a {self._kind.__name__}"
            )
        return row

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def __iter__(self) -> Iterator[str]:
        announced = (point.name for point in entry_points(group=self._group))
        return iter(dict.fromkeys([*self._ours, *self._registered, *announced]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class TaskInfo:
    """What can be known of a task without importing it."""

    task: str
    """"package.module:name" of its class, which is made once a suite."""
    options: tuple[str, ...] = ()
    """Further keys that a suite may give it."""


@dataclass(frozen=True)
class PerturbationInfo:
    """What can be known of a perturbation without importing it."""

    axes: tuple[str, ...]
    """A suite whose matrix has these is perturbed by it."""
    target: str
    """"package.module:name" of its class, which is made once a suite and data."""


TASKS = Registry(
    "task",
    "tasks",
    TaskInfo,
    {"classification": TaskInfo(task="robustbench_ms.tasks.classification.task:Classification")},
)
DATASETS = Registry("data set", "datasets", DatasetInfo, OUR_DATASETS)
PERTURBATIONS = Registry(
    "perturbation",
    "perturbations",
    PerturbationInfo,
    {
        "corruptions": PerturbationInfo(
            axes=("corruption", "severity"), target="robustbench_ms.tasks.corrupting:Corruptions"
        )
    },
)


def load(target: str) -> Any:
    """The object at "package.module:name"."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def task_of(suite: Suite) -> Task:
    """The suite's task, made for it."""
    task: Task = load(TASKS[suite.task].task)(suite)
    return task


def index_of(source: Source, places: Places, condition: Condition) -> Index:
    """What is known of a source's data under a condition before any of it is decoded."""
    from robustbench_ms.datasets.protocol import limited

    index: Index = load(DATASETS[source.dataset].target)(source, places, condition)
    return limited(index, source.limit)


def perturbation_of(suite: Suite, facts: DataFacts) -> Perturbation | None:
    """What makes the suite's data worse under its conditions; None where nothing does, or the data are so already."""
    if not suite.matrix or DATASETS[suite.dataset].corrupted:
        return None
    info = next(info for info in PERTURBATIONS.values() if set(info.axes) == set(suite.matrix))
    made: Perturbation = load(info.target)(suite, facts)
    return made
