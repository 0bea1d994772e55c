"""What every data set opens to: first an index, which decodes nothing, then data that give batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.shapes import Images, Layout, Photographs, RaggedVolumes, Rows, Signals, Volumes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustbench_ms.specs.canvas import Canvas
    from robustbench_ms.specs.conditions import Condition

__all__ = [
    "IGNORED",
    "MAP",
    "Batch",
    "Data",
    "DataFacts",
    "Index",
    "Progress",
    "Tell",
    "exhausted",
    "limited",
    "rows_of_one_shape",
]

MAP = "class"
"""The name of a batch's map of classes, whole numbers (k, H, W)."""
IGNORED = 255
"""What that map says where nobody is asked, and nothing is learnt."""


@dataclass(frozen=True)
class Progress:
    """How far the opening of data is."""

    what: str
    done: int = 0
    total: int = 0
    """0 where nothing is counted, and `what` is for people to know."""


Tell = Callable[[str, int, int], None]
"""Who is told how far the opening of data is: what, done, total, as Progress has them."""


@dataclass(frozen=True)
class DataFacts:
    """What is known of opened data."""

    n: int
    digest: str
    """Of the bytes of the whole split under this condition, what is asked about the samples among them."""
    ids: Rows
    groups: NDArray[np.int64] | None
    """Which samples stand or fall together (a subject, a sequence), (n,); None where each stands alone."""
    classes: int
    corrupted: bool
    """They are corrupted already, as published."""
    layout: Layout
    names: tuple[str, ...] = ()
    """What its classes are called, where a task's models go by it; () where nobody asks."""
    notes: tuple[str, ...] = ()
    """What was mended or decided in reading them, a sentence each; a run tells it."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the protocol, only such as say something: how files were decoded, which were skipped."""
    present: int | None = None
    """How many of its classes any sample has; None where all have some, or nobody counted."""
    maps: tuple[str, ...] = ()
    """The names of its batches' label maps."""
    runs: NDArray[np.int64] | None = None
    """Which samples follow each other so closely that they are alike (a stretch of one activity), (n,)."""


@dataclass(frozen=True)
class Batch:
    """Some samples, shown to every card."""

    samples: Tensor
    """For images uint8 (k, C, H, W), for signals float32 (k, C, T), for volumes float32 (k, C, D, H, W),
    on the device."""
    targets: Any
    """What is asked about them: a tensor (k, ...), or a list of one thing a sample."""
    ids: Rows
    rows: Rows
    """Their places in the data set, as it is limited."""
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """Label maps on the samples' own grid, (k, H, W) each, of volumes (k, D, H, W)."""
    condition: Condition = ()

    def __len__(self) -> int:
        """Samples."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> Batch:
        """Samples start..stop of the batch."""
        cut = slice(start, stop)
        return replace(
            self,
            samples=self.samples[cut],
            targets=self.targets[cut],
            ids=self.ids[cut],
            rows=self.rows[cut],
            maps={name: values[cut] for name, values in self.maps.items()},
        )


class Data(Protocol):
    """Samples under one condition."""

    @property
    def facts(self) -> DataFacts: ...

    def batches(self, size: int) -> Iterator[Rows]:
        """All rows, in helpings of one shape of some `size` numbers (`layout.values` of one sample), one at least."""

    def load(self, rows: Rows, device: torch.device) -> Batch:
        """Any rows of one shape, in any order, uncorrupted unless the data are."""


Broken = tuple[int, str, str]
"""Id, name and fault of a picture that cannot be decoded."""


class Opens(Protocol):
    """How data are opened that take a while: of all rows, or of some of them."""

    def __call__(
        self, canvas: str | Canvas, keep: Path | None, rows: Rows | None = None
    ) -> Generator[Progress, None, Data]: ...


@dataclass(frozen=True)
class Index:
    """What is known of data before any of it is decoded; models are built from it."""

    ids: Rows
    """(n,), int64: they key the randomness and name a sample for good."""
    layout: Layout | Photographs
    """As it is stored."""
    classes: int
    asked: str
    """Digest of what is asked about the samples (their labels): equal for all conditions of one data set."""
    opener: Callable[[Any], Data]
    """The data on a canvas, digested."""
    groups: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    """What its classes are called, where a task's models go by it; () where nobody asks."""
    category_ids: tuple[int, ...] = ()
    """The numbers that files of detections have for its classes, where they are not 0, 1, ..."""
    parts: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    """Ways in which readers part the samples, {"ground": (n,) which each is of}; no part of what is asked."""

    opens: Opens | None = None
    """Of data that take a while to open, or have canvases, in place of `opener`."""
    notes: tuple[str, ...] = ()
    """What was decided in listing them, a sentence each; a run tells it."""
    broken: Callable[[Rows], list[Broken]] | None = None
    """Of picture files: decodes those rows, whatever they are shown as, and names the ones that cannot be."""

    def opening(self, canvas: str | Canvas, keep: Path | None = None) -> Generator[Progress, None, Data]:
        """The data on a canvas, and how far that is.

        "stored" is as the data set has them. `keep` is the folder where decoded canvases are kept; None decodes them
        each time.
        """
        if self.opens is not None:
            return (yield from self.opens(canvas, keep))
        return self.opener(canvas)

    def open(self, canvas: str | Canvas, keep: Path | None = None, tell: Tell | None = None) -> Data:
        """The same at once."""
        return exhausted(self.opening(canvas, keep), tell)


def exhausted(steps: Generator[Progress, None, Data], tell: Tell | None = None) -> Data:
    """What comes out of opening data; how far it is goes to `tell`."""
    while True:
        try:
            step = next(steps)
            if tell is not None:
                tell(step.what, step.done, step.total)
        except StopIteration as end:
            data: Data = end.value
            return data


def limited(index: Index, limit: int | None) -> Index:
    """A fixed subset of `limit` samples, keyed by their ids alone, in the order of the split."""
    if limit is None or limit >= len(index.ids):
        return index
    rows = np.sort(_ranked(index.ids.tobytes())[:limit])
    broken = index.broken
    return replace(
        index,
        ids=index.ids[rows],
        layout=index.layout.part(rows),
        groups=None if index.groups is None else index.groups[rows],
        parts={name: values[rows] for name, values in index.parts.items()},
        opener=lambda canvas: _Chosen(index.open(canvas), rows),
        opens=None if index.opens is None else partial(index.opens, rows=rows),
        broken=None if broken is None else lambda some: broken(rows[some]),
    )


class _Chosen:
    """Some rows of data, in their order."""

    def __init__(self, data: Data, rows: Rows) -> None:
        self._data, self._rows = data, rows
        whole = data.facts
        self.facts = replace(
            whole,
            n=len(rows),
            ids=whole.ids[rows],
            groups=None if whole.groups is None else whole.groups[rows],
            runs=None if whole.runs is None else whole.runs[rows],
            layout=whole.layout.part(rows),
        )

    def batches(self, size: int) -> Iterator[Rows]:
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: Rows, device: torch.device) -> Batch:
        return replace(self._data.load(self._rows[rows], device), rows=rows)


def rows_of_one_shape(facts: DataFacts, size: int) -> Iterator[Rows]:
    """`Data.batches`: in the order of the split, and of ragged samples one size after the other."""
    layout = facts.layout
    if isinstance(layout, (Images, Signals, Volumes)):
        kinds = [(np.arange(facts.n), layout.values)]
    else:
        each = layout.shapes if isinstance(layout, RaggedVolumes) else layout.sizes
        sizes, which = np.unique(each, axis=0, return_inverse=True)
        kinds = [
            (np.flatnonzero(which.ravel() == i), int(layout.channels * size.prod()))
            for i, size in enumerate(sizes)
        ]
    for rows, values in kinds:
        step = max(1, size // values)
        for start in range(0, len(rows), step):
            yield rows[start : start + step]


@lru_cache(maxsize=4)  # a data set is opened once a condition, with the same ids
def _ranked(ids: bytes) -> Rows:
    """The rows of int64 ids in the order in which limits take them."""
    # A hash of the id, so that a smaller limit is a subset of a larger one and order plays no part.
    rank = [
        int.from_bytes(hashlib.sha256(b"limit %d" % i).digest()[:8]) for i in np.frombuffer(ids, np.int64)
    ]
    return np.argsort(np.array(rank, dtype=np.uint64), kind="stable")
