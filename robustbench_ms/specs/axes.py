"""The axes of a perturbation: what a suite's matrix is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Axis"]


@dataclass(frozen=True)
class Axis:
    """One axis, with all the values that it can have."""

    name: str
    values: tuple[Any, ...]
    many: str
    """Several of its values, for people: "severities"."""
    groups: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Words that stand for some of its values, over which summaries are taken; a matrix has the first by itself."""
    parts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Further such words, which only readers know: nothing is kept of a part by itself."""

    def count(self, values: int) -> str:
        """So many of its values: "5 severities"."""
        return f"{values} {self.name if values == 1 else self.many}"

    @property
    def example(self) -> str:
        """One of its values as a cell's key has it: "severity=3"."""
        return f"{self.name}={self.values[len(self.values) // 2]}"
