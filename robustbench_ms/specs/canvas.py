"""Canvases: what a picture of any size is made before it is corrupted. Frozen facts; a data set draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustbench_ms.errors import UserError

__all__ = ["INTERPOLATIONS", "MODES", "Canvas", "told"]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
MODES = ("center", "squash", "border")
"""timm's crop modes: the shorter side is resized and the centre taken; both sides are; the longer one is, and what is
missing of the square is filled up."""


@dataclass(frozen=True)
class Canvas:
    """A square of `crop` pixels a side, out of a picture that was resized to `short`."""

    short: int
    """Pixels: of the shorter side, of both where `mode` is "squash", of the longer one where it is "border"."""
    crop: int
    interpolation: str = "bilinear"
    mode: str = "center"
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB of what the resized picture does not cover."""

    def __post_init__(self) -> None:
        """UserError for sides below 1."""
        if min(self.short, self.crop) < 1:
            raise UserError(f"a canvas has sides of 1 pixel or more, not {self.short} and {self.crop}")

    @property
    def told(self) -> dict[str, Any]:
        """Its readable fields, those that say something."""
        found: dict[str, Any] = {
            "short": self.short,
            "crop": self.crop,
            "interpolation": self.interpolation,
        }
        if self.mode != "center":
            found["mode"] = self.mode
        if any(self.fill):
            found["fill"] = list(self.fill)
        return found

    def __str__(self) -> str:
        """For people: "256 -> 224, bilinear"."""
        return ", ".join(
            [f"{self.short} -> {self.crop}", self.interpolation, *([self.mode] * (self.mode != "center"))]
        )


def told(canvas: str | Canvas) -> str | dict[str, Any]:
    """A suite's canvas as protocols and records say it."""
    return canvas.told if isinstance(canvas, Canvas) else canvas
