"""Glass blur: blur, let pixels take the place of near ones, blur again.

The sources write `x[h, w], x[h', w'] = x[h', w'], x[h, w]` on numpy views, which copies x[h', w'] to x[h, w] and
leaves the other as it is; that made the published images and is what is done here. Pixels are visited from
the bottom right. A pixel so takes the value of its partner, which has already changed if it comes later in
raster order and was visited: following partners to the first that had not changed gives every pixel of a
round at once, without the order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import keyed
from .kernel import Kernel, Setting
from .separable import soften, soften_exactly

__all__ = ["GLASS", "offsets"]


def _draw(keys: Tensor, shape: tuple[int, int, int, int], setting: Setting) -> Tensor:
    """One 16-bit word a pixel and round: int32 (N, rounds, H, W); `offsets` says what it means."""
    count, _, height, width = shape
    rounds = setting.parameters[2]
    return keyed.words(keys, rounds * height * width).view(count, rounds, height, width)


def offsets(words: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """(dx, dy) in -reach..reach-1 of each 16-bit word.

    The word chooses one of (2 reach)^2 pairs by its share of 65536: each pair's probability is right to 1 in
    650 at reach 5, exactly at 1, 2 and 4.
    """
    pair = (words * (2 * reach) ** 2) >> 16
    return pair % (2 * reach) - reach, pair // (2 * reach) - reach


def _sources(words: Tensor, reach: int) -> Tensor:
    """Which pixel each takes its value from in one round: int64 (N, H * W), raster positions."""
    count, height, width = words.shape
    rows = torch.arange(height, device=words.device)[:, None]
    columns = torch.arange(width, device=words.device)
    moved = (rows > reach) & (rows <= height - reach) & (columns > reach) & (columns <= width - reach)
    here = rows * width + columns
    dx, dy = offsets(words, reach)
    partner = torch.where(moved, here + dy * width + dx, here).view(count, -1).to(torch.int64)
    # A partner that comes later and was visited has changed already: go on to its own partner, and so on.
    later = (partner > here.view(-1)) & moved.view(-1)[partner]
    onward = torch.where(later, partner, here.view(-1))
    while True:  # each step doubles the length of the chains that are followed
        further = onward.gather(1, onward)
        if torch.equal(further, onward):
            return partner.gather(1, onward)
        onward = further


def _apply(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    sigma, reach, rounds = setting.parameters
    x = soften_exactly(images, sigma)
    pixels = x.flatten(2)
    for i in range(rounds):
        source = _sources(words[:, i], reach)
        pixels = pixels.gather(2, source[:, None].expand_as(pixels))
    return soften(pixels.view_as(x), sigma)


GLASS = Kernel(_apply, _draw)
