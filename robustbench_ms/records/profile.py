"""Profiles: what a card's network costs in time and memory on one device; a record without cells.

`results/profiles/<device slug>/<card>.json` keeps the times of single calls, of which everything a person reads is
computed on reading. Rows are keyed by batch, precision, compilation, threads and training. Nothing of it crosses
devices: a ratio to the yardstick, torchvision's resnet18 in the same blocks, says how fast for this machine.

The format's history:
1  the first: kind, format, device, card, costs, environments, rows, digest
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import BadFile
from robustbench_ms.files import replacing
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.records.record import Environment
from robustbench_ms.records.shape import read_json, why_unread
from robustbench_ms.specs.places import PROFILES_FOLDER
from robustbench_ms.statistics.intervals import Interval
from robustbench_ms.statistics.timings import BLOCKS, Blocks, log_ratios, quantile, ratio, variation

__all__ = [
    "BUSY",
    "FORMAT",
    "KIND",
    "SPREAD",
    "Profile",
    "Row",
    "profiles_of",
    "read_profile",
    "slug",
    "write_profile",
]

KIND, FORMAT = "profile", 1
BUSY = 0.12
"""Cores that other processes may use on average while times are taken that count."""
SPREAD = 0.05
"""The variation of the blocks' ratios to the yardstick above which nothing is certain."""
_MLPERF = 0.99
"""What of fp32's accuracy a network must keep to count as the same (MLPerf Inference, its closed division)."""
_TIMES = ("host", "yardstick", "device", "end_to_end")


@dataclass(frozen=True)
class Row:
    """One setting, timed or failed."""

    batch: int
    precision: str
    compile: bool
    threads: int | None
    """Of the CPU; None on another device."""
    train: bool
    """Forward, backward and a step instead of a forward pass."""
    environment: int = 0
    started: str = ""
    """UTC, ISO 8601."""
    error: str | None = None
    """Why there are no times."""
    times: Mapping[str, Blocks] = field(default_factory=dict)
    """Seconds of calls by block: `host` (input ready on the device, a synchronise after each call), `yardstick` (the
    same of resnet18, in the same rounds), and where there are some `device` (by CUDA's events) and `end_to_end` (from
    bytes in host memory)."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """memory (bytes at the worst beside what was held before), energy (J an image), compiling (seconds), warm_up
    {calls, steady}, others (cores that other processes used), asked (the batch before it was halved), kept {suite,
    metric, value, fp32}: each where it is known."""

    @property
    def key(self) -> tuple[int, str, bool, int | None, bool]:
        """What a profile has one row of."""
        return self.batch, self.precision, self.compile, self.threads, self.train

    @property
    def n(self) -> int:
        """Timed calls."""
        return sum(map(len, self.times.get("host", ())))

    def seconds(self, what: str = "host") -> NDArray[np.float64]:
        """The times of all calls, (n,); empty where there are none."""
        blocks = self.times.get(what, ())
        return np.concatenate([np.asarray(b, dtype=np.float64) for b in blocks]) if blocks else np.zeros(0)

    def latency(self, q: float, what: str = "host") -> Interval | None:
        """The q quantile of a call's seconds with its 95 % interval; None of too few calls or blocks."""
        return quantile(self.seconds(what), q) if len(self.times.get(what, ())) >= BLOCKS else None

    @property
    def images_per_second(self) -> float:
        """All images over all the calls' time."""
        return self.batch / float(self.seconds().mean())

    @property
    def over_yardstick(self) -> Interval | None:
        """Its images/s over resnet18's, by Student's t over the blocks' log ratios; None of too few blocks."""
        return ratio(self.times["yardstick"], self.times["host"])

    @property
    def slowness(self) -> NDArray[np.float64]:
        """The log of its time over the yardstick's, (blocks,)."""
        return log_ratios(self.times["host"], self.times["yardstick"])

    @property
    def variation(self) -> float:
        """The coefficient of variation of single calls."""
        return variation(self.seconds())

    @property
    def spread(self) -> float:
        """The variation of the blocks' ratios to the yardstick."""
        return float(self.slowness.std(ddof=1))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it may not decide anything, a clause each; () where nothing speaks against it."""
        told = []
        others = self.facts.get("others")
        if others is not None and others > BUSY:
            told.append(f"other processes used {others:.2f} cores meanwhile, and more than {BUSY:g} is busy")
        if len(self.times.get("host", ())) > 1 and self.spread > SPREAD:
            told.append(f"its blocks vary by {self.spread:.1%}, and more than {SPREAD:.0%} is unsteady")
        warm_up = self.facts.get("warm_up")
        if warm_up is not None and not warm_up["steady"]:
            told.append(f"it was not steady after {warm_up['calls']} calls of warming up")
        return tuple(told)

    @property
    def kept(self) -> float | None:
        """What it answers right over what fp32 does; None where it was not asked for."""
        found = self.facts.get("kept")
        return None if found is None or not found["fp32"] else found["value"] / found["fp32"]

    @property
    def loses(self) -> bool:
        """Whether that is below 99 %."""
        return self.kept is not None and self.kept < _MLPERF


@dataclass(frozen=True)
class Profile:
    """One card on one device."""

    device: str
    """As its maker calls it."""
    card: Mapping[str, Any]
    costs: Mapping[str, Any]
    """As `models.costs` counts them; {} where they cannot be counted."""
    environments: tuple[Environment, ...]
    rows: tuple[Row, ...]
    path: Path | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The card's name."""
        return str(self.card["name"])

    def row(self, key: tuple[Any, ...]) -> Row | None:
        """The row of that key."""
        return next((row for row in self.rows if row.key == key), None)

    def plain(self, batch: int = 1) -> Row | None:
        """The row of that batch in fp32 or else in its first precision, timed, neither compiled nor training."""
        rows = [r for r in self.rows if r.batch == batch and not (r.compile or r.train or r.error)]
        return min(rows, key=lambda r: r.precision != "fp32", default=None)

    def joined(self, old: Profile) -> tuple[Profile, tuple[Row, ...]]:
        """Itself with the rows that only `old` has, and those of `old` that it replaces.

        Where the card has become another network none of the old rows is kept.
        """
        if any(self.card.get(name) != old.card.get(name) for name in ("build", "args", "input")):
            return self, old.rows
        mine = {row.key for row in self.rows}
        environments, kept = list(self.environments), []
        for row in old.rows:
            if row.key not in mine:
                made_in = old.environments[row.environment]
                if made_in not in environments:
                    environments.append(made_in)
                kept.append(replace(row, environment=environments.index(made_in)))
        rows = sorted(
            (*self.rows, *kept), key=lambda r: (r.train, r.compile, r.precision, r.batch, r.threads or 0)
        )
        joined = replace(self, environments=tuple(environments), rows=tuple(rows))
        return joined, tuple(row for row in old.rows if row.key in mine)


def slug(device: str) -> str:
    """A device's name as a folder's: "amd-epyc-9654-2-cores"."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def profiles_of(results: Path, name: str = "*") -> Iterator[Profile]:
    """What there is of a card, or of all, on all devices, by device and name."""
    for path in sorted((results / PROFILES_FOLDER).glob(f"*/{name}.json")):
        yield read_profile(path)


def write_profile(profile: Profile, path: Path) -> None:
    """Write it whole, one line a row, with the digest of what it says."""
    told = {"kind": KIND, "format": FORMAT, **{n: v for n, v in asdict(profile).items() if n != "path"}}
    told["digest"] = content_digest(json.loads(json.dumps(told, allow_nan=False)))
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join("  " + json.dumps(row) for row in told["rows"])
    text = json.dumps({**told, "rows": []}, indent=1)
    with replacing(path) as part:
        part.write_text(text.replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n", encoding="utf-8")


def read_profile(path: Path) -> Profile:
    """The profile in a file; BadFile names what is newer, damaged, edited or another device's."""
    try:
        told = read_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: {why_unread(path, error)}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not a profile: not valid JSON ({error})") from error
    if not isinstance(told, dict) or told.get("kind") != KIND or type(told.get("format")) is not int:
        raise BadFile(f"{path}: not a profile: its kind is no {KIND!r} with a format number")
    if told["format"] != FORMAT:
        newer = told["format"] > FORMAT
        raise BadFile(
            f"{path}: a profile of format {told['format']}, "
            + (
                f"newer than this version reads ({FORMAT}); update robustbench_ms"
                if newer
                else "which none has"
            )
        )
    try:
        if told["digest"] != content_digest({k: v for k, v in told.items() if k != "digest"}):
            raise BadFile(
                f"{path}: damaged or edited, as its digest does not fit; take it from the version control, or delete "
                f"it and measure it again: rbms profile {told['card']['name']}"
            )
        found = _from_json(told, path)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadFile(f"{path}: not a whole profile: {type(error).__name__}: {error}") from error
    folders = [parent.name for parent in path.resolve().parents[:2]]
    if folders[1:] == [PROFILES_FOLDER] and folders[0] != slug(found.device):
        raise BadFile(
            f"{path}: a profile of {found.device}, which lies under another device's name; its folder is "
            f"{slug(found.device)}"
        )
    return found


def _from_json(told: Mapping[str, Any], path: Path) -> Profile:
    environments = tuple(Environment(**row) for row in told["environments"])
    rows = tuple(_row(row, len(environments)) for row in told["rows"])
    if len({row.key for row in rows}) < len(rows):
        raise ValueError("a row stands in it twice")
    for table in ("card", "costs"):
        if not isinstance(told[table], dict):
            raise TypeError(f"{table} is no table")
    if not isinstance(told["card"]["name"], str) or not isinstance(told["device"], str):
        raise TypeError("a profile names its card and its device")
    return Profile(told["device"], told["card"], told["costs"], environments, rows, path)


def _row(told: Mapping[str, Any], environments: int) -> Row:
    row = Row(**told)
    if type(row.batch) is not int or row.batch < 1 or not isinstance(row.precision, str):
        raise TypeError("a row needs a batch of 1 or more and a precision")
    if type(row.environment) is not int or not 0 <= row.environment < environments:
        raise ValueError("a row's environment is one of the profile's, by its number from 0")
    for what, blocks in row.times.items():
        if what not in _TIMES or not _positive(blocks):
            raise ValueError(f"its times {what!r} are no seconds above 0 by block")
    host, machine = (len(row.times.get(what, ())) for what in ("host", "yardstick"))
    if row.error is None and (host != machine or host < 2):
        raise ValueError(
            "a row without an error has the times of two blocks or more, and as many of the yardstick"
        )
    return row


def _positive(blocks: Sequence[Sequence[Any]]) -> bool:
    return all(block and all(type(t) is float and t > 0 for t in block) for block in blocks)
