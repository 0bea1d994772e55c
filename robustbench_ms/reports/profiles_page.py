"""Committed profiles as a page: what each network costs, and its time over that of its plain one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from robustbench_ms.records.profile import Profile, Row
from robustbench_ms.reports.markdown import escape, grid
from robustbench_ms.reports.profiles import setting
from robustbench_ms.statistics.intervals import Interval, t_quantile
from robustbench_ms.statistics.timings import ratio, slower

__all__ = ["over", "plain_among", "profiles_page"]

_HEAD = ["model", "params, M", "MACs, G", "activations, M", "MB", "ms", "x plain's time", "plain"]


def profiles_page(profiles: Iterable[Profile]) -> str:
    """One table for each device and setting, the plain networks first."""
    found = list(profiles)
    parts = [
        "# Profiles",
        "Made from the profiles beside it by `make profiles`; nothing of it holds on another device.",
    ]
    for device in dict.fromkeys(one.device for one in found):
        here = [one for one in found if one.device == device]
        parts.append(f"## {escape(device)}")
        keys = sorted({row.key for one in here for row in one.rows}, key=str)
        parts += [_table(here, key) for key in keys]
    return "\n\n".join(parts) + "\n"


def _table(profiles: Sequence[Profile], key: tuple[object, ...]) -> str:
    rows = [(one, row) for one in profiles if (row := one.row(key)) is not None and row.error is None]
    if not rows:
        return ""
    rows.sort(
        key=lambda pair: (
            pair[0].costs.get("input", []),
            _network(pair[0]),
            _attention(pair[0]),
            pair[0].name,
        )
    )
    lines, told = [_HEAD], []
    for profile, row in rows:
        plain = plain_among(profile, [other for other, _ in rows])
        beside = None if plain is None else plain.row(key)
        apart = None if beside is None else over(row, beside)
        costs = profile.costs
        lines.append(
            [
                escape(profile.name) + ("*" if row.doubts else ""),
                *(
                    f"{costs[name] / scale:,.3f}" if costs else ""
                    for name, scale in (("parameters", 1e6), ("macs_run", 1e9), ("activations", 1e6))
                ),
                f"{row.facts['memory'] / 1e6:,.1f}" if "memory" in row.facts else "-",
                f"{1e3 * float(row.seconds().mean()):.4g}",
                "" if apart is None else f"{apart.mean:.3f} ({apart.low:.3f}-{apart.high:.3f})",
                "" if plain is None else escape(plain.name),
            ]
        )
        if row.doubts:
            told.append(f"\\* {escape(profile.name)}: {escape('; '.join(row.doubts))}.")
    first = rows[0][1]
    threads = "" if first.threads is None else f", {first.threads} threads"
    head = f"Batch {first.batch}, {setting(first)}{threads}"
    notes = [
        "ms is the mean of a call, (low-high) a 95 % interval by Student's t over the blocks' log ratios.",
        *told,
    ]
    return "\n".join([f"### {head}", "", *grid(lines, left={0, 7}), "", *(f"{note}  " for note in notes)])


def _attention(profile: Profile) -> str:
    return str(profile.card.get("args", {}).get("attention") or "")


def _network(profile: Profile) -> str:
    return str(profile.card.get("build"))


def plain_among(profile: Profile, others: Iterable[Profile]) -> Profile | None:
    """Of the others the network of the same build that has no attention, and whose args are all among its own.

    Its input and its layout in memory are the same too.
    """
    args = profile.card.get("args", {})
    if not _attention(profile):
        return None
    fitting = [
        other
        for other in others
        if _network(other) == _network(profile)
        and not _attention(other)
        and all(other.card.get(key) == profile.card.get(key) for key in ("input", "memory_format"))
        and other.card["args"].items() <= args.items()
    ]
    return max(fitting, key=lambda other: len(other.card["args"]), default=None)


def over(row: Row, plain: Row) -> Interval | None:
    """The time of one row over another's with its 95 % interval; of other turns both by way of the yardstick."""
    if row.times["yardstick"] == plain.times["yardstick"]:
        return ratio(row.times["host"], plain.times["host"])
    if row.over_yardstick is None or plain.over_yardstick is None:
        return None
    found = slower(row.slowness, plain.slowness, paired=False)
    half = t_quantile(0.975, found.degrees) * found.stderr
    return Interval(*(math.exp(found.mean + sign * half) for sign in (0, -1, 1)))
