"""What faults there are and how strong each is at its five levels; imports nothing heavy.

The levels were chosen by us, on networks of the kind that the suites measure: so that each does something at 1 and
leaves something at 5.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CODES", "LEVELS", "NAMES", "PROTOCOL", "SENSOR_LOSS", "STRENGTHS"]

LEVELS: Final = (1, 2, 3, 4, 5)
STRENGTHS: Final[dict[str, tuple[float, ...]]] = {
    "bias": (0.15, 0.3, 0.45, 0.6, 0.75),  # standard deviations
    "drift": (0.2, 0.4, 0.6, 0.8, 1.0),  # standard deviations at the window's end
    "gain": (1.2, 1.4, 1.6, 1.8, 2.0),
    "attenuation": (0.85, 0.7, 0.55, 0.4, 0.25),
    "noise": (0.2, 0.4, 0.6, 0.8, 1.0),  # standard deviations
    "spike": (1.5, 3.0, 4.5, 6.0, 7.5),  # standard deviations; at level L it strikes L samples
    "stuck": (0.2, 0.4, 0.6, 0.8, 1.0),  # share of the window
    "dropout_hold": (0.3, 0.5, 0.7, 0.8, 0.9),  # probability a sample
    "dropout_zero": (0.05, 0.1, 0.2, 0.3, 0.5),  # probability a sample
    "missing": (1.0, 2.0, 3.0, 4.0, 5.0),  # axes of six
    "saturation": (0.8, 0.6, 0.5, 0.4, 0.3),  # of the sensor's range
    "quantisation": (8.0, 6.0, 5.0, 4.0, 3.0),  # bits
    "jitter": (1.0, 2.0, 4.0, 6.0, 8.0),  # samples
    "warp": (0.5, 1.0, 1.5, 2.0, 2.5),  # of the logarithm of speed
    "rotation": (10.0, 20.0, 30.0, 45.0, 60.0),  # degrees
    "packet_loss": (0.05, 0.1, 0.15, 0.2, 0.25),  # probability that a burst begins
    "low_rate": (2.0, 4.0, 6.0, 8.0, 12.0),  # every so manieth sample is kept
    "occlusion": (0.1, 0.2, 0.3, 0.4, 0.5),  # share of the window
    "sensor_loss": (0.2, 0.4, 0.6, 0.8, 1.0),  # share of the window, its end
}
"""By name, for levels 1 to 5."""
STAY: Final = (0.5, 0.7, 0.8, 0.9, 0.95)
"""Of packet_loss: the probability that a burst goes on."""
SENSOR_LOSS: Final = "sensor_loss"
"""A whole sensor goes silent: a condition of its own, over which no mean is taken."""
NAMES: Final = tuple(name for name in STRENGTHS if name != SENSOR_LOSS)
"""The 18 faults that means are over."""
CODES: Final = {name: number for number, name in enumerate(STRENGTHS, 1)}
"""The number by which a fault enters its keys. Never reused or changed: a new name takes the next."""
PROTOCOL: Final = dict.fromkeys(STRENGTHS, 1)
"""Of each fault, raised by hand when a byte of it changes."""
