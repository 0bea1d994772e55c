"""From the suite's canvas to what a model wants to be shown; on the device, after the corruption."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Input
from robustbench_ms.tasks.protocol import Geometry

__all__ = ["Preprocess"]


class Preprocess:
    """uint8 canvases (N, C, H, W), RGB or grey, to float32 inputs as a card asks."""

    def __init__(self, wanted: Input, channels: int, device: torch.device) -> None:
        wants = 1 if wanted.channels == "L" else 3
        for name, values in (("mean", wanted.mean), ("std", wanted.std)):
            if len(values) not in {1, wants} and any(v != values[0] for v in values):
                raise UserError(
                    f"its {name} has {len(values)} numbers for {wants} channels ({wanted.channels})"
                )
        self._input = wanted
        self._channels = channels
        low, high = wanted.range
        # ((x / 255) (high - low) + low - mean) / std as one multiplication and one addition
        mean, std = (
            torch.tensor(v[:wants], dtype=torch.float64).reshape(1, -1, 1, 1)
            for v in (wanted.mean, wanted.std)
        )
        self._scale = ((high - low) / 255 / std).float().to(device)
        self._shift = ((low - mean) / std).float().to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """float32 (N, C', H', W')."""
        return self.shown(images)[0]

    def shown(self, images: Tensor) -> tuple[Tensor, Geometry]:
        """The same, and how it came about."""
        images = self._to_channels(images)
        height, width = images.shape[-2:]
        geometry = Geometry((height, width), (height, width), (0, 0))
        if self._input.size:
            images, geometry = self._fit(images)
        return images.float() * self._scale + self._shift, geometry

    def _to_channels(self, images: Tensor) -> Tensor:
        wanted = self._input.channels
        if wanted == "L" and self._channels == 3:
            # ITU-R 601 luma, as Pillow's convert("L") weighs
            weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).reshape(1, 3, 1, 1)
            return (images * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)
        if wanted != "L" and self._channels == 1:
            return images.expand(-1, 3, -1, -1)
        return images.flip(1) if wanted == "BGR" else images

    def _fit(self, images: Tensor) -> tuple[Tensor, Geometry]:
        from torchvision.transforms.v2 import functional as tv

        size, wanted = self._input.size or 0, self._input
        scale = None
        height, width = images.shape[-2:]
        if wanted.fit == "resize":
            goal = (size, size)
        elif wanted.fit == "crop":
            # Whole pixels as timm and torchvision take them: rounded down, both of them.
            side = math.floor(size / wanted.crop + 1e-6)
            short = min(height, width)
            goal = (height * side // short, width * side // short)
        else:
            # As YOLOX and its kin have it: whole pixels by one scale, rounded down, and bytes after the resize too.
            longest = max(height, width)
            scale = size / longest
            goal = (max(1, height * size // longest), max(1, width * size // longest))
        shown = images if wanted.fit == "letterbox" else images.float()
        if goal != (height, width):
            # Pillow's nearest takes the pixel under the centre, torch's own the one under the corner.
            name = "nearest-exact" if wanted.interpolation == "nearest" else wanted.interpolation
            mode = tv.InterpolationMode(name)
            shown = tv.resize(shown, list(goal), interpolation=mode, antialias=True).clamp(0, 255)
        offset = (0, 0)
        if wanted.fit == "crop":
            shown = tv.center_crop(shown, [size, size])
            # As center_crop rounds, to the left and to the top.
            offset = (-round((goal[0] - size) / 2), -round((goal[1] - size) / 2))
        elif wanted.fit == "letterbox":
            shown = tv.pad(shown, [0, 0, size - goal[1], size - goal[0]], fill=114)
        return shown, Geometry((height, width), goal, offset, scale)
