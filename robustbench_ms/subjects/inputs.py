"""From the suite's canvas to what a model wants to be shown; on the device, after the corruption."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustbench_ms.datasets.shapes import RaggedVolumes, Signals, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Input
from robustbench_ms.tasks.protocol import Geometry

__all__ = [
    "Preprocess",
    "Standardise",
    "Way",
    "interpolation_of",
    "of_timm",
    "preprocess_of",
    "said_first",
    "way_of",
]


def of_timm(known: Mapping[str, Any], *, tested: bool = False) -> Input:
    """What a network wants by its pretrained_cfg.

    `tested` is as timm's validate.py shows it pictures of any size (`resolve_data_config` with `use_test_size`): its
    test_input_size and test_crop_pct come first, and crop_mode counts. UserError for a size that is no square.
    """
    size, crop = known.get("input_size", (3, None, None)), known.get("crop_pct") or 1.0
    if tested:
        size = known.get("test_input_size") or size
        crop = known.get("test_crop_pct") or known.get("crop_pct") or 0.875
        if size[-1] != size[-2]:
            raise UserError(
                f"it wants pictures of {size[-1]} x {size[-2]}, and canvases are squares: give --size"
            )
    return Input(
        size=size[-1],
        fit="crop",
        crop=float(crop),
        crop_mode=str(known.get("crop_mode") or "center") if tested else "center",
        interpolation=interpolation_of(known.get("interpolation")),
        mean=tuple(known["mean"]),
        std=tuple(known["std"]),
    )


def interpolation_of(name: object) -> str:
    """A library's word for how it resizes."""
    return str(name) if name in {"nearest", "bilinear", "bicubic"} else "bilinear"


def said_first(said: Input, known: Input) -> Input:
    """What a library knows, but for what was said: mean and std, a size, and a fit and a crop that were asked for."""
    made = replace(known, size=said.size or known.size, recrop=said.recrop)
    if said.normalised:
        made = replace(made, mean=said.mean, std=said.std)
    return replace(made, fit=said.fit, crop=said.crop, crop_mode=said.crop_mode) if said.recrop else made


@dataclass(frozen=True)
class Way:
    """From a picture to what a model is shown: first a canvas, then what is left of its input."""

    wanted: Input
    """As a record has it."""
    left: Input
    """What is done on the device, after the corruption."""
    canvas: Canvas | None = None
    """Its own canvas; None where it is the suite's."""
    notes: tuple[str, ...] = ()


def way_of(wanted: Input, canvas: str | Canvas, sides: tuple[int, int] | None = None) -> Way:
    """What becomes of a completed input on a suite's canvas.

    On "model" all of it is the canvas. On one that is cut already its crop is dropped, unless a second one was asked
    for: the canvas is resized straight to its size. On "stored" all of it is done on the device, and nothing is cut
    where all samples have its size already (`sides`, height and width; None where they differ) unless it is asked for.
    """
    wanted = replace(wanted, normalised=False, assumed=wanted.assumed and not wanted.normalised)
    plain = replace(wanted, recrop=None)
    if canvas == "model":
        return Way(plain, replace(plain, size=None), _canvas_of(wanted))
    whole = isinstance(canvas, Canvas) or sides == (wanted.size, wanted.size)
    dropped = wanted.recrop is False or (whole and not wanted.recrop)
    if not dropped or wanted.fit == "letterbox":
        made = plain
    else:
        made = replace(plain, fit="resize", crop=1.0, crop_mode="center")
    if made.crop_mode == "border":
        raise UserError("its crop mode is 'border', which is for canvas 'model'")
    side = canvas.crop if isinstance(canvas, Canvas) else min(sides or (made.size or 0,))
    size = made.size or side
    seen = f"{'enlarged' if size > side else 'reduced'} {side} -> {size}" if size != side else ""
    if not isinstance(canvas, Canvas):
        # A network that was trained at the data's own size runs slowly and answers badly at its library's.
        told = f"{seen} (--size {side} shows them as they are)" if size > side else seen
        return Way(made, made, None, (told,) if told else ())
    if made.fit == "crop":
        told = f"cropped once more ({made.crop:g})"
    elif wanted.fit == "crop" and wanted.crop < 1:
        told = f"its own crop of {wanted.crop:g} dropped"
    else:
        told = ""
    return Way(
        made,
        made,
        None,
        (f"the canvas ({canvas}) is {seen or 'shown as it is'}{f', {told}' if told else ''}",),
    )


def _canvas_of(wanted: Input) -> Canvas:
    if wanted.size is None:
        raise UserError(
            "nobody said at what size it wants to be shown pictures, and on canvas 'model' that is its own: give --size"
        )
    if wanted.recrop is False:
        raise UserError("--size canvas is for suites with one canvas for all; this one's is 'model'")
    if wanted.fit == "letterbox":
        raise UserError("its fit is 'letterbox', which is no way to a canvas: 'resize' and 'crop' are")
    if wanted.fit == "resize":
        return Canvas(wanted.size, wanted.size, wanted.interpolation, "squash")
    border = wanted.crop_mode == "border"
    mean = (wanted.mean * 3)[:3] if len(wanted.mean) == 1 else wanted.mean
    low, high = wanted.range
    red, green, blue = (round(255 * (value - low) / (high - low)) for value in mean)
    return Canvas(
        _short(wanted),
        wanted.size,
        wanted.interpolation,
        wanted.crop_mode,
        (red, green, blue) if border else (0, 0, 0),
    )


def _short(wanted: Input) -> int:
    """The side that is resized, of fit "crop": whole pixels as timm and torchvision take them, rounded down."""
    return math.floor((wanted.size or 0) / wanted.crop + 1e-6)


def preprocess_of(wanted: Input, layout: Any, device: torch.device) -> Preprocess | Standardise:
    """What a card's input makes of samples of a layout; UserError where it is for another kind."""
    if wanted.window is not None and not isinstance(layout, (Volumes, RaggedVolumes)):
        raise UserError("its [input] asks for windows of volumes, and these data are none")
    if isinstance(layout, (Signals, Volumes, RaggedVolumes)):
        return Standardise(wanted, layout, device)
    if wanted.channels in {"signals", "volumes"}:
        raise UserError(f"it is shown {wanted.channels}, and these data are images")
    return Preprocess(wanted, layout.channels, device)


class Standardise:
    """Windows (N, C, T) or volumes (N, C, D, H, W), float32 as they are stored, to (x - mean) / std of each channel.

    float32; as they are if the input is assumed.
    """

    def __init__(
        self, wanted: Input, layout: Signals | Volumes | RaggedVolumes, device: torch.device
    ) -> None:
        kind, axes = ("signals", 1) if isinstance(layout, Signals) else ("volumes", 3)
        if wanted.channels != kind and not wanted.assumed:
            shown = wanted.channels if wanted.channels in {"signals", "volumes"} else "images"
            raise UserError(
                f"these data are {kind} of {layout.channels} channels, and its [input] is of {shown}: write channels = "
                f'"{kind}" with mean and std of each'
            )
        values = [wanted.mean, wanted.std]
        if wanted.assumed and not wanted.normalised:
            values = [(0.0,), (1.0,)]
        for name, given in zip(("mean", "std"), values, strict=True):
            if len(given) not in {1, layout.channels}:
                raise UserError(
                    f"its {name} has {len(given)} numbers, and the {'windows' if axes == 1 else 'volumes'} have "
                    f"{layout.channels} channels: it is a model for others"
                )
        mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, -1, *(1,) * axes) for v in values)
        self._scale, self._shift = (1 / std).float().to(device), (-mean / std).float().to(device)

    def __call__(self, samples: Tensor) -> Tensor:
        """float32 of the same shape."""
        return samples * self._scale + self._shift

    def shown(self, samples: Tensor) -> tuple[Tensor, Geometry]:
        """The same, and that nothing moved."""
        height, width = samples.shape[-2] if samples.ndim > 3 else 1, samples.shape[-1]
        return self(samples), Geometry((height, width), (height, width), (0, 0))


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
            side = _short(wanted)
            short = min(height, width)
            goal = (height * side // short, width * side // short)
            if wanted.crop_mode == "squash":
                goal = (side, side)
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
