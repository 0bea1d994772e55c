"""Networks whose last bits depend on the number of threads: what of them stands finished under another number."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

from robustbench_ms.errors import BadFile
from robustbench_ms.evaluation.cells import cell_facts
from robustbench_ms.evaluation.events import Event, Note, Probed
from robustbench_ms.evaluation.store import CacheStore
from robustbench_ms.records.record import read_record

__all__ = ["finished_with", "noting"]


def noting(
    events: Generator[Event, None, CacheStore], finished: Callable[[Probed], int | None]
) -> Generator[Event, None, CacheStore]:
    """Pass the events on; after the last model was probed, one note for those that stand `finished` otherwise."""
    found: dict[int, list[Probed]] = {}
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(event, Probed):
            threads = finished(event)
            if threads is not None:
                found.setdefault(threads, []).append(event)
        elif not isinstance(event, Note):
            for threads in sorted(found):
                yield Note(_told(threads, found[threads]))
            found.clear()
        yield event


def _told(threads: int, models: list[Probed]) -> str:
    names = ", ".join(model.card for model in models[:3]) + (
        f" and {len(models) - 3} more" if len(models) > 3 else ""
    )
    return (
        f"{names}: measured before with {threads} thread{'s' * (threads > 1)}, now with {models[0].threads}, which "
        f"changes the last bits of the answers: the cells are measured again; --threads {threads} keeps the old ones"
    )


def finished_with(probed: Probed, protocol: str, cells: Path, record: Path) -> int | None:
    """The other number of CPU threads with which the same weights stand measured, in a record or a cell of a protocol.

    None where there is none, where today's answers have a cell already, and on other devices.
    """
    if probed.threads is None or (cells / f"{protocol}-{probed.cells}.npz").exists():
        return None
    try:
        stands = read_record(record)
    except BadFile:
        pass
    else:
        told = (stands.subject["digest"], (stands.card.get("weights") or {}).get("sha256"))
        threads = stands.environment.threads
        if told[0] != probed.subject and told[1] == probed.weights and threads not in {None, probed.threads}:
            return threads
    for path in sorted(cells.glob(f"{protocol}-*.npz")) if probed.weights else ():
        facts = cell_facts(path)
        if facts and facts.weights == probed.weights and facts.threads not in {None, probed.threads}:
            return facts.threads
    return None
