"""What a table says of its models' costs: from profiles, each on its device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robustbench_ms.catalog.find import card_names, counted_costs, find_card
from robustbench_ms.records.profile import Profile, Row, profiles_of
from robustbench_ms.specs.card import Card
from robustbench_ms.statistics.intervals import Interval, mean_interval
from robustbench_ms.statistics.timings import BLOCKS

__all__ = ["Cost", "Speed", "cost_of", "parameters_of", "profiles_by_name", "speed_of"]

_NETWORK = ("build", "args", "input")


class Speed(NamedTuple):
    """Images a second on one device."""

    interval: Interval
    """Over the blocks; nan wide where they are too few."""
    precision: str
    threads: int | None
    """None where no CPU computes."""
    doubts: tuple[str, ...]
    """Why it may not decide anything."""


@dataclass(frozen=True)
class Cost:
    """Of one network; empty where none of its profiles is there."""

    parameters: int | None = None
    macs: int | None = None
    """Multiply-adds of one image, as it is run."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """By device."""


def profiles_by_name(results: Path, names: Iterable[str]) -> dict[str, list[Profile]]:
    """The profiles of cards, on all devices; BadFile where one is damaged, newer or another device's."""
    found = {name: list(profiles_of(results, Card(name, "").file_name)) for name in dict.fromkeys(names)}
    return {name: profiles for name, profiles in found.items() if profiles}


def cost_of(names: Sequence[str], card: Mapping[str, Any], profiles: Mapping[str, Sequence[Profile]]) -> Cost:
    """Of a card under any of some names; what was profiled under them as another network is not it."""
    found = [one for name in names for one in profiles.get(name, ()) if _network(one.card) == _network(card)]
    counted = next((one.costs for one in found if one.costs), {})
    timed = {one.device: row for one in reversed(found) if (row := one.plain()) is not None}
    return Cost(
        counted.get("parameters"),
        counted.get("macs_run"),
        {device: speed_of(row) for device, row in sorted(timed.items())},
    )


def parameters_of(card: Mapping[str, Any]) -> int | None:
    """How many parameters a record's card has, by the shipped card of its name and network; None where it is none.

    Nothing is built. Multiply-adds depend on what is shown, which that card does not say.
    """
    name = str(card.get("name", "")).partition("@")[0]
    if name not in card_names():
        return None
    known = find_card(name)
    if (card.get("build"), card.get("args")) != (known.build, dict(known.args)):
        return None
    counted = counted_costs(known)
    return None if counted is None else int(counted["parameters"])


def _network(card: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: card.get(name) for name in _NETWORK}
    # What was assumed of the input and what was said of it come to the same pixels.
    return told | {"input": {k: v for k, v in (told["input"] or {}).items() if k != "assumed"}}


def speed_of(row: Row) -> Speed:
    """Of a row that was timed."""
    blocks = np.log([float(np.mean(block)) for block in row.times["host"]])
    low = high = math.nan
    if blocks.size >= BLOCKS:
        _, low, high = (row.batch / math.exp(end) for end in mean_interval(blocks))
        low, high = high, low
    return Speed(Interval(row.images_per_second, low, high), row.precision, row.threads, row.doubts)
