"""A model's answers: the one way to them."""

from __future__ import annotations

from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.loading import Model
from robustbench_ms.subjects.watching import WATCH
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.protocol import Task

__all__ = ["ask"]


def ask(task: Task, model: Model, batch: Batch, what: str = "the probe") -> Answers:
    """Its answers, copied, as a model may answer with the same memory again; `what` names what it is asked.

    UserError for answers of no use; Misbehaved, see `Guard`.
    """
    name = model.card.name
    with Guard(name), WATCH.over(name, what):
        return task.ask(model, batch).copied()
