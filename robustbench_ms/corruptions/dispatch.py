"""Which form of a corruption runs where its images are: the one place that asks for their device.

On a CPU the compiled loops run, from the keys where they make their own words. On CUDA the fused form runs where there
is one and Triton works, and the definition where not. A definition is given the maker of its words.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from robustbench_ms.errors import choose

from . import keyed
from .corruption import Corruption, Form, Setting, Words
from .cuda.launch import usable
from .table import NAMES

__all__ = ["corruption_of", "form_on", "fused_on", "run", "words_on"]

DEFINED = {
    "gaussian_noise": "defined.noise:GAUSSIAN_NOISE",
    "shot_noise": "defined.noise:SHOT_NOISE",
    "impulse_noise": "defined.noise:IMPULSE_NOISE",
    "defocus_blur": "defined.defocus:DEFOCUS",
    "glass_blur": "defined.glass:GLASS",
    "motion_blur": "defined.motion:MOTION",
    "zoom_blur": "defined.zoom:ZOOM",
    "snow": "defined.snow:SNOW",
    "frost": "defined.frost:FROST",
    "fog": "defined.fog:FOG",
    "brightness": "defined.hsv:BRIGHTNESS",
    "contrast": "defined.contrast:CONTRAST",
    "elastic_transform": "defined.elastic:ELASTIC",
    "pixelate": "defined.pixelate:PIXELATE",
    "jpeg_compression": "defined.jpeg:JPEG",
    "speckle_noise": "defined.noise:SPECKLE_NOISE",
    "gaussian_blur": "defined.gaussian_blur:GAUSSIAN_BLUR",
    "spatter": "defined.spatter:SPATTER",
    "saturate": "defined.hsv:SATURATE",
}
"""Where each corruption's definition and loops are; imported at its first use."""

FUSED = {
    "shot_noise": "cuda.pixels:shot_noise",
    "defocus_blur": "cuda.blur:defocus_blur",
    "glass_blur": "cuda.glass:glass_blur",
    "motion_blur": "cuda.blur:motion_blur",
    "zoom_blur": "cuda.blur:zoom_blur",
    "snow": "cuda.weather:snow",
    "frost": "cuda.weather:frost",
    "fog": "cuda.weather:fog",
    "elastic_transform": "cuda.pixels:elastic_transform",
    "gaussian_blur": "cuda.gaussian:gaussian_blur",
    "spatter": "cuda.weather:spatter",
    "saturate": "cuda.pixels:saturate",
}
"""The fused forms on CUDA. Their modules need Triton to be imported."""

WORDS = "cuda.words:words"
PROBE = "cuda.gaussian:soften"
"""What is run once on a device to see whether fused forms run there."""


@cache
def _found(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(f".{module}", __package__), name)


@cache
def corruption_of(name: str) -> Corruption:
    """The draw and the forms of one corruption of table.NAMES."""
    chosen: Corruption = _found(DEFINED[choose(name, NAMES, "corruption")])
    return chosen


def _probe(device: torch.device) -> None:
    _found(PROBE)(torch.zeros((1, 1, 1, 1), dtype=torch.uint8, device=device), 1.0)


def fused_on(device: torch.device) -> bool:
    """Whether fused forms run on a device: on CUDA, with Triton. Elsewhere the definitions do."""
    return device.type != "cpu" and usable(device, _probe)


def words_on(device: torch.device) -> Words:
    """The maker of random words there: all makers give the same."""
    maker: Words = _found(WORDS) if fused_on(device) else keyed.words
    return maker


def form_on(device: torch.device, name: str) -> Form:
    """What runs there, given words. On a CPU the definition, where the only loops are those from keys."""
    chosen = corruption_of(name)
    if device.type == "cpu":
        return chosen.loops or chosen.definition
    form: Form = _found(FUSED[name]) if name in FUSED and fused_on(device) else chosen.definition
    return form


def run(name: str, images: Tensor, keys: Tensor | None, setting: Setting) -> Tensor:
    """Corrupt uint8 (N, C, H, W), contiguous. `keys` are `keyed.keys`'s, int64 (N,); None where nothing is drawn."""
    chosen, words = corruption_of(name), None
    if chosen.draw is not None:
        assert keys is not None
        if chosen.loops_from_keys is not None and images.device.type == "cpu":
            return chosen.loops_from_keys(images, keys, setting)
        count, channels, height, width = images.shape
        words = chosen.draw(keys, (count, channels, height, width), setting, words_on(images.device))
    return form_on(images.device, name)(images, words, setting)
