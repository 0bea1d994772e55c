"""Profiles for people and programs: a table, plain data, and CSV in timm's column names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from robustbench_ms.records.profile import Profile, Row
from robustbench_ms.reports.exports import unformulated
from robustbench_ms.reports.markdown import escape, grid
from robustbench_ms.statistics.intervals import Interval
from robustbench_ms.statistics.timings import BLOCKS, fewest

__all__ = ["Rows", "profiles_csv", "profiles_json", "profiles_markdown", "setting", "short", "with_ends"]

Rows = Sequence[tuple[Profile, Row]]
_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}
_HEAD = [
    "model", "batch", "as", "images/s", "x resnet18", "median, ms", "p90, ms", "p99, ms", "device, ms",
    "end to end, ms", "compiling, s", "CV", "MB", "J/image", "params, M", "MACs, G", "activations, M", "right, of fp32",
]  # fmt: skip
"""A column in which nothing stands is left out."""
_DIGITS = 3
"""Significant ones of a time: the fourth is noise on any machine."""


def profiles_markdown(rows: Rows) -> str:
    """An aligned table of the rows that were timed, footnotes, and what failed."""
    timed = [(profile, row) for profile, row in rows if row.error is None]
    lines = []
    if timed:
        cells = [_HEAD, *(_cells(profile, row) for profile, row in timed)]
        told = [i for i in range(len(_HEAD)) if any(line[i] for line in cells[1:])]
        lines += [*grid([[line[i] for i in told] for line in cells], left={0, 2}), ""]
        notes = list(_footnotes(timed))
        lines += [f"{note}  " for note in notes[:-1]] + notes[-1:]
    lines += [
        f"{escape(profile.name)}, batch {row.batch}, {setting(row)}: {escape(row.error)}"
        for profile, row in rows
        if row.error is not None
    ]
    return "\n".join(lines) + "\n"


def _cells(profile: Profile, row: Row) -> list[str]:
    costs, facts = profile.costs, row.facts
    return [
        escape(profile.name) + ("*" if row.doubts else ""),
        str(row.batch) + (f" of {facts['asked']}" if "asked" in facts else ""),
        setting(row),
        f"{row.images_per_second:,.1f}",
        "-" if row.over_yardstick is None else with_ends(row.over_yardstick, 1),
        *("-" if (found := row.latency(q)) is None else with_ends(found, 1e3) for q in _QUANTILES.values()),
        _mean(row, "device"),
        _mean(row, "end_to_end"),
        short(facts["compiling"]) if "compiling" in facts else "",
        f"{row.variation:.1%}",
        f"{facts['memory'] / 1e6:,.1f}" if "memory" in facts else "",
        f"{facts['energy']:.3g}" if "energy" in facts else "",
        *(f"{costs[key] / scale:,.3f}" if costs else "" for key, scale in _SCALES.items()),
        "" if row.kept is None else f"{row.kept:.2%}" + (" (!)" if row.loses else ""),
    ]


_SCALES = {"parameters": 1e6, "macs_run": 1e9, "activations": 1e6}


def _mean(row: Row, what: str) -> str:
    return short(float(row.seconds(what).mean()) * 1e3) if row.times.get(what) else ""


def with_ends(found: Interval, scale: float) -> str:
    """A number in another unit with its ends: "1.58 (1.57-1.6)"."""
    return f"{short(found.mean * scale)} ({short(found.low * scale)}-{short(found.high * scale)})"


def short(value: float) -> str:
    """Three significant digits, "12.0"; all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.{_DIGITS}g}".rstrip(".")


def setting(row: Row) -> str:
    """Precision, and whether it is compiled or trains, for people."""
    return " ".join(
        [row.precision, *(["compiled"] if row.compile else []), *(["training"] if row.train else [])]
    )


def _footnotes(rows: Rows) -> Iterator[str]:
    devices = dict.fromkeys(profile.device for profile, _ in rows)
    threads = sorted({row.threads for _, row in rows if row.threads is not None})
    made = dict.fromkeys(profile.environments[row.environment].torch for profile, row in rows)
    on = f", {' or '.join(map(str, threads))} threads" if threads else ""
    where = escape("; ".join(devices))
    yield f"Measured on {where}{on}, torch {escape(', '.join(made))}; nothing of it holds on another device."
    counts = sorted({row.n for _, row in rows})
    blocks = sorted({len(row.times["host"]) for _, row in rows})
    yield (
        f"n = {_range(counts)} calls in {_range(blocks)} blocks of turns; a latency is host time with the input ready "
        "on the device and a synchronise after each call, (low-high) its 95 % interval by order statistics, which "
        "takes calls as independent; CV is the calls' coefficient of variation."
    )
    yield (
        "x resnet18: images/s over those of torchvision's resnet18 at 3 x 224 x 224 in the same turns, by Student's t "
        "over the blocks' log ratios."
    )
    few = [
        f"{name} needs {fewest(q)} calls"
        for name, q in _QUANTILES.items()
        if any(row.latency(q) is None and row.n < fewest(q) for _, row in rows)
    ]
    if few or blocks[0] < BLOCKS:
        yield f"-: too few calls or blocks; {', '.join([*few, f'all need {BLOCKS} blocks'])}."
    told = sorted({row.facts["kept"]["suite"] for _, row in rows if "kept" in row.facts})
    if told:
        yield f"right, of fp32: clean samples of {escape(', '.join(told))}; (!) is below 99 %, MLPerf's bound."
    for profile, row in rows:
        if row.doubts:
            yield f"* {escape(profile.name)}, batch {row.batch}, {setting(row)}: {escape('; '.join(row.doubts))}."


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def profiles_json(rows: Rows) -> list[dict[str, Any]]:
    """Plain data: seconds, bytes, not rounded; the files have the calls' times."""
    return [_plain(profile, row) for profile, row in rows]


def _plain(profile: Profile, row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": profile.name, "device": profile.device, "batch": row.batch, "precision": row.precision,
        "compile": row.compile, "threads": row.threads, "train": row.train, "started": row.started,
        "error": row.error, "costs": dict(profile.costs),
    }  # fmt: skip
    if row.error is not None:
        return told
    latency = {name: row.latency(q) for name, q in _QUANTILES.items()}
    over = row.over_yardstick
    means = {what: float(row.seconds(what).mean()) for what in row.times if what != "yardstick"}
    return told | {
        "images_per_second": row.images_per_second,
        "over_yardstick": None if over is None else over._asdict(),
        "n": row.n,
        "blocks": len(row.times["host"]),
        "latency": {name: None if found is None else found._asdict() for name, found in latency.items()},
        "calls_needed": {name: fewest(q) for name, q in _QUANTILES.items()},
        "means": means,
        "variation": row.variation,
        "facts": dict(row.facts),
        "kept": row.kept,
        "doubts": list(row.doubts),
    }


_TIMM = ("samples_per_sec", "step_time", "batch_size", "img_size")
_INFER = ("model", *(f"infer_{name}" for name in _TIMM), "infer_gmacs", "infer_macts")
_TRAIN = tuple(f"train_{name}" for name in _TIMM)
_OURS = ("param_count", "precision", "compile", "threads", "device")


def profiles_csv(rows: Rows) -> str:
    """A line a row in timm's names and units: milliseconds a step, G and M; what trains in its train_ columns."""
    timed = [(profile, row) for profile, row in rows if row.error is None]
    names = (*_INFER, *(_TRAIN if any(row.train for _, row in timed) else ()), *_OURS)
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for profile, row in timed:
        kind, costs = "train" if row.train else "infer", profile.costs
        told: dict[str, Any] = {
            "model": unformulated(profile.name),
            f"{kind}_samples_per_sec": f"{row.images_per_second:.2f}",
            f"{kind}_step_time": f"{1e3 * float(row.seconds().mean()):.3f}",
            f"{kind}_batch_size": row.batch,
            f"{kind}_img_size": costs["input"][-1] if costs else "",
            "precision": row.precision,
            "compile": str(row.compile).lower(),
            "threads": "" if row.threads is None else row.threads,
            "device": unformulated(profile.device),
        }
        if costs:
            told["param_count"] = f"{costs['parameters'] / 1e6:.2f}"
            told["infer_gmacs"] = f"{costs['macs_run'] / 1e9:.2f}"
            told["infer_macts"] = f"{costs['activations'] / 1e6:.2f}"
        writer.writerow(told)
    return file.getvalue()
