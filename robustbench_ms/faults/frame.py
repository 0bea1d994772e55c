"""What belongs together among the channels of a window: axes, sensors, parts and triads, with their scales."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.specs.channels import Channel, Scale

__all__ = ["Frame"]


class Frame:
    """Channels of windows and their scales, as indices.

    An axis is a (sensor, axis); its scale is that of its channel without `part_of`.
    """

    def __init__(self, channels: Sequence[Channel], scales: Sequence[Scale]) -> None:
        self.channels, self.scales = tuple(channels), tuple(scales)
        self.axes = list(dict.fromkeys((one.sensor, one.axis) for one in channels))
        self.sensors = list(dict.fromkeys(one.sensor for one in channels))
        names = [one.name for one in channels]
        self.axis_of = [self.axes.index((one.sensor, one.axis)) for one in channels]
        self.sensor_of = [self.sensors.index(one.sensor) for one in channels]
        self.whole_of = [
            i if one.part_of is None else names.index(one.part_of) for i, one in enumerate(channels)
        ]
        """Of each channel the one that it is a part of, itself where it is of none."""
        self.wholes = [i for i, one in enumerate(channels) if one.part_of is None]
        self.parts = [i for i, one in enumerate(channels) if one.part_of is not None]
        triads = dict.fromkeys(one.triad for one in channels if one.triad)
        self.triads = [[i for i, one in enumerate(channels) if one.triad == triad] for triad in triads]

    @cached_property
    def sd(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Standard deviation of each channel's axis (C,)."""
        return np.array([self.scales[self.whole_of[i]].sd for i in range(len(self.channels))])

    @cached_property
    def ranges(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of each channel the largest absolute value of its sensor's channels of their own (C,)."""
        most = [
            max(self.scales[i].largest for i in self.wholes if self.sensor_of[i] == sensor)
            for sensor in range(len(self.sensors))
        ]
        return np.array([most[sensor] for sensor in self.sensor_of])

    @cached_property
    def slots(self) -> list[list[int]]:
        """Of each axis its channels, the one of its own first."""
        return [
            sorted(
                (i for i, axis in enumerate(self.axis_of) if axis == number),
                key=lambda i: self.whole_of[i] != i,
            )
            for number in range(len(self.axes))
        ]

    def column(
        self, values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]], like: Tensor
    ) -> Tensor:
        """A number a channel as float32 (1, C, 1)."""
        made = torch.tensor(np.asarray(values, dtype=np.float32))
        return made.to(like.device).reshape(1, -1, 1)

    def means(self, like: Tensor) -> Tensor:
        """Each channel's own training mean, float32 (1, C, 1)."""
        return self.column([scale.mean for scale in self.scales], like)
