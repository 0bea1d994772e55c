"""Channels of sensor signals: what each measures, in which unit, and which of them belong together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from robustbench_ms.errors import UserError, choose

__all__ = ["Channel", "Scale", "read_channels", "read_scales", "refuse_channels"]


@dataclass(frozen=True)
class Channel:
    """One row of a window."""

    name: str
    unit: str
    """Of its samples: "g", "rad/s"; "unstated" where its source says none."""
    sensor: str
    """The device that measured it: what fails as one."""
    axis: str
    """Of that sensor; (sensor, axis) is what a fault acts on."""
    triad: str = ""
    """Of three channels that turn together, x, y and z in their order; "" where it is of none."""
    part_of: str | None = None
    """The channel of which it is a part (body acceleration of the total one); None where it stands for itself."""


@dataclass(frozen=True)
class Scale:
    """Of a channel's samples in the training split, in its unit."""

    mean: float
    sd: float
    """Population standard deviation, above 0."""
    largest: float
    """The largest absolute value, above 0."""


_KEYS = ("name", "unit", "sensor", "axis", "triad", "part_of")


def read_channels(given: Any, place: str) -> tuple[Channel, ...]:
    """Channels of a suite's list of tables; UserError names the channel and the key."""
    if not isinstance(given, list) or not given or not all(isinstance(row, Mapping) for row in given):
        raise UserError(f"{place}: channels must be a list of tables with name, unit, sensor and axis")
    found = []
    for number, row in enumerate(given):
        told = f"{place}: channel {row.get('name', number)!r}"
        for key, value in row.items():
            choose(key, _KEYS, "key", told)
            if not isinstance(value, str) or not value:
                raise UserError(f"{told}: {key} must be a word, not {value!r}")
        for key in _KEYS[:4]:
            if key not in row:
                raise UserError(f"{told} has no {key}")
        found.append(Channel(**row))
    refuse_channels(found, place)
    return tuple(found)


def refuse_channels(channels: Iterable[Channel], place: str) -> None:
    """UserError for channels that contradict each other."""
    channels = tuple(channels)
    names = [one.name for one in channels]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{place}: the channel {twice[0]!r} stands twice")
    by_name = dict(zip(names, channels, strict=True))
    for one in channels:
        if one.part_of is None:
            continue
        told = f"{place}: channel {one.name!r}: part_of"
        whole = by_name[choose(one.part_of, by_name, "channel", told)]
        if whole.part_of is not None or (whole.sensor, whole.axis) != (one.sensor, one.axis):
            raise UserError(
                f"{told} names {whole.name!r}, which must be a channel of its own of {one.sensor} {one.axis}"
            )
    for axis in dict.fromkeys((one.sensor, one.axis) for one in channels):
        own = [c.name for c in channels if (c.sensor, c.axis) == axis and c.part_of is None]
        if len(own) != 1:
            raise UserError(
                f"{place}: {' '.join(axis)} has {len(own)} channels without part_of ({', '.join(own)}); an axis has "
                "one, of which the others are parts"
            )
    for triad in dict.fromkeys(one.triad for one in channels if one.triad):
        of_it = [one for one in channels if one.triad == triad]
        if (
            len(of_it) != 3
            or len({one.axis for one in of_it}) != 3
            or len({one.sensor for one in of_it}) != 1
        ):
            told = ", ".join(one.name for one in of_it)
            raise UserError(f"{place}: the triad {triad!r} must be three axes of one sensor, not {told}")


def read_scales(given: Any, channels: tuple[Channel, ...], place: str) -> tuple[Scale, ...]:
    """The scale of each channel of a suite's table {name: [mean, sd, largest]}; UserError names the channel."""
    if not isinstance(given, Mapping):
        raise UserError(f"{place}: scales must be a table of channel = [mean, sd, largest]")
    names = [one.name for one in channels]
    for name in given:
        choose(name, names, "channel", f"{place}: scales")
    found = []
    for name in names:
        if name not in given:
            raise UserError(f"{place}: scales says nothing of the channel {name!r}")
        row = given[name]
        numbers = isinstance(row, list) and all(type(v) in {int, float} and math.isfinite(v) for v in row)
        if not numbers or len(row) != 3 or row[1] <= 0 or row[2] <= 0:
            raise UserError(
                f"{place}: scales: {name} must be [mean, sd, largest], sd and largest above 0, not {row!r}"
            )
        found.append(Scale(*map(float, row)))
    return tuple(found)
