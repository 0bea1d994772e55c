"""The artefacts of scanners in float64, by Fourier transforms and SciPy, as the protocol's table has them.

Shares no line and no table with the product; what is drawn is SplitMix64's, written out.
"""

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation
from scipy.special import ndtri

LEVELS = {
    "bias_field": (0.2, 0.3, 0.4, 0.5, 0.6),
    "ghosting": (0.5, 1.0, 1.5, 2.0, 2.5),
    "motion": (2, 4, 6, 8, 10),
    "spike": (0.2, 0.4, 0.6, 0.8, 1.0),
    "rician_noise": (0.4, 0.8, 1.2, 1.6, 2.0),
    "gamma_up": (1.4, 1.8, 2.2, 2.6, 3.0),
    "gamma_down": (0.86, 0.72, 0.58, 0.44, 0.3),
    "anisotropic": (24, 20, 16, 12, 8),
    "blur": (0.01, 0.02, 0.03, 0.04, 0.05),
    "ringing": (10, 8, 6, 4, 3),
    "rotation": (6, 12, 18, 24, 30),
    "shift": (0.02, 0.04, 0.06, 0.08, 0.1),
    "elastic": (0.02, 0.04, 0.06, 0.08, 0.1),
}
ALL = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(x):
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & ALL
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & ALL
    return x ^ x >> 31


class Drawn:
    def __init__(self, name, seed, number):
        code = 0x564F4C00_00000000 + list(LEVELS).index(name) + 1
        self.key = mix(mix((number + GOLDEN) & ALL) ^ mix(mix(seed & ALL) ^ code))

    def words(self, count, stream):
        key = mix(self.key ^ (0xD1342543DE82EF95 * stream & ALL)) if stream else self.key
        return [mix((key + (i + 1) * GOLDEN) & ALL) for i in range(count)]

    def uniform(self, count, stream=0):
        return np.array([word >> 11 for word in self.words(count, stream)]) / 2.0**53

    def normal(self, shape, stream):
        count = int(np.prod(shape))
        four = [word >> 16 * k & 0xFFFF for word in self.words(-(-count // 4), stream) for k in range(4)]
        return ndtri((np.array(four[:count]) + 0.5) / 65536).reshape(shape)

    def direction(self, stream=0):
        return direction(*self.uniform(2, stream))


def direction(first, second):
    z = 2 * first - 1
    return np.array(
        [z, np.sqrt(1 - z**2) * np.cos(2 * np.pi * second), np.sqrt(1 - z**2) * np.sin(2 * np.pi * second)]
    )


def places(name, shape, level, seed, number, spacing=(1, 1, 1)):
    """Where a moving artefact reads each voxel, (3, D, H, W)."""
    drawn, strength = Drawn(name, seed, number), LEVELS[name][level - 1]
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)
    sides = np.array(shape)
    if name == "shift":
        return grid - (strength * sides * drawn.direction())[:, None, None, None]
    if name == "elastic":
        points = 2 * drawn.uniform(375).reshape(3, 5, 5, 5) - 1
        fine = grid * (4 / (sides - 1))[:, None, None, None]
        away = np.stack([ndimage.map_coordinates(p, fine, order=1, mode="nearest") for p in points])
        return grid + away * (strength * sides)[:, None, None, None]
    return turned(
        grid, sides, drawn.direction() * np.deg2rad(strength), np.zeros(3), np.array(spacing, float)
    )


def turned(grid, sides, vector, by, spacing):
    middle = ((sides - 1) / 2)[:, None, None, None]
    millimetres = (grid - middle - by[:, None, None, None]) * spacing[:, None, None, None]
    back = Rotation.from_rotvec(vector).inv().apply(millimetres.reshape(3, -1).T).T.reshape(grid.shape)
    return back / spacing[:, None, None, None] + middle


def read(x, at):
    return ndimage.map_coordinates(x, at, order=1, mode="grid-constant", cval=0)


def artefact(x, name, level, seed, number, spacing=(1, 1, 1)):
    """A scaled volume (D, H, W), float64."""
    drawn, strength = Drawn(name, seed, number), LEVELS[name][level - 1]
    if name in {"rotation", "shift", "elastic"}:
        return read(x, places(name, x.shape, level, seed, number, spacing))
    if name == "bias_field":
        axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in x.shape), indexing="ij")
        terms = [(i, j, k) for i in range(4) for j in range(4) for k in range(4) if 0 < i + j + k <= 3]
        drawn_here = 2 * drawn.uniform(19) - 1
        return x * np.exp(
            sum(
                strength * c * axes[0] ** i * axes[1] ** j * axes[2] ** k
                for c, (i, j, k) in zip(drawn_here, terms, strict=True)
            )
        )
    if name == "ghosting":
        axis = int(drawn.uniform(1)[0] * 3)
        k = np.fft.fftfreq(x.shape[axis], 1 / x.shape[axis]).round().astype(int)
        factor = np.where((k % 4 == 0) & (k != 0), 1 - strength, 1)
        shape = [-1 if a == axis else 1 for a in range(3)]
        return np.maximum(np.fft.ifft(np.fft.fft(x, axis=axis) * factor.reshape(shape), axis=axis).real, 0)
    if name == "motion":
        return moved(x, drawn, strength)
    if name == "spike":
        half = np.array(x.shape) // 2  # a frequency above it would be another one
        cycles = np.clip(np.rint((1.5 + 8.5 * drawn.uniform(1, 1)[0]) * drawn.direction()), -half, half)
        grid = np.meshgrid(*(np.arange(n) / n for n in x.shape), indexing="ij")
        return x + strength * x.mean() * np.cos(
            2 * np.pi * sum(c * g for c, g in zip(cycles, grid, strict=True))
        )
    if name == "rician_noise":
        a, b = (drawn.normal(x.shape, stream) for stream in (0, 1))
        return np.hypot(x + strength * x.std() * a, strength * x.std() * b)
    if name.startswith("gamma"):
        return np.sign(x) * np.abs(x) ** strength
    if name == "anisotropic":
        return sliced(x, int(drawn.uniform(1)[0] * 3), strength)
    if name == "blur":
        return ndimage.gaussian_filter(x, [strength * n for n in x.shape], truncate=4, mode="reflect")
    assert name == "ringing"
    spectrum = np.fft.fftn(x)
    for axis, n in enumerate(x.shape):
        kept = np.abs(np.fft.fftfreq(n, 1 / n).round()) <= strength
        spectrum = spectrum * kept.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.fft.ifftn(spectrum).real


def sliced(x, axis, slices):
    x = np.moveaxis(x, axis, 0)
    n = len(x)
    slices = min(slices, n)
    whole = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0)])
    edges = np.linspace(0, n, slices + 1)
    upto = np.stack([whole[int(e)] + (e - int(e)) * (x[min(int(e), n - 1)]) for e in edges])
    means = np.diff(upto, axis=0) * slices / n
    place = (np.arange(n) + 0.5) * slices / n - 0.5
    again = np.stack([ndimage.map_coordinates(means.reshape(slices, -1)[:, i], [place], order=1, mode="nearest")
                      for i in range(means[0].size)], axis=1)  # fmt: skip
    return np.moveaxis(again.reshape(x.shape), 0, axis)


def moved(x, drawn, degrees):
    times, turns = drawn.uniform(10, 0), drawn.uniform(20, 1).reshape(10, 2)
    angles = 2 * drawn.uniform(10, 2) - 1
    steps = 2 * drawn.uniform(30, 3).reshape(10, 3) - 1
    grid = np.stack(np.meshgrid(*map(np.arange, x.shape), indexing="ij")).astype(float)
    sides = np.array(x.shape)
    n, order = x.shape[2], sorted(range(degrees), key=lambda m: times[m])
    spectra = [np.fft.fftshift(np.fft.fft(x, axis=2), axes=2)]
    for m in order:
        vector = direction(*turns[m]) * np.deg2rad(degrees * angles[m])
        one = read(x, turned(grid, sides, vector, degrees / 100 * steps[m] * sides, np.ones(3)))
        spectra.append(np.fft.fftshift(np.fft.fft(one, axis=2), axes=2))
    cuts = [int(times[m] * n) for m in order]
    whose = np.searchsorted(cuts, np.arange(n), side="right")  # how many moves came before a plane
    centre = whose[n // 2]
    made = np.empty_like(spectra[0])
    for plane, i in enumerate(whose):
        made[..., plane] = spectra[{centre: 0, 0: centre}.get(i, i)][..., plane]
    return np.fft.ifft(np.fft.ifftshift(made, axes=2), axis=2).real
