"""What a record's numbers are: the rows and scorers of its task, and the cells that each number needs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from robustbench_ms.catalog.registry import axes_of, measures_of, normaliser_of, rows_of
from robustbench_ms.errors import Incomparable
from robustbench_ms.specs.axes import Axis
from robustbench_ms.specs.metrics import Metric, Rows

if TYPE_CHECKING:
    from robustbench_ms.records.record import Record
    from robustbench_ms.tasks.measure import Scorer

__all__ = ["Quantity", "Terms"]

_MATRIX = ("corruption", "severity")
"""The axes of records that do not say theirs; their summaries need all of the axes' first groups."""
_FEWEST = 5000
"""Images that a number over a normaliser's errors takes, of all classes: so are those errors, of 50,000."""


@dataclass(frozen=True)
class Quantity:
    """One number over cells: a summary, or what is measured over some cells."""

    row: Metric
    """How it is read."""
    of: str
    """The measured metric."""
    how: str
    """See `Summary.how`."""
    beside: tuple[str, ...]
    """The clean cell where it stands beside the others' mean."""
    keys: tuple[str, ...]
    """The cells whose mean is taken."""
    over: str
    """"clean", the group that the cells are, or "" for some cells."""
    normaliser: str | None = None
    ends: tuple[float, float] = (-math.inf, math.inf)
    """The least and the largest value of its measure."""
    least: float = 0.0
    """See `Summary.least`."""
    sign: int = 1
    """1 where more of its measure is better, else -1."""
    unfit: str = ""
    """Of what it has no value, for people, where it is over a normaliser's errors and these are of other images."""

    @property
    def valueless(self) -> str:
        """Where it has no value, for people: "where the clean AP is below 1.0 %"."""
        if self.unfit:
            return self.unfit
        row = self.row
        return (
            f"where the clean {self.of} is below {row.show(self.least)}"
            if self.least
            else "where no answer is right"
        )

    @property
    def cells(self) -> tuple[str, ...]:
        """All that it needs."""
        return (*self.beside, *self.keys)


@dataclass(frozen=True)
class Terms:
    """The terms in which a record is read."""

    rows: Rows
    scorers: Mapping[str, Scorer]
    """By measured metric."""
    axes: tuple[Axis, ...]
    """Of its perturbation, with all the values that they can have; those of its matrix where that is not known here."""
    matrix: Mapping[str, Sequence[Any]]
    groups: Mapping[str, tuple[str, Sequence[Any]]]
    """Group -> its axis and values."""
    dataset: str
    normaliser: str | None
    unfit: str = ""
    """Of numbers over the normaliser's errors, see `Quantity.unfit`."""

    @classmethod
    def of(cls, record: Record) -> Terms:
        """UnknownName where the record's task is not known here."""
        return cls.given(
            record.task, record.suite["protocol"], record.suite.get("matrix"), record.suite.get("groups", {})
        )

    @classmethod
    def given(
        cls,
        task: str,
        protocol: Mapping[str, Any],
        matrix: Mapping[str, Sequence[Any]] | None = None,
        own: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> Terms:
        """Of a task and the fields of a protocol; without a matrix the first groups of corruptions and severities."""
        dataset = str(protocol.get("dataset"))
        axes = axes_of(_MATRIX if matrix is None else matrix)
        if axes is None:
            told = (matrix or {}).items()
            axes = tuple(Axis(name, tuple(values), f"values of {name}") for name, values in told)
        groups = {
            group: (axis.name, values)
            for axis in axes
            for group, values in (*axis.parts.items(), *axis.groups.items())
        }
        if matrix is None:
            matrix = {axis.name: next(iter(axis.groups.values()), axis.values) for axis in axes}
        groups |= {group: (str(one["axis"]), one["values"]) for group, one in own.items()}
        return cls(
            rows_of(task),
            {name: scorer for scorer in measures_of(task) for name in scorer.names},
            axes,
            matrix,
            groups,
            dataset,
            normaliser_of(dataset),
            _unfit(protocol),
        )

    @property
    def untested(self) -> dict[str, str]:
        """Why no gate may test them, of the measured metrics that none may."""
        return {name: scorer.untested for name, scorer in self.scorers.items() if not scorer.tested}

    def keys(self, group: str) -> tuple[str, ...]:
        """The cells of "clean" or of a group, those that the matrix has; () where it has no such group."""
        if group == "clean":
            return ("clean",)
        if group not in self.groups:
            return ()
        axis, values = self.groups[group]
        return _crossed(
            {name: [v for v in known if name != axis or v in values] for name, known in self.matrix.items()}
        )

    @property
    def every(self) -> tuple[str, ...]:
        """All cells of the matrix."""
        return _crossed(self.matrix)

    def counted(self, group: str) -> str:
        """How many cells a group has, for people: "15 corruptions x 5 severities"."""
        found = [dict(part.split("=", 1) for part in key.split(",")) for key in self.keys(group)]
        counted = ((axis, len({cell[axis.name] for cell in found})) for axis in self.axes if found)
        return " x ".join(axis.count(values) for axis, values in counted)

    def lacking(self, group: str) -> list[str]:
        """What of a group, and of the other axes, the matrix lacks, as "corruption=fog"; [] where it has none of it."""
        if not self.keys(group) or group == "clean":
            return []
        name, values = self.groups[group]
        wanted = {axis.name: values if axis.name == name else axis.values for axis in self.axes}
        return [f"{axis}={v}" for axis, known in wanted.items() for v in known if v not in self.matrix[axis]]

    @property
    def partial(self) -> dict[str, str]:
        """Why they have no meaning here, of the summaries that need a whole matrix."""
        found = {}
        for name, row in self.rows.summaries.items():
            if row.whole and (lacking := self.lacking(row.over[-1])):
                more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
                found[name] = (
                    f"{name} is over a whole matrix, and this one lacks {', '.join(lacking[:3])}{more}"
                )
        return found

    def quantity(self, name: str, keys: Sequence[str] = ()) -> Quantity:
        """The number under a name: a summary, or what is measured, over `keys`. UnknownName where there is none.

        Incomparable where it has no meaning on the record's data (mCE off ImageNet) or its part of a matrix.
        """
        if name in self.rows.measured:
            over = "clean" if tuple(keys) == ("clean",) else ""
            row = self.rows[name]
            return Quantity(row, name, "mean", (), tuple(keys), over, ends=(row.low, row.high))
        row = self.rows.summary(name)
        one = self.rows.measured[row.of]
        if self.normaliser is None and (why := self.rows.without_normaliser(name, self.dataset)):
            raise Incomparable(why)
        if row.whole and (why := self.partial.get(name)):
            raise Incomparable(why)
        *beside, over = row.over
        return Quantity(
            row,
            row.of,
            row.how,
            tuple(beside),
            self.keys(over),
            over,
            self.normaliser,
            (one.low, one.high),
            row.least,
            one.sign,
            self.unfit if row.how in {"normalised", "relative"} else "",
        )

    def needs(self, name: str) -> tuple[str, ...]:
        """The cells that a summary needs; () where the matrix has none of a group."""
        found = [self.keys(group) for group in self.rows.summary(name).over]
        return tuple(key for keys in found for key in keys) if all(found) else ()


def _unfit(protocol: Mapping[str, Any]) -> str:
    """Why images are not like those of a normaliser's errors; "" where they are, as far as the protocol says."""
    n, present = protocol.get("n", _FEWEST), protocol.get("classes_present")
    if present is not None:
        return f"on {present:,} of {protocol['classes']:,} classes, where it takes all"
    return f"on {n:,} images, where it takes {_FEWEST:,}" if n < _FEWEST else ""


def _crossed(matrix: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """The keys of all combinations of the axes' values; () of no axis."""
    rows = [[f"{name}={value}" for value in values] for name, values in matrix.items()]
    return tuple(",".join(parts) for parts in itertools.product(*rows)) if rows else ()
