"""Elastic transform: pixels moved along a smooth random field; in the published profiles after a random affine map.

The fields are smoothed in whole numbers: noise of 17 bits, Gaussian weights of 28, sums below 2^53, all exact
in float64. So the order of the additions cannot matter, and a product of matrices (any radius, any device) gives
what short sums give. Both interpolations are linear, in float32, written a + (b - a) t, which leaves flat
patches as they are; the affine one stays float until the second is done, as in the source.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Corruption, Setting, Shape, Words
from robustbench_ms.corruptions.cpu.compile import compiled, spread
from robustbench_ms.corruptions.cpu.fields import fill, narrow
from robustbench_ms.corruptions.cpu.resampling import mapped, moved, packed
from robustbench_ms.corruptions.cpu.smoothing import SHIFT, grouped, smoothed_by_sums
from robustbench_ms.corruptions.cpu.words import unsigned

from .gaussian_blur import gaussian_weights

__all__ = [
    "ELASTIC",
    "affine",
    "by_loops",
    "by_loops_from_keys",
    "by_torch",
    "displacements",
    "draw",
    "smoothed",
]

Array = np.ndarray[Any, np.dtype[Any]]

_WEIGHT_BITS = 28
_UNIT = 2.0**-52
"""What one whole number of the result stands for, of the uniform noise in -1..1: 16 + 28 - 20 + 28 bits."""
_LEAD = 8
"""Words before the fields' in the published profiles."""
_SHORT = 32
"""The longest radius that sums are used for on the CPU; beyond it products of matrices are faster."""


def _published(setting: Setting) -> bool:
    return setting.profile != "any-size"


def draw(keys: Tensor, shape: Shape, setting: Setting, words: Words) -> Tensor:
    """16-bit words, each u = 2 (word + 1/2) / 65536 - 1, uniform in -1..1: int32 (N, 2 H W), or 8 more.

    The field along the columns (dx), then the field along the rows (dy), row by row. In the published profiles
    they come after 8 words: x and y of the affine map's three shifts, and two that are not used.
    """
    lead = _LEAD if _published(setting) else 0
    return words(keys, lead + 2 * shape[2] * shape[3])


@lru_cache(maxsize=64)
def _weights(sigma: float) -> Array:
    """One side of the filter (truncate 3), in whole numbers: float64 (radius + 1,)."""
    return np.asarray(np.rint(gaussian_weights(sigma, 3.0) * 2**_WEIGHT_BITS))


@lru_cache(maxsize=16)
def _matrix(size: int, sigma: float) -> Tensor:
    """The convolution of `size` values reflected about their outer edges, as often as it takes: (size, size)."""
    weights = _weights(sigma)
    radius = len(weights) - 1
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    for j in range(-radius, radius + 1):
        at = (rows + j) % (2 * size)
        np.add.at(matrix, (rows, np.where(at >= size, 2 * size - 1 - at, at)), weights[abs(j)])
    return torch.from_numpy(matrix)


def _fields(setting: Setting, height: int, width: int) -> tuple[float, float, float]:
    """(sigma along the rows' numbers, sigma along the columns', pixels that noise of 1 moves by)."""
    if _published(setting):
        alpha, sigma, _ = setting.parameters
        return sigma, sigma, alpha
    return 0.01 * height, 0.01 * width, setting.parameters * (0.005 * height)


def displacements(words: Tensor, setting: Setting, height: int, width: int) -> Tensor:
    """Words -> float32 (N, 2, H, W): how far to the right and how far down each pixel reads."""
    fields, unit = smoothed(words, setting, height, width)
    return (fields * unit).to(torch.float32)


def smoothed(words: Tensor, setting: Setting, height: int, width: int) -> tuple[Tensor, float]:
    """`displacements` in whole numbers, float64 (N, 2, H, W), and what one of them stands for."""
    down, along, reach = _fields(setting, height, width)
    lead = _LEAD if _published(setting) else 0
    noise = (2 * words[:, lead:] + (1 - 65536)).to(torch.float64).view(-1, 2, height, width)
    if reach == 0:
        return torch.zeros_like(noise), 0.0
    rows, columns = (_matrix(*of).to(words.device) for of in ((height, down), (width, along)))
    return torch.round(rows @ noise * SHIFT) @ columns.T, _UNIT * reach


def affine(words: Tensor, setting: Setting, height: int, width: int) -> Tensor:
    """The map from a pixel of the result to where it reads, [[a, b, c], [d, e, f]] of (x, y, 1): float64 (N, 6).

    Three points about the middle are moved by up to the third parameter in x and y; the image follows them.
    """
    reach = setting.parameters[2]
    u = (2 * words[:, :6] + (1 - 65536)).to(torch.float64).view(-1, 3, 2) / 65536
    half, third = (float(height // 2), float(width // 2)), float(min(height, width) // 3)
    source = torch.tensor(
        [
            [half[0] + third, half[1] + third],
            [half[0] + third, half[1] - third],
            [half[0] - third, half[1] - third],
        ],
        dtype=torch.float32,
        device=words.device,
    )
    target = (source + (u * reach).to(torch.float32)).to(torch.float64)
    source = source.to(torch.float64)
    (p, r), (q, s) = ((target[:, k] - target[:, 0]).unbind(1) for k in (1, 2))
    (e, g), (f, h) = ((source[k] - source[0]).unbind(0) for k in (1, 2))
    # (p, r) goes to (e, g) and (q, s) to (f, h); points on one line go to one point, as in OpenCV.
    det = p * s - q * r
    unit = torch.where(det == 0, 0.0, 1 / torch.where(det == 0, 1.0, det))
    xx, xy = (e * s - f * r) * unit, (f * p - e * q) * unit
    yx, yy = (g * s - h * r) * unit, (h * p - g * q) * unit
    x0, y0 = target[:, 0].unbind(1)
    xc, yc = source[0, 0] - xx * x0 - xy * y0, source[0, 1] - yx * x0 - yy * y0
    return torch.stack([xx, xy, xc, yx, yy, yc], dim=1)


def _mirrored(at: Tensor, size: int) -> Tensor:
    """Indices reflected about the middles of the first and the last pixel."""
    at = at.abs() % max(2 * size - 2, 1)
    return torch.where(at >= size, 2 * size - 2 - at, at)


def _reflected(at: Tensor, size: int) -> Tensor:
    """Indices reflected about the outer edges of the first and the last pixel."""
    at = at % (2 * size)
    return torch.where(at >= size, 2 * size - 1 - at, at)


def _read(
    pixels: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, down: Tensor, along: Tensor
) -> Tensor:
    """Linear interpolation of float32 (N, C, H, W) at rows and columns (N, H, W) and fractions of them."""
    count, channels, _, width = pixels.shape
    flat = pixels.flatten(2)

    def at(y: Tensor, x: Tensor) -> Tensor:
        where = (y * width + x).view(count, 1, -1).expand(-1, channels, -1)
        return flat.gather(2, where).view(pixels.shape)

    along, down = along[:, None], down[:, None]
    near, far = at(top, left), at(bottom, left)
    near = near + (at(top, right) - near) * along
    far = far + (at(bottom, right) - far) * along
    return near + (far - near) * down


def by_torch(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    """Move the images' pixels along smooth fields.

    `images` uint8 (N, C, H, W); `words` as `draw` gives them. `setting.parameters`: in the published profiles pixels
    that noise of 1 moves by, sigma of its smoothing, reach of the affine map's points (all pixels); for any-size
    the factor alpha of the package, whose fields have sigma 1 % of each side and a reach of 0.5 % of the height.
    """
    assert words is not None
    height, width = images.shape[2:]
    pixels = images.to(torch.float32)
    x = torch.arange(width, device=images.device)
    y = torch.arange(height, device=images.device)[:, None]
    if _published(setting):
        xx, xy, xc, yx, yy, yc = (
            part[:, None, None] for part in affine(words, setting, height, width).unbind(1)
        )
        at_x, at_y = xx * x + xy * y + xc, yx * x + yy * y + yc
        column, row = at_x.floor(), at_y.floor()
        along, down = (at_x - column).to(torch.float32), (at_y - row).to(torch.float32)
        left, top = column.to(torch.int64), row.to(torch.int64)
        pixels = _read(
            pixels, _mirrored(top, height), _mirrored(top + 1, height),
            _mirrored(left, width), _mirrored(left + 1, width), down, along,
        )  # fmt: skip
    dx, dy = displacements(words, setting, height, width).unbind(1)
    column, row = dx.floor(), dy.floor()
    left, top = x + column.to(torch.int64), y + row.to(torch.int64)
    moved_ = _read(
        pixels, _reflected(top, height), _reflected(top + 1, height),
        _reflected(left, width), _reflected(left + 1, width), dy - row, dx - column,
    )  # fmt: skip
    return moved_.to(torch.uint8)


@compiled(fastmath={"contract"})  # type: ignore[untyped-decorator]
def _product(matrix: Any, x: Any, out: Any) -> None:
    """Matrix (I, K) times x (K, J) -> out (I, J), four rows of x at a time."""
    rows, inner = matrix.shape
    for i in range(rows):
        total = out[i]
        total[:] = 0
        k = 0
        while k + 4 <= inner:
            a, b, c, d = matrix[i, k], matrix[i, k + 1], matrix[i, k + 2], matrix[i, k + 3]
            x1, x2, x3, x4 = x[k], x[k + 1], x[k + 2], x[k + 3]
            for j in range(total.size):
                total[j] += a * x1[j] + b * x2[j] + c * x3[j] + d * x4[j]
            k += 4
        while k < inner:
            a, x1 = matrix[i, k], x[k]
            for j in range(total.size):
                total[j] += a * x1[j]
            k += 1


@compiled
def _along_first(x: Any, even: Any, odd: Any, gain: Any, out: Any) -> None:
    """Smooth x (n, m) along its first axis, times `gain`, rounded -> out (m, n): transposed.

    A filter that looks the same from both ends takes even input to even output and odd to odd, which halves
    the work: `even` (ceil(n / 2), ceil(n / 2)) and `odd` (n // 2, n // 2) are its halves, doubled.
    """
    n, m = x.shape
    half, other = even.shape[0], odd.shape[0]
    sums, differences = np.empty((half, m), np.float64), np.empty((other, m), np.float64)
    for k in range(other):
        for j in range(m):
            sums[k, j] = x[k, j] + x[n - 1 - k, j]
            differences[k, j] = x[k, j] - x[n - 1 - k, j]
    if half > other:
        for j in range(m):
            sums[other, j] = x[other, j]
    upper, lower = np.empty((half, m), np.float64), np.empty((half, m), np.float64)
    _product(even, sums, upper)
    _product(odd, differences, lower[:other])
    lower[other:] = 0
    for j in range(m):
        for i in range(half):
            out[j, i] = np.rint((upper[i, j] + lower[i, j]) * gain)
            out[j, n - 1 - i] = np.rint((upper[i, j] - lower[i, j]) * gain)


@compiled
def _smoothed_by_matrices(
    words: Any,
    height: Any,
    width: Any,
    down: Any,
    down_odd: Any,
    along: Any,
    along_odd: Any,
    scale: Any,
    out: Any,
) -> None:
    """`smoothed_by_sums` for any radius, with the halves that `_along_first` takes."""
    noise, once = np.empty((height, width), np.float64), np.empty((width, height), np.float64)
    for y in range(height):
        for x in range(width):
            noise[y, x] = np.float64(2 * np.int32(words[y * width + x]) + np.int32(1 - 65536))
    _along_first(noise, down, down_odd, SHIFT / 2, once)
    _along_first(once, along, along_odd, 0.5, noise)
    flat = noise.ravel()
    for i in range(flat.size):
        out[i] = np.float32(flat[i] * scale)


@compiled
def _reach(dx: Any, dy: Any) -> Any:
    """The frame that reading along the fields (H, W) needs."""
    most = np.float32(0)
    for y in range(dx.shape[0]):
        for x in range(dx.shape[1]):
            most = max(most, abs(dx[y, x]), abs(dy[y, x]))
    return np.int64(np.ceil(most)) + 1


@compiled
def _images(
    start: Any, stop: Any, images: Any, out: Any, words: Any, keys: Any, lead: Any, parts: Any,
    down: Any, down_odd: Any, along: Any, along_odd: Any, scale: Any,
) -> Any:  # fmt: skip
    """`down` and `along` as `_filters` gives them."""
    height, width = images.shape[2:]
    size = height * width
    buffer = np.empty((lead + 2 * size + 3) // 4, np.uint64)
    seen = buffer.view(np.uint16)
    field = np.zeros((2, size), np.float32)
    for n in range(start, stop):
        if scale != 0:
            if keys.size:
                fill(keys[n], buffer)
            else:
                seen[: words.shape[1]] = words[n]
            for k in range(2):
                noise = seen[lead + k * size : lead + (k + 1) * size]
                if down.shape[0] == 1:
                    smoothed_by_sums(noise, height, width, down[0], along[0], scale, field[k])
                else:
                    _smoothed_by_matrices(
                        noise, height, width, down, down_odd, along, along_odd, scale, field[k]
                    )
        dx, dy = field[0].reshape(height, width), field[1].reshape(height, width)
        margin = _reach(dx, dy)
        if parts.size:
            moved(mapped(images[n], parts[n], margin), margin, dx, dy, out[n])
        else:
            moved(packed(images[n], margin, False), margin, dx, dy, out[n])


def _halves(matrix: Array) -> tuple[Array, Array]:
    """What a matrix that looks the same from both ends does to even and to odd input, doubled."""
    size = len(matrix)
    other = size // 2
    half = size - other
    there, back = matrix[:half, :half], matrix[:half, ::-1][:, :half]
    even, odd = there + back, (there - back)[:other, :other]
    if size % 2:  # the middle value is its own mirror image
        even[:, -1] = 2 * there[:, -1]
    return np.ascontiguousarray(even), np.ascontiguousarray(odd)


@lru_cache(maxsize=16)
def _filters(
    height: int, width: int, sigma_down: float, sigma_along: float
) -> tuple[Array, Array, Array, Array]:
    """What the compiled smoothing takes: each axis's short sum (1, taps) and nothing, or its matrix's halves."""
    down, along = grouped(_weights(sigma_down)), grouped(_weights(sigma_along))
    if len(down) <= min(height, _SHORT) + 1 and len(along) <= min(width, _SHORT) + 1:
        nothing = np.empty((0, 0))
        return down[None], nothing, along[None], nothing
    rows, columns = _matrix(height, sigma_down).numpy(), _matrix(width, sigma_along).numpy()
    return (*_halves(rows), *_halves(columns))


def _run(images: Tensor, words: Tensor | None, keys: Tensor, setting: Setting) -> Tensor:
    height, width = images.shape[2:]
    sigma_down, sigma_along, reach = _fields(setting, height, width)
    lead, parts = 0, np.empty((0, 6))
    if _published(setting):
        lead = _LEAD
        first = keyed.words(keys, lead) if words is None else words
        parts = affine(first, setting, height, width).numpy()
    filters = _filters(height, width, sigma_down, sigma_along) if reach else (np.empty((1, 1)),) * 4
    out = torch.empty_like(images)
    spread(
        _images, len(images), images.numpy(), out.numpy(),
        np.empty((0, 0), np.uint16) if words is None else narrow(words), unsigned(keys), lead, parts,
        *filters, _UNIT * reach, grain=1 + 10_000 // (height * width),
    )  # fmt: skip
    return out


def by_loops(images: Tensor, words: Tensor | None, setting: Setting) -> Tensor:
    assert words is not None
    return _run(images, words, torch.empty(0, dtype=torch.int64), setting)


def by_loops_from_keys(images: Tensor, keys: Tensor, setting: Setting) -> Tensor:
    return _run(images, None, keys, setting)


ELASTIC = Corruption(by_torch, draw, by_loops, by_loops_from_keys)
