"""Draw a run's events on the terminal: a bar with time left, and what there is to know above it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from robustbench_ms.evaluation.events import BatchDone, CellsFound, CellStarted, Event, Note, Planned, Trouble

__all__ = ["draw"]


def draw(events: Iterable[Event], *, title: str) -> Iterator[Event]:
    """Pass the events on and draw them on standard error; without a terminal, one line every tenth of the way."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    bar = Progress(
        TextColumn(title, markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total} cells  {task.fields[key]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    answers = tenths = 0
    plan = Planned(0, 0, 0)
    with bar:
        shown = bar.add_task("cells", total=None, key="loading models")
        for event in events:
            match event:
                case Planned():
                    plan = event
                    if plan.reused:
                        console.print(
                            f"{plan.reused} of {plan.cells} cells are finished already", markup=False
                        )
                    bar.update(shown, total=plan.cells, completed=plan.reused)
                case CellsFound():
                    plan = replace(
                        plan,
                        reused=plan.reused + len(event.cards),
                        answers=max(plan.answers - event.answers, 0),
                    )
                case CellStarted():
                    bar.update(shown, key=event.key)
                case BatchDone():
                    answers += event.answers
                    # Cells with the finished part of the present one, so that the time left is steady.
                    done = plan.reused + (plan.cells - plan.reused) * answers / max(plan.answers, 1)
                    bar.update(shown, completed=done)
                    if not console.is_terminal and answers * 10 // max(plan.answers, 1) > tenths:
                        tenths = answers * 10 // max(plan.answers, 1)
                        console.print(f"{title}: {tenths * 10} % ({event.key})", markup=False)
                case Note():
                    console.print(event.message, markup=False, style="yellow")
                case Trouble():
                    console.print(f"{event.card} was stopped: {event.message}", markup=False, style="red")
            yield event
