"""The faults once more, from the protocol's table: a plain loop over windows and axes in float64, of given draws.

It shares no code and no table with the package; what is drawn is handed to it.
"""

from __future__ import annotations

import math

import numpy as np

LADDERS = {
    "bias": [0.15, 0.3, 0.45, 0.6, 0.75],
    "drift": [0.2, 0.4, 0.6, 0.8, 1],
    "gain": [1.2, 1.4, 1.6, 1.8, 2],
    "attenuation": [0.85, 0.7, 0.55, 0.4, 0.25],
    "noise": [0.2, 0.4, 0.6, 0.8, 1],
    "dropout_hold": [0.3, 0.5, 0.7, 0.8, 0.9],
    "dropout_zero": [0.05, 0.1, 0.2, 0.3, 0.5],
    "saturation": [0.8, 0.6, 0.5, 0.4, 0.3],
    "quantisation": [8, 6, 5, 4, 3],
    "jitter": [1, 2, 4, 6, 8],
    "warp": [0.5, 1, 1.5, 2, 2.5],
    "rotation": [10, 20, 30, 45, 60],
    "low_rate": [2, 4, 6, 8, 12],
    "occlusion": [0.1, 0.2, 0.3, 0.4, 0.5],
}
HIT = [1, 1, 2, 2, 3]
BURSTS = [(0.05, 0.5), (0.1, 0.7), (0.15, 0.8), (0.2, 0.9), (0.25, 0.95)]


class Window:
    """One window (C, T) of two triads of total and body acceleration and one of a gyroscope, as UCI HAR has them."""

    names = tuple(f"{kind}_{a}" for kind in ("body", "gyro", "total") for a in "xyz")

    def __init__(self, x, mean, sd, largest):
        self.x = dict(zip(self.names, np.asarray(x, dtype=np.float64), strict=True))
        self.mean, self.sd = dict(zip(self.names, mean, strict=True)), dict(zip(self.names, sd, strict=True))
        self.range = {
            "total": max(largest[6:]), "body": max(largest[6:]), "gyro": max(largest[3:6])
        }  # fmt: skip
        self.t = np.arange(np.shape(x)[1])

    def axes(self, picked):
        """The channels of some of the axes: accelerometer x y z are 0 1 2, gyroscope x y z 3 4 5."""
        for axis in picked:
            letter = "xyz"[axis % 3]
            yield axis, ["total_" + letter, "body_" + letter] if axis < 3 else ["gyro_" + letter]

    def result(self):
        return np.stack([self.x[name] for name in self.names])


def sensor(name):
    return 1 if name.startswith("gyro") else 0


def read(v, p):
    return np.interp(p, np.arange(len(v)), v)


def held(v, lost):
    out = v.copy()
    for t in range(1, len(v)):
        if lost[t]:
            out[t] = out[t - 1]
    return out


def faulty(w, name, level, d):
    """`d` holds what was drawn: order, sign (axes,), u, and by name what else the fault draws."""
    i, s, T = level - 1, level / 5, len(w.t)
    picked = d["order"][: HIT[i]]
    c = LADDERS[name][i] if name in LADDERS else None
    if name in {"bias", "drift"}:
        for axis, (whole, *_) in w.axes(picked):
            ramp = 1 if name == "bias" else w.t / (T - 1)
            w.x[whole] = w.x[whole] + d["sign"][axis] * c * w.sd[whole] * ramp
    elif name in {"gain", "attenuation"}:
        for _, channels in w.axes(picked):
            for one in channels:
                w.x[one] = c * w.x[one]
    elif name == "noise":
        for axis, channels in w.axes(picked):
            for one in channels:
                w.x[one] = w.x[one] + c * w.sd[channels[0]] * d["n"][axis]
    elif name == "spike":
        for axis, channels in w.axes(picked):
            for one in channels:
                for t in d["times"][:level]:
                    w.x[one][t] = w.x[one][t] + d["sign"][axis] * 7.5 * s * w.sd[channels[0]]
    elif name == "stuck":
        m = math.ceil(round(s * (T - 1), 9))
        a = 1 + math.floor(d["u"] * (T - m))
        for _, channels in w.axes(picked):
            for one in channels:
                w.x[one][a : a + m] = w.x[one][a - 1]
    elif name == "dropout_hold":
        for one in w.names:
            w.x[one] = held(w.x[one], d["us"][sensor(one)] < c)
    elif name == "dropout_zero":
        for _, channels in w.axes(picked):
            for one in channels:
                w.x[one][d["us"][sensor(one)] < c] = 0
    elif name == "missing":
        for _, channels in w.axes(d["order"][:level]):
            for one in channels:
                w.x[one][:] = w.mean[one]
    elif name in {"saturation", "quantisation"}:

        def f(v, kind):
            R = w.range[kind]
            if name == "saturation":
                return np.clip(v, -c * R, c * R)
            step = 2 * R / 2**c
            return step * np.clip(np.rint(v / step), -(2 ** (c - 1)), 2 ** (c - 1) - 1)

        for a in "xyz":
            total, body = w.x["total_" + a], w.x["body_" + a]
            w.x["body_" + a] = f(total, "total") - f(total - body, "total")
            w.x["total_" + a] = f(total, "total")
            w.x["gyro_" + a] = f(w.x["gyro_" + a], "gyro")
    elif name == "jitter":
        for one in w.names:
            w.x[one] = read(w.x[one], np.clip(w.t + c * (2 * d["ut"] - 1), 0, T - 1))
    elif name == "warp":
        speed = np.exp(c * d["four"])
        knots = np.concatenate([[0], np.cumsum(speed)]) * (T - 1) / speed.sum()
        p = np.interp(w.t, np.linspace(0, T - 1, 5), knots)
        for one in w.names:
            w.x[one] = read(w.x[one], p)
    elif name == "rotation":
        u = d["three"] / np.linalg.norm(d["three"])
        angle = math.radians(c) * d["sign"][0]
        K = np.array([[0, -u[2], u[1]], [u[2], 0, -u[0]], [-u[1], u[0], 0]])
        R = np.eye(3) + math.sin(angle) * K + (1 - math.cos(angle)) * K @ K
        for kind in ("total", "body", "gyro"):
            turned = R @ np.stack([w.x[f"{kind}_{a}"] for a in "xyz"])
            for a, row in zip("xyz", turned, strict=True):
                w.x[f"{kind}_{a}"] = row
    elif name == "packet_loss":
        start, stay = BURSTS[i]
        lost = np.zeros(T, dtype=bool)
        for t in range(1, T):
            lost[t] = d["ut"][t] < (stay if lost[t - 1] else start)
        for one in w.names:
            w.x[one] = held(w.x[one], lost)
    elif name == "low_rate":
        kept = np.arange(0, T, c)
        for one in w.names:
            w.x[one] = np.interp(w.t, kept, w.x[one][kept])
    elif name == "occlusion":
        m = math.ceil(round(c * (T - 1), 9))
        a = math.floor(d["u"] * (T - m + 1))
        for one in w.names:
            w.x[one][a : a + m] = w.mean[one]
    return w.result()
