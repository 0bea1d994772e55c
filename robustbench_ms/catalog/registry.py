"""The tables of what a suite may name: ours, those registered in this process, and installed packages' entry points.

A row is facts and names of modules ("package.module:name"), so that listing and planning import nothing. A package
announces a row by an entry point in the table's group (see `packages`); it is imported when a suite names it. A name of
ours is never a stranger's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from robustbench_ms.catalog.packages import OURS, Announced, announced, only
from robustbench_ms.catalog.targets import load
from robustbench_ms.corruptions.table import COMMON, KINDS, NAMES, PROFILES, SEVERITIES
from robustbench_ms.datasets import DATASETS as OUR_DATASETS
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.datasets.swaps import BACKGROUNDS
from robustbench_ms.datasets.swaps import LEVELS as SWAPS
from robustbench_ms.errors import UserError, choose
from robustbench_ms.faults.pictures.table import PATCHES, SIZES
from robustbench_ms.faults.table import LEVELS, STRENGTHS
from robustbench_ms.faults.table import NAMES as FAULTS
from robustbench_ms.faults.volumes.table import NAMES as ARTEFACTS
from robustbench_ms.specs.axes import Axis
from robustbench_ms.specs.card import ADAPTERS
from robustbench_ms.specs.metrics import Rows

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import DataFacts, Index
    from robustbench_ms.specs.conditions import Condition
    from robustbench_ms.specs.places import Places
    from robustbench_ms.specs.source import Source
    from robustbench_ms.specs.suite import Suite
    from robustbench_ms.tasks.measure import Scorer
    from robustbench_ms.tasks.protocol import Perturbation, Task

__all__ = [
    "DATASETS", "PERTURBATIONS", "TASKS", "PerturbationInfo", "Registry", "TaskInfo", "adapter_names", "answers_of",
    "axes_of", "check_places", "index_of", "is_target", "measures_of", "normaliser_of",
    "perturbation_info", "perturbation_of", "perturbations", "rows_of", "size_of", "task_of",
]  # fmt: skip


Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """One table: a mapping of names to rows."""

    def __init__(
        self,
        what: str,
        kinds: str,
        kind: type[Row],
        ours: Mapping[str, Row],
        taken: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`taken` says of further names that no package may have them, as they mean something else."""
        self._what, self._kind = what, kind
        self._group, self._taken = kinds, taken
        self._ours, self._registered = dict(ours), dict[str, Row]()

    def register(self, name: str, row: Row) -> None:
        """Make a row known in this process. A name of ours is refused; one registered before is replaced."""
        if name in self._ours:
            raise UserError(f"register: {name!r} is a {self._what} of {OURS}; choose another name")
        self._registered[name] = row

    @property
    def ours(self) -> Mapping[str, Row]:
        """What comes with this package."""
        return dict(self._ours)

    @property
    def registered(self) -> Mapping[str, Row]:
        """What was registered in this process."""
        return dict(self._registered)

    def __getitem__(self, name: str) -> Row:
        """The row of that name; UnknownName with the nearest, UserError where a package announces something else."""
        if name in self._ours or name in self._registered:  # entry points are asked for the others alone
            return self._ours.get(name) or self._registered[name]
        choose(name, self, self._what)
        return self._row(only(self._told(name), announced(self._group)[name]))

    def _told(self, name: str) -> str:
        return f"the {self._what} {name!r}"

    def _row(self, one: Announced) -> Row:
        told = self._told(one.point.name)
        row = one.load(told)
        if not isinstance(row, self._kind):
            found = f"{told} of {one.distribution} ({one.point.value}) is a {type(row).__name__}"
            raise UserError(f"{found}, not a {self._kind.__name__}")
        return row

    def strangers(self, distribution: str | None = None) -> Iterator[tuple[Announced, Row | UserError]]:
        """Every row that packages announce, or that one does, or why it cannot be used; imports these."""
        for found in announced(self._group).values():
            for one in found:
                if distribution in {None, one.distribution}:
                    try:
                        yield one, self._allowed(one, found)
                    except UserError as error:
                        yield one, error

    def _allowed(self, one: Announced, found: tuple[Announced, ...]) -> Row:
        name = one.point.name
        if name in self._ours or self._taken(name):
            told = f"{self._told(name)} of {one.distribution}"
            raise UserError(f"{told} is refused: {OURS} has one of that name; choose another")
        only(self._told(name), found)
        return self._row(one)

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def __iter__(self) -> Iterator[str]:
        theirs = (name for name in announced(self._group) if not self._taken(name))
        return iter(dict.fromkeys([*self._ours, *self._registered, *theirs]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class TaskInfo:
    """What can be known of a task without importing it."""

    task: str
    """"package.module:name" of its class, which is made once a suite."""
    rows: str
    """"package.module:name" of its `Rows`: the numbers that it measures, and those over cells; imports specs alone."""
    measures: str
    """"package.module:name" of its scorers, a tuple; imports no torch."""
    options: tuple[str, ...] = ()
    """Further keys that a suite may give it."""
    answers: str = ""
    """The task that cards name whose models can be asked: another that takes the same answers; "" is its own name."""
    drawing: str | None = None
    """"package.module:name" of how its answers are drawn, a `tasks.protocol.Drawing`; None where they are not."""


@dataclass(frozen=True)
class PerturbationInfo:
    """What can be known of a perturbation without importing it."""

    axes: tuple[Axis, ...]
    """A suite whose matrix has these is perturbed by it."""
    target: str
    """"package.module:name" of its class, which is made once a suite and data."""
    profiles: tuple[str, ...] = ()
    """Whose protocols it follows, of which a suite names one; empty where there is but its own."""


TASKS = Registry(
    "task",
    "tasks",
    TaskInfo,
    {
        "classification": TaskInfo(
            task="robustbench_ms.tasks.classification.task:Classification",
            rows="robustbench_ms.tasks.classification.rows:ROWS",
            measures="robustbench_ms.tasks.classification.measures:SCORERS",
            options=("subset",),
            drawing="robustbench_ms.tasks.classification.drawing:DRAWING",
        ),
        "activity": TaskInfo(
            task="robustbench_ms.tasks.activity.task:Activity",
            rows="robustbench_ms.tasks.activity.rows:ROWS",
            measures="robustbench_ms.tasks.activity.measures:SCORERS",
            answers="classification",
        ),
        "scans": TaskInfo(
            task="robustbench_ms.tasks.scans.task:Scans",
            rows="robustbench_ms.tasks.scans.rows:ROWS",
            measures="robustbench_ms.tasks.activity.measures:SCORERS",
            answers="classification",
        ),
        "detection": TaskInfo(
            task="robustbench_ms.tasks.detection.task:Detection",
            rows="robustbench_ms.tasks.detection.rows:ROWS",
            measures="robustbench_ms.tasks.detection.measures:SCORERS",
            options=("iou",),
            drawing="robustbench_ms.tasks.detection.drawing:DRAWING",
        ),
        "detection-visdrone": TaskInfo(
            task="robustbench_ms.tasks.detection.task:Detection",
            rows="robustbench_ms.tasks.detection.rows:VISDRONE_ROWS",
            measures="robustbench_ms.tasks.detection.visdrone_metric:SCORERS",
            answers="detection",
            drawing="robustbench_ms.tasks.detection.drawing:DRAWING",
        ),
        "segmentation": TaskInfo(
            task="robustbench_ms.tasks.segmentation.task:Segmentation",
            rows="robustbench_ms.tasks.segmentation.rows:ROWS",
            measures="robustbench_ms.tasks.segmentation.measures:SCORERS",
            drawing="robustbench_ms.tasks.segmentation.drawing:DRAWING",
        ),
        "volume-segmentation": TaskInfo(
            task="robustbench_ms.tasks.voxels.task:Voxels",
            rows="robustbench_ms.tasks.voxels.rows:ROWS",
            measures="robustbench_ms.tasks.voxels.measures:SCORERS",
            answers="segmentation",
        ),
        "localisation": TaskInfo(
            task="robustbench_ms.tasks.localisation.task:Localisation",
            rows="robustbench_ms.tasks.localisation.rows:ROWS",
            measures="robustbench_ms.tasks.localisation.measures:SCORERS",
            options=("cam", "pairs"),
            answers="classification",
            drawing="robustbench_ms.tasks.localisation.drawing:DRAWING",
        ),
    },
)
DATASETS = Registry("data set", "datasets", DatasetInfo, OUR_DATASETS)
PERTURBATIONS = Registry(
    "perturbation",
    "perturbations",
    PerturbationInfo,
    {
        "corruptions": PerturbationInfo(
            axes=(
                Axis("corruption", NAMES, "corruptions", {"common": COMMON, "all": NAMES}, KINDS),
                Axis("severity", SEVERITIES, "severities"),
            ),
            profiles=PROFILES,
            target="robustbench_ms.tasks.corrupting:Corruptions",
        ),
        "faults": PerturbationInfo(
            axes=(
                Axis("fault", tuple(STRENGTHS), "faults", {"common": FAULTS, "all": tuple(STRENGTHS)}),
                Axis("level", LEVELS, "levels"),
            ),
            target="robustbench_ms.tasks.faulting:Faults",
        ),
        "artefacts": PerturbationInfo(
            axes=(
                Axis("artefact", ARTEFACTS, "artefacts", {"common": ARTEFACTS}),
                Axis("level", LEVELS, "levels"),
            ),
            target="robustbench_ms.tasks.scanning:Artefacts",
        ),
        "occlusions": PerturbationInfo(
            axes=(Axis("patch", PATCHES, "patches", {"common": PATCHES}), Axis("size", SIZES, "sizes")),
            target="robustbench_ms.tasks.occluding:Occlusions",
        ),
        "swaps": PerturbationInfo(
            axes=(
                Axis("background", BACKGROUNDS, "backgrounds", {"common": BACKGROUNDS}),
                Axis("level", SWAPS, "levels"),
            ),
            target="robustbench_ms.tasks.swapping:Backgrounds",
        ),
    },
)


def task_of(suite: Suite) -> Task:
    """The suite's task, made for it."""
    task: Task = load(TASKS[suite.task].task)(suite)
    return task


def answers_of(task: str) -> str:
    """What a card calls the task whose models answer this one."""
    return TASKS[task].answers or task


def rows_of(task: str) -> Rows:
    """The numbers of a task; UserError where its row names something else."""
    rows = load(TASKS[task].rows)
    if not isinstance(rows, Rows):
        raise UserError(f"the rows of the task {task!r} are a {type(rows).__name__}, not Rows")
    return rows


def measures_of(task: str) -> tuple[Scorer, ...]:
    """What measures a cell of a task; UserError where its scorers give other names than its rows have."""
    scorers: tuple[Scorer, ...] = tuple(load(TASKS[task].measures))
    given, wanted = [name for scorer in scorers for name in scorer.names], rows_of(task).measured
    if sorted(given) != sorted(wanted):
        apart = ", ".join(sorted({*given} ^ {*wanted})) or "one of them twice"
        raise UserError(f"the task {task!r}: its rows and its measures are not of the same names ({apart})")
    return scorers


def axes_of(names: Iterable[str]) -> tuple[Axis, ...] | None:
    """The axes of the perturbation that has these, no more and no fewer; None where none has."""
    info = perturbation_info(names)
    return None if info is None else info.axes


def perturbation_info(names: Iterable[str]) -> PerturbationInfo | None:
    """The perturbation that has these axes, no more and no fewer; None where none has."""
    wanted = set(names)
    return next((info for info in perturbations() if {axis.name for axis in info.axes} == wanted), None)


def perturbations(unusable: list[str] | None = None) -> Iterator[PerturbationInfo]:
    """All perturbations that can be used, ours first; strangers' are imported when they are reached.

    Why others cannot goes to `unusable`: they harm nobody.
    """
    for name in PERTURBATIONS:
        try:
            yield PERTURBATIONS[name]
        except UserError as error:
            if unusable is not None:
                unusable.append(str(error))


def adapter_names() -> tuple[str, ...]:
    """First words of build targets that are files, ours and those that packages announce."""
    return tuple(dict.fromkeys([*ADAPTERS, *(name for name in announced("adapters") if not is_target(name))]))


def is_target(word: str) -> bool:
    """Whether a build target's first word is a library's or a module's: no adapter has such a name."""
    return word in {"timm", "torchvision"} or "." in word


def normaliser_of(dataset: str) -> str | None:
    """Whose errors normalise mCE on a data set; None where nobody's are known, or the data set is not."""
    return DATASETS[dataset].normaliser if dataset in DATASETS else None


def check_places(places: Places) -> None:
    """UserError where a place was said of a data set that is not known, or is no set of picture files."""
    for name in places.named:
        if not DATASETS[choose(name, DATASETS, "data set", "--data")].photographs:
            raise UserError(
                f"--data {name}=...: only sets of pictures have a place of their own; --data FOLDER is for all"
            )


def index_of(source: Source, places: Places, condition: Condition) -> Index:
    """What is known of a source's data under a condition before any of it is decoded."""
    from robustbench_ms.datasets.protocol import limited

    index: Index = load(DATASETS[source.dataset].target)(source, places, condition)
    return limited(index, source.limit)


def size_of(source: Source) -> int | None:
    """Samples that a source shows; None where only its data can tell."""
    info = DATASETS[source.dataset]
    chosen = None if info.counter is None else load(info.counter)(source)
    size: int | None = info.size(source.split) if chosen is None else chosen
    return min(source.limit, size) if source.limit and size else size


def perturbation_of(suite: Suite, facts: DataFacts) -> Perturbation | None:
    """What makes the suite's data worse under its conditions; None where nothing does, or the data are so already."""
    if not suite.matrix or DATASETS[suite.dataset].corrupted:
        return None
    info = perturbation_info(suite.matrix)
    if info is None:
        raise UserError(f"suite {suite.name}: no perturbation has the axes {' and '.join(suite.matrix)}")
    made: Perturbation = load(info.target)(suite, facts)
    return made
