"""Draw a run's events on the terminal: a bar with time left, and what there is to know above it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from robustbench_ms.events import BatchDone, CellDone, CellStarted, Event, Note, Planned, Trouble

__all__ = ["draw"]


def draw(events: Iterable[Event], *, title: str) -> Iterator[Event]:
    """Pass the events on and draw them on standard error; without a terminal, one line every tenth of the way."""
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        TextColumn(title, markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells  {task.fields[key]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    # Two tasks: one counts cells and is shown, one counts answers and tells the time left.
    total = answers = done = tenths = cells = 0
    with bar:
        shown = bar.add_task("cells", total=None, key="loading models")
        for event in events:
            match event:
                case Planned():
                    total, cells = event.answers, event.cells
                    if event.reused:
                        console.print(
                            f"{event.reused} of {event.cells} cells are finished already", markup=False
                        )
                    done = event.reused
                    bar.update(shown, total=event.cells, completed=done)
                case CellStarted():
                    bar.update(shown, key=event.key)
                case BatchDone():
                    answers += event.answers
                    bar.update(shown, completed=done_share(event, cells, done, answers, total))
                    if not console.is_terminal and total and answers * 10 // total > tenths:
                        tenths = answers * 10 // total
                        console.print(f"{title}: {tenths * 10} % ({event.key})", markup=False)
                case CellDone():
                    pass
                case Note():
                    console.print(event.message, markup=False, style="yellow")
                case Trouble():
                    console.print(f"{event.card} was stopped: {event.message}", markup=False, style="red")
            yield event


def done_share(event: BatchDone, cells: int, reused: int, answers: int, total: int) -> float:
    """Finished cells with the part of the present one, so that the time left does not jump from cell to cell."""
    del event
    return reused + (cells - reused) * answers / total if total else cells
