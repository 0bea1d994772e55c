"""Linear interpolation at arbitrary points, compiled for the CPU: a whole pixel at a time.

A framed image holds four values a pixel (red, green, blue and nothing), row after row, in a frame of `margin`
pixels that repeats the image's edges. So a point needs no test for the border, and its four neighbours are
four vectors. The arithmetic is a + (b - a) t in float32, each step rounded, as in torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compile import compiled

__all__ = ["frame", "mapped", "mirror", "moved", "packed", "reflect"]

_INT = ir.IntType(32)
_FLOATS, _INTS, _BYTES = (ir.VectorType(kind, 4) for kind in (ir.FloatType(), _INT, ir.IntType(8)))
_NOTHING = ir.Constant(_FLOATS, ir.Undefined)


def _interpolation(
    _: Any, pixels: Any, first: Any, step: Any, along: Any, down: Any, out: Any, to: Any
) -> Any:
    """out[to:to + 4] = the pixel at pixels[first], `along` of the way to the next and `down` to the row below.

    `pixels` and `out` are uint8 or float32 arrays, `step` the values of a row; no bounds are checked.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pixels, first, step, along, down, out, to = arguments
        source, target = signature.args[0], signature.args[5]

        def vector(array: Any, kind: Any, index: Any) -> Any:
            data = context.make_array(kind)(context, builder, array).data
            lanes = _BYTES if kind.dtype == types.uint8 else _FLOATS
            return builder.bitcast(builder.gep(data, [index]), lanes.as_pointer())

        def pixel(index: Any) -> Any:
            where = vector(pixels, source, index)
            if source.dtype == types.uint8:
                return builder.uitofp(builder.load(where, align=1), _FLOATS)
            return builder.load(where, align=4)

        def spread(scalar: Any) -> Any:
            one = builder.insert_element(_NOTHING, scalar, ir.Constant(_INT, 0))
            return builder.shuffle_vector(one, _NOTHING, ir.Constant(_INTS, [0] * 4))

        def between(a: Any, b: Any, share: Any) -> Any:
            return builder.fadd(a, builder.fmul(builder.fsub(b, a), share))

        four, below = ir.Constant(first.type, 4), builder.add(first, step)
        share = spread(along)
        near = between(pixel(first), pixel(builder.add(first, four)), share)
        far = between(pixel(below), pixel(builder.add(below, four)), share)
        value, where = between(near, far, spread(down)), vector(out, target, to)
        if target.dtype == types.uint8:
            builder.store(builder.trunc(builder.fptosi(value, _INTS), _BYTES), where, align=1)
        else:
            builder.store(value, where, align=4)
        return context.get_dummy_value()

    return types.void(pixels, first, step, along, down, out, to), generate


_interpolate: Any = intrinsic(_interpolation)


@compiled
def mirror(at: Any, size: Any) -> Any:
    """An index reflected about the middles of the first and the last pixel."""
    if 0 <= at < size:
        return at
    at = abs(at) % max(2 * size - 2, 1)
    return 2 * size - 2 - at if at >= size else at


@compiled
def reflect(at: Any, size: Any) -> Any:
    """An index reflected about the outer edges of the first and the last pixel."""
    if 0 <= at < size:
        return at
    at %= 2 * size
    return 2 * size - 1 - at if at >= size else at


@compiled
def frame(framed: Any, height: Any, width: Any, margin: Any, about_middles: Any) -> None:
    """Fill the frame from the image, which is there already: `mirror` if `about_middles`, else `reflect`.

    `framed` is flat, 4 (height + 2 margin + 1)(width + 2 margin): one row more than is ever seen, whose content
    does not matter, for the last point's neighbour.
    """
    step = 4 * (width + 2 * margin)
    for y in range(margin, margin + height):
        line = framed[y * step : (y + 1) * step]
        for x in range(margin):
            before, after = x - margin, width + x
            left = 4 * (margin + (mirror(before, width) if about_middles else reflect(before, width)))
            right = 4 * (margin + (mirror(after, width) if about_middles else reflect(after, width)))
            for c in range(4):
                line[4 * x + c] = line[left + c]
                line[4 * (margin + after) + c] = line[right + c]
    for y in range(margin):
        before, after = y - margin, height + y
        above = margin + (mirror(before, height) if about_middles else reflect(before, height))
        below = margin + (mirror(after, height) if about_middles else reflect(after, height))
        upper, lower = framed[y * step : (y + 1) * step], framed[(margin + after) * step :]
        for i in range(step):
            upper[i] = framed[above * step + i]
        for i in range(step):
            lower[i] = framed[below * step + i]
    last = framed[(height + 2 * margin) * step :]
    for i in range(step):
        last[i] = 0


@compiled
def packed(image: Any, margin: Any, about_middles: Any) -> Any:
    """uint8 (C, H, W), C 3 or 1 -> the framed image, uint8."""
    channels, height, width = image.shape
    step = 4 * (width + 2 * margin)
    framed = np.empty((height + 2 * margin + 1) * step, np.uint8)
    for y in range(height):
        begin = (y + margin) * step + 4 * margin
        line = framed[begin : begin + 4 * width]
        red, green, blue = image[0, y], image[channels // 2, y], image[channels - 1, y]
        for x in range(width):
            line[4 * x], line[4 * x + 1], line[4 * x + 2], line[4 * x + 3] = red[x], green[x], blue[x], 0
    frame(framed, height, width, margin, about_middles)
    return framed


@compiled
def mapped(image: Any, part: Any, margin: Any) -> Any:
    """The affine map `part` (6,) of an image, uint8 (C, H, W), reflected about its edge pixels' middles.

    -> framed float32, with the outer edges reflected.
    """
    _, height, width = image.shape
    # How far the corners read beyond the image; what lies between them reads no further.
    reach = 0.0
    for corner in range(4):
        x, y = (width - 1) * (corner % 2), (height - 1) * (corner // 2)
        at_x, at_y = part[0] * x + part[1] * y + part[2], part[3] * x + part[4] * y + part[5]
        reach = max(reach, -at_x, -at_y, at_x - (width - 1), at_y - (height - 1))
    near = reach < max(height, width)  # a map gone wild would need a frame that fills the memory
    border = np.int64(np.ceil(reach)) + 1 if near else 0
    source = packed(image, border, True)
    source_step = 4 * (width + 2 * border)
    step = 4 * (width + 2 * margin)
    framed = np.empty((height + 2 * margin + 1) * step, np.float32)
    first = np.empty(width, np.int64)
    along, down = np.empty(width, np.float32), np.empty(width, np.float32)
    cell = np.empty(16, np.uint8)
    for y in range(height):
        to = (y + margin) * step + 4 * margin
        for x in range(width):
            at_x, at_y = part[0] * x + part[1] * y + part[2], part[3] * x + part[4] * y + part[5]
            column, row = np.floor(at_x), np.floor(at_y)
            along[x], down[x] = np.float32(at_x - column), np.float32(at_y - row)
            if near:
                first[x] = (np.int64(row) + border) * source_step + 4 * (np.int64(column) + border)
            else:
                for i in range(4):
                    yy, xx = mirror(np.int64(row) + i // 2, height), mirror(np.int64(column) + i % 2, width)
                    for c in range(4):
                        cell[4 * i + c] = source[yy * source_step + 4 * xx + c]
                _interpolate(cell, 0, 8, along[x], down[x], framed, to + 4 * x)
        if near:
            for x in range(width):
                _interpolate(source, first[x], source_step, along[x], down[x], framed, to + 4 * x)
    frame(framed, height, width, margin, False)
    return framed


@compiled
def moved(framed: Any, margin: Any, dx: Any, dy: Any, out: Any) -> None:
    """A framed image read along the fields (H, W), which stay within the margin -> uint8 (C, H, W)."""
    channels, height, width = out.shape
    step = 4 * (width + 2 * margin)
    first = np.empty(width, np.int64)
    along, down = np.empty(width, np.float32), np.empty(width, np.float32)
    pixels = np.empty(4 * width, np.uint8)
    for y in range(height):
        right, below = dx[y], dy[y]
        begin = (y + margin) * step + 4 * margin
        for x in range(width):
            column, row = np.floor(right[x]), np.floor(below[x])
            along[x], down[x] = right[x] - column, below[x] - row
            first[x] = begin + 4 * (x + np.int64(column)) + np.int64(row) * step
        for x in range(width):
            _interpolate(framed, first[x], step, along[x], down[x], pixels, 4 * x)
        for c in range(channels):
            line = out[c, y]
            for x in range(width):
                line[x] = pixels[4 * x + c]
