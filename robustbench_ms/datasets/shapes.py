"""What samples are shown as: images, windows of signals, volumes, each of one shape or of shapes of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robustbench_ms.specs.channels import Channel

__all__ = ["Images", "Layout", "Photographs", "RaggedImages", "RaggedVolumes", "Rows", "Signals", "Volumes"]

Rows = NDArray[np.int64]
"""Places of samples in a data set, (k,), 0..n-1."""


@dataclass(frozen=True)
class Images:
    """Images of one size."""

    channels: int
    height: int
    width: int

    @property
    def values(self) -> int:
        """Numbers a sample."""
        return self.channels * self.height * self.width

    def part(self, rows: Rows) -> Images:
        """The layout of some of the samples."""
        del rows
        return self


@dataclass(frozen=True)
class RaggedImages:
    """Images of sizes of their own."""

    channels: int
    sizes: NDArray[np.int64] = field(compare=False)
    """(n, 2): height and width of each."""

    @property
    def values(self) -> int:
        """Numbers a sample, of the largest one."""
        return int(self.channels * self.sizes.prod(axis=1).max())

    def part(self, rows: Rows) -> RaggedImages:
        """The layout of some of the samples."""
        return RaggedImages(self.channels, self.sizes[rows])


@dataclass(frozen=True)
class Photographs:
    """Pictures of any size, none of them looked at yet; what they are shown at is the canvas's."""

    channels: int

    def part(self, rows: Rows) -> Photographs:
        """The layout of some of the samples."""
        del rows
        return self


@dataclass(frozen=True)
class Signals:
    """Windows of sensor signals of one length, float32 (C, T) in physical units."""

    of: tuple[Channel, ...]
    length: int
    """Samples of a window, T."""
    rate: float
    """Samples a second."""

    @property
    def channels(self) -> int:
        """How many."""
        return len(self.of)

    @property
    def values(self) -> int:
        """Numbers a window."""
        return self.channels * self.length

    def part(self, rows: Rows) -> Signals:
        """The layout of some of the windows."""
        del rows
        return self


@dataclass(frozen=True)
class Volumes:
    """Volumes of one shape, shown as float32 in the units in which they are stored."""

    channels: int
    shape: tuple[int, int, int]
    """Depth, height and width."""
    spacing: tuple[float, float, float] | None = None
    """Millimetres from voxel to voxel along each; None where nobody says."""
    of_bytes: bool = False
    """They are stored as uint8, 0..255."""

    @property
    def values(self) -> int:
        """Numbers a sample."""
        depth, height, width = self.shape
        return self.channels * depth * height * width

    def part(self, rows: Rows) -> Volumes:
        """The layout of some of the samples."""
        del rows
        return self


@dataclass(frozen=True)
class RaggedVolumes:
    """Volumes of shapes of their own, and otherwise as `Volumes`."""

    channels: int
    shapes: NDArray[np.int64] = field(compare=False, repr=False)
    """(n, 3): depth, height and width of each."""
    spacing: tuple[float, float, float] | None = None
    """Of all."""
    of_bytes: bool = False

    @property
    def values(self) -> int:
        """Numbers a sample, of the largest one."""
        return int(self.channels * self.shapes.prod(axis=1).max())

    def part(self, rows: Rows) -> RaggedVolumes:
        """The layout of some of the samples."""
        return replace(self, shapes=self.shapes[rows])

    def at(self, row: int) -> Volumes:
        """The layout of one sample, alone."""
        depth, height, width = map(int, self.shapes[row])
        return Volumes(self.channels, (depth, height, width), self.spacing, of_bytes=self.of_bytes)


Layout = Images | RaggedImages | Signals | Volumes | RaggedVolumes
"""What samples are shown as."""
