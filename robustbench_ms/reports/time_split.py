"""Where a record's time went, for people."""

from __future__ import annotations

from robustbench_ms.records.record import Record

__all__ = ["time_split"]

_NEWER = "waiting"
"""The part whose presence says that what models share was divided."""


def time_split(record: Record) -> list[str]:
    """One line, and one of cells that count otherwise; [] where no cell says how long it took.

    "1,234 s: data 12 %, corruption 50 %, ...; what models share is counted to equal parts for each"
    """
    told = [dict(m.seconds) for m in record.measurements if m.seconds]
    newer = [seconds for seconds in told if _NEWER in seconds]
    lines = []
    for cells, how in (
        (newer, "what models share is counted to equal parts for each"),
        (
            [seconds for seconds in told if _NEWER not in seconds],
            "of cells measured before it was divided: what models share is counted whole for each",
        ),
    ):
        total = sum(sum(seconds.values()) for seconds in cells)
        if total > 0:
            parts = dict.fromkeys(part for seconds in cells for part in seconds)
            shares = (f"{part} {sum(s.get(part, 0.0) for s in cells) / total:.0%}" for part in parts)
            lines.append(f"{total:,.1f} s: {', '.join(shares)}; {how}")
    return lines
