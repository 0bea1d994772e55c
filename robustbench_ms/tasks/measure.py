"""What measures a cell: scorers, each the names that one computation gives and what is known of it. numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.statistics.intervals import jackknife_stderr
from robustbench_ms.tasks.outcomes import Absent, Outcomes
from robustbench_ms.tasks.scores import mean_with_stderr, poisson_counts

__all__ = [
    "Beside", "Mean", "Measured", "OfSets", "OfSums", "Scorer", "Whole", "cell_values", "jackknife_weights",
    "numbers_of", "of_replicates", "poisson_weights", "replicate_stderr",
]  # fmt: skip

Rows = NDArray[np.int64]
Kind = Literal["mean", "ratio", "set"]
Rule = Literal["jackknife", "poisson"]


@dataclass(frozen=True)
class Measured:
    """One value of a cell."""

    mean: float
    stderr: float
    """nan where one sample, or too few groups, say nothing of it."""
    replicates: NDArray[np.float64] | None = None
    """(R,): the value under each weighting of the samples; None where the measure has none."""
    sums: NDArray[np.float64] | None = None
    """What the value and its interval are made of again; None where the measure keeps no sums."""


class Scorer(Protocol):
    """One computation on a cell's outcomes."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it gives."""

    @property
    def kind(self) -> Kind:
        """A mean of per-sample values, or a function of all samples."""

    @property
    def kept(self) -> Literal["bits", "scores", "replicates", "sums", "nothing"]:
        """What a record keeps beside it. A scorer that keeps sums has what `OfSums` says."""

    @property
    def tested(self) -> bool:
        """Whether a gate may test it."""

    @property
    def untested(self) -> str:
        """Why no gate may test it, for people ("calibration errors have no test"); empty where one may."""

    @property
    def number(self) -> int:
        """Raised by hand when a value changes."""

    @property
    def answers(self) -> bool:
        """Its per-sample values are yes or no."""

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: Rows, groups: Rows | None
    ) -> dict[str, Measured | Absent]:
        """The values of a cell, by name; `ids` and `groups` (n,) name samples and what stands or falls together."""


class OfSums(Protocol):
    """What a scorer that keeps sums makes of them; it gives one metric."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its metric's."""

    @property
    def faultless(self) -> str:
        """The model without any such error, for people ("a model that is as sure and calibrated")."""

    def of_sums(self, sums: NDArray[np.float64]) -> Measured:
        """The value of a cell, of its sums, and its error where each sample stands alone."""

    def interval(self, sums: NDArray[np.float64]) -> tuple[float, float]:
        """The 95 % interval (low, high) of the mean over cells, of sums (cells, ...); it may not hold that mean."""

    def by_chance(self, sums: NDArray[np.float64]) -> float:
        """What a model without any such error shows on average over the cells."""


@dataclass(frozen=True)
class OfSets:
    """What is known of numbers of whole sets of samples with a jackknife of groups, whichever they are."""

    rule: Rule = field(default="jackknife", init=False)
    kind: Literal["set"] = field(default="set", init=False)
    kept: Literal["replicates"] = field(default="replicates", init=False)
    tested: bool = field(default=True, init=False)
    untested: str = field(default="", init=False)
    answers: bool = field(default=False, init=False)
    number: int = 1
    fewest: int = 0
    """Samples below which no gate tests it."""


@dataclass(frozen=True)
class Beside:
    """What is known of numbers that stand beside others: nothing is kept for them, and no gate tests them."""

    kind: Literal["set"] = field(default="set", init=False)
    kept: Literal["nothing"] = field(default="nothing", init=False)
    tested: bool = field(default=False, init=False)
    answers: bool = field(default=False, init=False)
    number: int = 1
    untested: str = "it stands beside another number"


@dataclass(frozen=True)
class Mean:
    """The mean of a column of per-sample values."""

    name: str
    column: str
    """Of the outcomes' table of samples, (n,)."""
    kept: Literal["bits", "scores", "nothing"] = "nothing"
    """A bit a sample and cell; or float16 scores of the clean cell, and averaged over the cells of each group."""
    answers: bool = False
    untested: str = ""
    number: int = 1
    infinite: str = ""
    """Why it has no value where a sample's is infinite ("a label has probability 0"); empty where none may be."""
    lacking: tuple[frozenset[str], str] | None = None
    """The columns of outcomes that are of another kind, without its own, and why it has no value there."""
    arrays: Mapping[str, str] = field(default_factory=dict)
    """Names of its arrays beside a record by what they hold ("bits", "clean", a group), where they are not
    "<name>/<what>"."""

    kind: Kind = field(default="mean", init=False)

    def __post_init__(self) -> None:
        if self.kept == "bits" and not self.answers:
            raise ValueError(f"{self.name} keeps bits, and its values are no answers")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def tested(self) -> bool:
        """Whether a gate may test it."""
        return not self.untested

    def array(self, what: str) -> str:
        """The name beside a record of its array of "bits", or of the scores of "clean" or a group."""
        return self.arrays.get(what, f"{self.name}/{what}")

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: Rows, groups: Rows | None
    ) -> dict[str, Measured | Absent]:
        del truth, ids
        if self.lacking and outcomes.samples.keys() == self.lacking[0]:
            return {self.name: Absent(self.lacking[1])}
        column = outcomes.samples[self.column]
        if self.infinite and (count := int(np.isposinf(column).sum())):
            return {self.name: Absent(f"{self.infinite}, for {count:,} of {column.size:,} images")}
        return {self.name: Measured(*mean_with_stderr(column, groups))}


Values = Callable[
    [Outcomes, Outcomes | None, NDArray[np.float64]], Mapping[str, "NDArray[np.float64] | Absent"]
]
"""The values under R weightings (R, n) of the samples, {name: (R,)}; of ones (1, n): the number itself."""
Counts = Callable[[Outcomes, Outcomes, int], NDArray[np.int64]]
"""Of outcomes and the truth, of so many classes: (classes, classes), rows are labels and columns answers."""
Weights = Callable[[Rows, "Rows | None"], NDArray[np.float64]]
"""The weightings (R, n) of samples by id and, where there are some, group: equal for all records of one protocol."""


@dataclass(frozen=True)
class Whole:
    """A function of all samples: a ratio of sums, or of the set."""

    names: tuple[str, ...]
    values: Values
    weights: Weights
    rule: Rule
    """How its replicates tell its standard error, see `replicate_stderr`."""
    kind: Literal["ratio", "set"] = "set"
    kept: Literal["replicates", "nothing"] = "replicates"
    untested: str = ""
    number: int = 1
    counts: Counts | None = None
    """What else a record keeps of it, whole numbers; None where nothing."""

    answers: bool = field(default=False, init=False)

    @property
    def tested(self) -> bool:
        """Whether a gate may test it."""
        return not self.untested

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: Rows, groups: Rows | None
    ) -> dict[str, Measured | Absent]:
        weights = self.weights(ids, groups)
        one = self.values(outcomes, truth, np.ones((1, len(ids))))
        many = self.values(outcomes, truth, weights) if len(weights) else {}
        found: dict[str, Measured | Absent] = {}
        for name in self.names:
            value, replicates = one[name], many.get(name)
            if isinstance(value, Absent):
                found[name] = value
            elif replicates is None or isinstance(replicates, Absent):
                found[name] = Measured(float(value[0]), math.nan)
            else:
                told = np.asarray(replicates, dtype=np.float64)
                found[name] = Measured(float(value[0]), replicate_stderr(told, self.rule), told)
        return found


def of_replicates(
    one: Mapping[str, NDArray[np.float64]],
    many: Mapping[str, NDArray[np.float64]],
    rule: Rule,
    absent: Callable[[str], Absent],
) -> dict[str, Measured | Absent]:
    """Values (1,) of all samples with those under R weightings (R,), by name.

    One that is nan is absent, and one of which a replicate is nan has no replicates.
    """
    found: dict[str, Measured | Absent] = {}
    for name, value in one.items():
        told = many.get(name, np.empty(0))
        if np.isnan(value[0]):
            found[name] = absent(name)
        elif not told.size or np.isnan(told).any():
            found[name] = Measured(float(value[0]), math.nan)
        else:
            found[name] = Measured(float(value[0]), replicate_stderr(told, rule), told)
    return found


def replicate_stderr(replicates: NDArray[np.floating], rule: Rule) -> float:
    """The standard error that replicates (R,), R >= 2, tell.

    A delete-a-group jackknife's, or of Poisson weights the spread.
    """
    return float(replicates.std(ddof=1)) if rule == "poisson" else jackknife_stderr(replicates)


def cell_values(
    scorers: Sequence[Scorer], outcomes: Outcomes, truth: Outcomes | None, ids: Rows, groups: Rows | None
) -> tuple[dict[str, dict[str, float]], dict[str, str], dict[str, NDArray[np.floating]]]:
    """A cell's {metric: {mean, stderr}}, why others have no value {metric: reason}, and what is kept beside it.

    The last is {"<metric>/replicates": (R,) float32} of those that keep replicates and have some, and
    {"<metric>/sums": float64} of those that keep sums.
    """
    values: dict[str, dict[str, float]] = {}
    absent: dict[str, str] = {}
    kept: dict[str, NDArray[np.floating]] = {}
    for scorer in scorers:
        for name, found in scorer.measure(outcomes, truth, ids, groups).items():
            if isinstance(found, Absent):
                absent[name] = found.reason
                continue
            values[name] = {"mean": found.mean, "stderr": found.stderr}
            if scorer.kept == "replicates" and found.replicates is not None:
                kept[f"{name}/replicates"] = found.replicates.astype(np.float32)
            if scorer.kept == "sums" and found.sums is not None:
                kept[f"{name}/sums"] = found.sums
    return values, absent, kept


def numbers_of(scorers: Sequence[Scorer]) -> dict[str, int]:
    """{metric: the number of its measure}."""
    return {name: scorer.number for scorer in scorers for name in scorer.names}


def jackknife_weights(ids: Rows, groups: Rows | None = None, most: int = 200) -> NDArray[np.float64]:
    """A delete-a-group jackknife: (G, n), 0 for the samples that are left out and 1 for the others.

    What is left out together is a sample or, where `groups` (n,) are given, a group; where there are more than `most`
    of them they are dealt to so many by a hash. (0, n) where there is only one.
    """
    found, which = np.unique(ids if groups is None else groups, return_inverse=True)
    count = min(found.size, most)
    if count < 2:
        return np.ones((0, len(ids)))
    order = np.argsort(_hashes(found), kind="stable")
    dealt = np.empty(found.size, dtype=np.int64)
    dealt[order] = np.arange(found.size) % count
    kept: NDArray[np.bool_] = dealt[which][None, :] != np.arange(count)[:, None]
    return kept.astype(np.float64)


def poisson_weights(ids: Rows, groups: Rows | None = None, resamples: int = 200) -> NDArray[np.float64]:
    """A bootstrap by Poisson(1) counts, (resamples, n): one a sample or, where `groups` are given, a group."""
    found, which = np.unique(ids if groups is None else groups, return_inverse=True)
    seeds = _hashes(found)
    counts = poisson_counts()
    words = np.stack([_hashes(seeds + np.uint64(i)) >> np.uint64(48) for i in range(resamples)])
    return counts[words.astype(np.intp)][:, which].astype(np.float64)


def _hashes(values: NDArray[Any]) -> NDArray[np.uint64]:
    """A word each (k,) of whole numbers, by the mixing of splitmix64."""
    with np.errstate(over="ignore"):
        word = values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return word ^ (word >> np.uint64(31))
