"""What networks cost, out of profiles: a part a device and setting, which are never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from robustbench_ms.records.profile import Profile, Row
from robustbench_ms.reports.costs import speed_of
from robustbench_ms.reports.profiles import setting, short, with_ends
from robustbench_ms.reports.profiles_page import over, plain_among
from robustbench_ms.statistics.intervals import Interval
from robustbench_ms.statistics.timings import BLOCKS, fewest

__all__ = ["HEAD", "profiled"]

HEAD = (
    "model", "batch", "input", "median, ms", "p90, ms", "p99, ms", "images/s", "x resnet18", "x plain's time", "MB",
    "params, M", "MACs, G",
)  # fmt: skip
_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


class _Part(NamedTuple):
    """What may be compared: one device, one setting, one version of torch."""

    device: str
    setting: str
    threads: int | None
    torch: str


def profiled(profiles: Iterable[Profile]) -> list[dict[str, Any]]:
    """Plain data of each part: its table by input, batch and time, and what its pictures are drawn from."""
    parts: dict[_Part, list[tuple[Profile, Row]]] = {}
    for profile in profiles:
        for row in profile.rows:
            torch = profile.environments[row.environment].torch
            part = _Part(profile.device, setting(row), row.threads, torch)
            parts.setdefault(part, []).append((profile, row))
    return [_part(part, parts[part]) for part in sorted(parts, key=str)]


def _part(part: _Part, found: Sequence[tuple[Profile, Row]]) -> dict[str, Any]:
    timed = [(profile, row) for profile, row in found if row.error is None]
    timed.sort(
        key=lambda one: (
            list(one[0].costs.get("input", ())),
            one[1].batch,
            float(one[1].seconds().mean()),
            one[0].name,
        )
    )
    counts = sorted({row.n for _, row in timed})
    threads = f"{part.threads} {'thread' if part.threads == 1 else 'threads'}"
    return {
        "device": part.device,
        "setting": part.setting + ("" if part.threads is None else f", {threads}"),
        "torch": part.torch,
        "calls": "" if not counts else f"{counts[0]}" + (f" to {counts[-1]}" if counts[1:] else ""),
        "lines": [_line(profile, row, timed) for profile, row in timed],
        "failed": [f"{profile.name}, batch {row.batch}: {row.error}" for profile, row in found if row.error],
        "few": [f"{name} takes {fewest(q)} calls" for name, q in _QUANTILES.items() if _lacks(timed, q)],
        "blocks": BLOCKS,
        "pictures": {"timed": [_point(profile, row) for profile, row in timed]},
    }


def _input(profile: Profile) -> str:
    return " x ".join(map(str, profile.costs.get("input", ()))) or "unknown"


def _lacks(timed: Sequence[tuple[Profile, Row]], q: float) -> bool:
    return any(row.latency(q) is None for _, row in timed)


def _line(profile: Profile, row: Row, timed: Sequence[tuple[Profile, Row]]) -> dict[str, Any]:
    plain = plain_among(profile, [other for other, beside in timed if beside.key == row.key])
    beside = None if plain is None else plain.row(row.key)
    apart = None if beside is None else over(row, beside)
    costs = profile.costs
    texts = (
        str(row.batch),
        _input(profile),
        *(_told(row.latency(q), 1e3) for q in _QUANTILES.values()),
        _told(speed_of(row).interval, 1),
        _told(row.over_yardstick, 1),
        "" if apart is None else _told(apart, 1),
        f"{row.facts['memory'] / 1e6:,.1f}" if "memory" in row.facts else "",
        *(
            f"{costs[key] / scale:,.3f}" if costs else ""
            for key, scale in (("parameters", 1e6), ("macs_run", 1e9))
        ),
    )
    return {"model": profile.name, "texts": texts, "doubts": list(row.doubts)}


def _told(found: Interval | None, scale: float) -> str:
    if found is None:
        return "-"
    return with_ends(found, scale) if found.low == found.low else short(found.mean * scale)


def _point(profile: Profile, row: Row) -> dict[str, Any]:
    times = {name: row.latency(q) for name, q in _QUANTILES.items()}
    speed = speed_of(row).interval
    return {
        "model": profile.name,
        "input": _input(profile),
        "batch": row.batch,
        "images": [speed.mean, speed.low, speed.high],
        "unsteady": "; ".join(row.doubts),
        **{
            name: None if one is None else [1e3 * one.mean, 1e3 * one.low, 1e3 * one.high]
            for name, one in times.items()
        },
    }
