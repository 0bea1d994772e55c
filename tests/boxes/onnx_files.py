"""ONNX files of a few nodes, written as protocol buffers by hand: the package that writes them is not needed."""

from __future__ import annotations

import numpy as np


def varint(n):
    low, rest = n & 127, n >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number, value):
    """A field of a message: a whole number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def value_info(name, shape):
    dims = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def tensor(name, values):
    values = np.asarray(values, np.float32)
    return (
        b"".join(field(1, d) for d in values.shape)
        + field(2, 1)
        + field(8, name)
        + field(9, values.tobytes())
    )


def node(kind, inputs, output, **attributes):
    made = b"".join(field(1, i) for i in inputs) + field(2, output) + field(4, kind)
    for name, value in attributes.items():
        whole = isinstance(value, int)
        told = (
            field(3, value) + field(20, 2) if whole else b"".join(field(8, v) for v in value) + field(20, 7)
        )
        made += field(5, field(1, name) + told)
    return made


def yolox_file(path, raw, shape):
    """A file whose answer to an image is `raw` (locations, 5 + classes), its objectness the image's mean by 255."""
    count, width = np.shape(raw)
    slope = np.zeros((1, 1, width))
    slope[..., 4] = 1 / 255
    nodes = [
        node("ReduceMean", ["images"], "a", axes=[1, 2], keepdims=1),
        node("ReduceMean", ["a"], "mean", axes=[3], keepdims=0),
        node("Mul", ["mean", "slope"], "b"),
        node("Add", ["raw", "b"], "output"),
    ]
    graph = b"".join(field(1, one) for one in nodes) + field(2, "g")
    graph += field(5, tensor("slope", slope)) + field(5, tensor("raw", np.asarray(raw)[None]))
    graph += field(11, value_info("images", shape)) + field(
        12, value_info("output", (shape[0], count, width))
    )
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    return path
