"""What was found of one card, suite or package."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from robustbench_ms.catalog.packages import said
from robustbench_ms.errors import DeviceLost, UserError

__all__ = ["Findings"]


class Findings:
    """Faults, notes, and what was held to the contract; a place stands before each line."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.held: list[str] = []
        """What was looked at: "3 suites"."""

    def fault(self, place: str, told: str) -> None:
        """Something that its author mends."""
        line = f"{place}: {told}"
        if line not in self.faults:
            self.faults.append(line)

    def note(self, place: str, told: str) -> None:
        """What could not be looked at, or is worth knowing."""
        self.notes.append(f"{place}: {told}")

    def take(self, other: Findings) -> None:
        """Those of a part."""
        self.faults += [line for line in other.faults if line not in self.faults]
        self.notes += other.notes

    @contextmanager
    def holding(self, place: str) -> Iterator[None]:
        """Whatever is raised in it becomes a fault: a UserError by its sentence, all else with its line of code."""
        try:
            yield
        except UserError as error:
            self.fault(place, str(error).removeprefix(f"{place}: "))
        except DeviceLost:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's code raises is told
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.fault(place, f"raises {said(error)} ({last.filename}:{last.lineno})")

    @property
    def told(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": self.kind, "name": self.name, "held": self.held, "faults": self.faults, "notes": self.notes,
        }  # fmt: skip
