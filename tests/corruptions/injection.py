"""From the corruptions' random words to the oracles' draws, by the words' documented meaning.

Each reader takes the words of one sample as numpy integers, the image's (H, W) and the oracles' Variant, and
returns the keyword arguments of that oracle. None of it calls the corruptions, except that shot noise reads
the sampler's table, whose own distribution test_draws.py checks against Poisson's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri

from robustbench_ms.corruptions.defined.noise import shot_table
from tests.oracles.reference import Variant
from tests.oracles.weather import frost_photograph

__all__ = ["READERS", "centred", "normals"]

Array = np.ndarray


def normals(words: Array) -> Array:
    """The standard normal's quantiles at the middles of the 16-bit words' steps."""
    return ndtri((words + 0.5) / 65536)


def centred(words: Array, bits: int = 16) -> Array:
    """Uniform in -1..1, at the middles of the words' steps."""
    return 2 * (words + 0.5) / 2.0**bits - 1


def _last(values: Array) -> Array:
    """(C, H, W) -> (H, W, C)."""
    return values.transpose(1, 2, 0)


def _z(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    return {"z": _last(normals(words))}


def _flips(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    """The lowest words blacken, the next whiten: half each of the share, to the nearest of 65536 steps."""
    changed = round(variant.p * 65536)
    return {"flipped": _last(words < changed), "salted": _last(words >= changed // 2)}


def shot_counts(words: Array, levels: Array, variant: Variant) -> Array:
    """Photons, of the words' shape: the fewest that give the grey level that a word stands for."""
    bins, table = shot_table(variant.p)
    entry = table.view(np.uint32)[levels, words & (bins - 1)]
    grey = np.where((words >> 16) < (entry >> 16), entry & 255, (entry >> 8) & 255)
    counts = np.arange(int(np.ceil(variant.p)) + 1)
    greys = (np.minimum(counts / variant.p, 1) * 255).astype(int)
    first = np.full(256, -1)
    first[greys[::-1]] = counts[::-1]
    if (first[grey] < 0).any():
        raise ValueError("the table holds a grey level that no number of photons gives")
    return first[grey]


def _moves(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    """A word chooses one of the (2 delta)^2 pairs by its share of 65536; dx is what counts fastest."""
    _, delta, _ = variant.p
    height, width = size
    pair = words.astype(np.int64) * (2 * delta) ** 2 // 65536
    moves = np.stack([pair % (2 * delta) - delta, pair // (2 * delta) - delta], axis=-1)
    return {"moves": np.ascontiguousarray(moves[:, height - delta : delta : -1, width - delta : delta : -1])}


def _angle(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    return {"angle": -45 + 90 * float(words[0]) * 2.0**-53}


def _wobbles(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    """At a level of n x n corners: squares' middles, rows' gaps, columns' gaps from words n^2, 2 n^2, 3 n^2 on."""
    u, n, wobbles = centred(words), 1, []
    while n * n < len(words):
        wobbles += [u[k * n * n : (k + 1) * n * n].reshape(n, n) for k in (1, 2, 3)]
        n *= 2
    return {"wobbles": wobbles}


def _crop(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    """Three 32-bit words: word w takes possibility w k / 2^32 of k."""
    index, *corner = (int(word) for word in words)
    index = index * 5 >> 32
    extent = frost_photograph(index, variant.profile, *size).shape
    top, left = (word * (extent[axis] - size[axis]) >> 32 for axis, word in enumerate(corner))
    return {"index": index, "top": top, "left": left}


def _snowfall(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    """Two halves of the angle's 32 bits, two words unused, then the middle of the layer, which alone is enlarged."""
    kept = [int(np.ceil(extent / variant.p[2])) for extent in size]
    top, left = ((extent - inner) // 2 for extent, inner in zip(size, kept, strict=True))
    z = np.zeros(size)
    z[top : top + kept[0], left : left + kept[1]] = normals(words[4:]).reshape(kept)
    turn = (int(words[0]) + 65536 * int(words[1]) + 0.5) / 2.0**32
    return {"z": z, "angle": -135 + 90 * turn}


def _layer(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    return {"z": normals(words).reshape(size)}


def _fields(words: Array, size: tuple[int, int], variant: Variant) -> dict[str, Any]:
    """In the published profiles x and y of three shifts and two words unused; then the fields of dx and of dy."""
    values = centred(words)
    lead = 0 if variant.package else 8
    u, v = values[lead:].reshape(2, *size)
    return {"u": u, "v": v, **({} if variant.package else {"shifts": values[:6].reshape(3, 2)})}


READERS: dict[str, Callable[[Array, tuple[int, int], Variant], dict[str, Any]]] = {
    "gaussian_noise": _z,
    "speckle_noise": _z,
    "impulse_noise": _flips,
    "glass_blur": _moves,
    "motion_blur": _angle,
    "fog": _wobbles,
    "elastic_transform": _fields,
    "snow": _snowfall,
    "spatter": _layer,
    "frost": _crop,
}
