"""What tasks there are; one is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustbench_ms.tasks.protocol import Task

__all__ = ["TASKS", "find_task"]

TASKS = {"classification": "robustbench_ms.tasks.classification:Classification"}


def find_task(name: str) -> Task:
    """The task of that name."""
    module, _, attribute = TASKS[name].partition(":")
    task: Task = getattr(import_module(module), attribute)()
    return task
