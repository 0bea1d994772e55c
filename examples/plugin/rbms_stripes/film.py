"""Damage of film: dust (white specks at random) and fading (towards a pale grey)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.tasks.foreign import ForeignCorruption, ForeignCorruptions


def draw_dust(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """One word of 16 bits a pixel, (N, H * W), of keys alone."""
    del setting
    return words(keys, shape[2] * shape[3])


def dust(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Pixels whose word lies below the setting's share of 65,536 are white."""
    assert words is not None
    count, _, height, width = images.shape
    speck = words.view(count, 1, height, width) < round(setting.parameters * 65_536)
    return images.masked_fill(speck, 255)


def fade(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """A mixture with grey 200, of which the setting says the part in 256, in whole numbers."""
    del words
    mixed = images.int() * (256 - setting.parameters) + 200 * setting.parameters
    return (mixed // 256).to(images.dtype)


class Film(ForeignCorruptions):
    """Both, at three strengths."""

    distribution = "rbms-stripes"
    corruptions: ClassVar = {
        "dust": ForeignCorruption(Corruption(dust, draw_dust), {1: 0.05, 2: 0.15, 3: 0.3}),
        "fade": ForeignCorruption(Corruption(fade), {1: 64, 2: 128, 3: 224}),
    }
