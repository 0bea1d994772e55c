"""How numbers are read: what a task measures of a cell, and what is computed over cells; and the costs of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from robustbench_ms.errors import UserError, choose

__all__ = ["COSTS", "SPEED", "ByImages", "Metric", "Rows", "Summary"]

ByImages = tuple[tuple[int, float], ...]
"""(images, value in the stored unit), by rising numbers of images."""


@dataclass(frozen=True)
class Metric:
    """How one number is read."""

    name: str
    label: str
    """The heading of its column."""
    unit: Literal["%", "pp", "nats", ""]
    better: Literal["higher", "lower"]
    digits: int
    """Digits after the point when shown in its unit."""
    about: str
    """What it is; "{over}" stands for the cells of a summary's group, which a reader counts."""
    share: bool = False
    """A part of 1, of which no more than 100 percentage points can be lost."""
    low: float = -math.inf
    """The least value of one sample, and so of a mean, in the stored unit."""
    high: float = math.inf
    """The largest one."""
    any_cell: ByImages = ()
    """What a rule about any cell must tolerate for a model to pass in 95 % that is as good as its reference and answers
    a tenth otherwise."""
    noticed: ByImages = ()
    """By how much more than is tolerated a model with a tenth of its answers changed must lose for a gate to fail it
    mostly: in 80 % of sets or oftener."""
    too_high: str = ""
    """What, by a simulation, is too high on average of few samples and makes this number so; "" where nothing is."""

    @property
    def scale(self) -> float:
        """What the stored number is multiplied by to be shown in its unit: fractions are stored, per cent shown."""
        return 100.0 if self.unit in {"%", "pp"} else 1.0

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return 1 if self.better == "higher" else -1

    @property
    def apart(self) -> str:
        """The unit of a difference of two: percentage points where the number is in per cent."""
        return "pp" if self.unit == "%" else self.unit

    @property
    def title(self) -> str:
        """Its name as a sentence begins with it: "Accuracy"."""
        return self.name.replace("_", " ").capitalize()

    def show(self, value: float, *, half_width: float | None = None) -> str:
        """The number in its unit, with its interval's half width: "91.73 ± 0.54 %"."""
        text = f"{value * self.scale:.{self.digits}f}"
        if half_width is not None:
            text += f" ± {half_width * self.scale:.{self.digits}f}"
        return f"{text} {self.unit}".rstrip()

    def show_apart(self, value: float) -> str:
        """A difference of two such numbers: "0.35 pp"."""
        return f"{value * self.scale:.{self.digits}f} {self.apart}".rstrip()


@dataclass(frozen=True)
class Summary(Metric):
    """A number over cells, computed of what one metric measured in each."""

    of: str = field(kw_only=True)
    """The measured metric."""
    over: tuple[str, ...] = field(kw_only=True)
    """Which cells: "clean", or a group of the perturbation's axes ("common"), or both."""
    how: Literal[
        "mean", "complement", "drop", "ratio", "worst", "normalised", "relative", "weighted", "degradation"
    ] = field(default="mean", kw_only=True)
    """The mean m over the cells; 1 - m; (clean - m) / clean and m / clean, m over the group; the least mean of those
    over the cells of each value of the first axis, or of what is better lower the largest; the mean over the group's
    first axis of the errors' sums, each over a normaliser's; the same of what the errors exceed the clean one by;
    (clean + sum a^s m_s) / (1 + sum a^s), and sum a^s (clean - m_s) / sum a^s, or where less is better its opposite,
    a = 2/3 and m_s the mean over the cells of level s, the value of the last axis (ROOD-MRI's)."""
    least: float = field(default=0.0, kw_only=True)
    """A drop or a ratio has no value where the clean one is below it, or 0."""
    whole: bool = field(default=False, kw_only=True)
    """It has no value where a suite's matrix lacks a part of the group, or of another axis."""


class Rows(Mapping[str, Metric]):
    """The numbers of a task: a mapping of names to rows, the measured ones first.

    The first measured one is that by which cells are told: where something was lost.
    """

    def __init__(
        self, measured: tuple[Metric, ...], summaries: tuple[Summary, ...], sample: str = "image"
    ) -> None:
        self.sample = sample
        """What one sample is called: "window"."""
        self.measured = {row.name: row for row in measured}
        self.summaries = {row.name: row for row in summaries}
        self._rows: dict[str, Metric] = {**self.measured, **self.summaries}
        if not measured or len(self._rows) < len(measured) + len(summaries):
            raise UserError("a task needs measured metrics, and rows of different names")
        for row in summaries:
            choose(row.of, self.measured, "measured metric", f"summary {row.name}")
            beside = row.how in {"drop", "ratio", "relative", "weighted", "degradation"}
            if beside != (len(row.over) > 1 and row.over[0] == "clean"):
                what = "clean and one group" if beside else "clean or one group"
                raise UserError(f"summary {row.name}: its cells are {what}, not {', '.join(row.over)}")

    @property
    def first(self) -> Metric:
        """The metric by which cells are told."""
        return next(iter(self.measured.values()))

    def __getitem__(self, name: str) -> Metric:
        """The row of that name; UnknownName with the nearest if there is none."""
        return self._rows[choose(name, self._rows, "metric")]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def summary(self, name: str) -> Summary:
        """The summary of that name; UnknownName with the nearest if there is none."""
        return self.summaries[choose(name, self.summaries, "summary")]

    def without_normaliser(self, name: str, dataset: str) -> str | None:
        """Why a summary has no value on a data set without a normaliser; None where it needs none."""
        row = self.summaries[name]
        if row.how not in {"normalised", "relative"}:
            return None
        plain = [
            other.name for other in self.summaries.values() if (other.of, other.how) == (row.of, "complement")
        ]
        return f"{name} is over a normaliser's errors and has no meaning on {dataset}" + (
            f"; use {plain[0]}" if plain else ""
        )


SPEED = Metric(
    "images_per_second",
    "images/s x resnet18",
    "",
    "higher",
    3,
    "over torchvision's resnet18 in the same turns",
)
"""What a gate asks of profiles."""

COSTS = {
    "parameters": "parameters",
    "conv_linear_parameters": "of convolutions and linear layers",
    "macs": "multiply-adds, as its equations read",
    "macs_run": "multiply-adds, as it is run",
    "activations": "activations",
}
"""What `models.costs` counts of a network, with a title each; a card may cite them as published."""
