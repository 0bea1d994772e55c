"""Glass blur: blur, let pixels take the place of near ones, blur again.

The sources write `x[h, w], x[h', w'] = x[h', w'], x[h, w]` on numpy views, which copies x[h', w'] to x[h, w] and
leaves the other as it is; that made the published images and is what is done here. Pixels are visited from
the bottom right. A pixel so takes the value of its partner, which has already changed if it comes later in
raster order and was visited: following partners to the first that had not changed gives every pixel of a
round at once, without the order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.words import unsigned, word

from .gaussian_blur import soften_by_loops, soften_by_torch, soften_exactly_by_loops, soften_exactly_by_torch

__all__ = ["GLASS", "by_loops", "by_loops_from_keys", "by_torch", "draw", "offsets"]

Array = np.ndarray[Any, np.dtype[Any]]


def draw(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """One 16-bit word a pixel and round: int32 (N, rounds, H, W); `offsets` says what it means."""
    count, _, height, width = shape
    rounds = setting.parameters[2]
    return words(keys, rounds * height * width).view(count, rounds, height, width)


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


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """The definition, for any device."""
    assert words is not None
    sigma, reach, _ = setting.parameters
    return soften_by_torch(move_by_torch(soften_exactly_by_torch(images, sigma), words, reach), sigma)


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    return _blurred(images, words.to(torch.uint16).flatten(1).numpy(), setting)


def by_loops_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _blurred(images, unsigned(keys), setting)


def _blurred(images: Tensor, words: Array, setting: Setting) -> Tensor:
    sigma = setting.parameters[0]
    return soften_by_loops(move_compiled(soften_exactly_by_loops(images, sigma), words, setting), sigma)


def move_by_torch(images: Tensor, words: Tensor, reach: int) -> Tensor:
    """The definition's rounds between the two blurs."""
    pixels = images.flatten(2)
    for i in range(words.shape[1]):
        source = _sources(words[:, i], reach)
        pixels = pixels.gather(2, source[:, None].expand_as(pixels))
    return pixels.view_as(images)


def move_compiled(images: Tensor, words: Array, setting: Setting) -> Tensor:
    """The rounds on the CPU: `words` are uint16 (N, rounds * H * W), or keys, uint64 (N,), to make them from."""
    _, reach, rounds = setting.parameters
    out = torch.empty_like(images)
    grain = max(1, 20_000 // (images.shape[2] * images.shape[3]))
    spread(_images, len(images), images.numpy(), words, reach, rounds, out.numpy(), grain=grain)
    return out


@compiled
def _images(start: Any, stop: Any, images: Any, words: Any, reach: Any, rounds: Any, out: Any) -> None:
    """Pixel after pixel as the sources do it, on pixels packed into one word each."""
    channels, height, width = images.shape[1:]
    size = height * width
    distance = np.empty(
        (2 * reach) ** 2, np.uint64
    )  # modulo 2^64: an index with a sign would be checked for it
    for pair in range(len(distance)):
        distance[pair] = np.uint64((pair // (2 * reach) - reach) * width + pair % (2 * reach) - reach)
    pixels = np.empty(size, np.uint32)
    pairs = np.empty(rounds * size, np.uint8)
    block = np.empty((rounds * size + 3) // 4 if words.ndim == 1 else 0, np.uint64)
    for n in range(start, stop):
        planes = images[n].reshape(channels, size)
        if words.ndim == 1:
            for j in range(len(block)):
                block[j] = word(words[n], np.uint64(j))
            drawn = block.view(np.uint16)
        else:
            drawn = words[n]
        for i in range(len(pairs)):
            pairs[i] = (np.int32(drawn[i]) * np.int32(len(distance))) >> 16
        for i in range(size):
            pixels[i] = planes[0, i]
        for c in range(1, channels):
            for i in range(size):
                pixels[i] |= np.uint32(planes[c, i]) << np.uint32(8 * c)
        for k in range(rounds):
            drawn_here = pairs[k * size : (k + 1) * size]
            for h in range(height - reach, reach, -1):
                for w in range(width - reach, reach, -1):
                    here = np.uint64(h * width + w)
                    pixels[here] = pixels[here + distance[drawn_here[here]]]
        for c in range(channels):
            plane = out[n, c].ravel()
            for i in range(size):
                plane[i] = np.uint8(pixels[i] >> np.uint32(8 * c))


GLASS = Corruption(by_torch, draw, by_loops, by_loops_from_keys)
