"""What artefacts there are and how strong each is at its five levels; imports nothing heavy.

Lengths are fractions of the side, and frequencies and slices are counted a side, so that the numbers mean the same at
28^3 and at 64^3. Many are ROOD-MRI's (Boone et
al. 2022, arXiv 2203.06060), in other units; where those did nothing or left nothing they were chosen by us, on networks
of the kind that the suites measure.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CODES", "LEVELS", "MOVING", "NAMES", "PROTOCOL", "STRENGTHS"]

LEVELS: Final = (1, 2, 3, 4, 5)
STRENGTHS: Final[dict[str, tuple[float, ...]]] = {
    "bias_field": (0.2, 0.3, 0.4, 0.5, 0.6),  # largest coefficient of a cubic's logarithm
    "ghosting": (0.5, 1.0, 1.5, 2.0, 2.5),  # taken from every fourth plane of k-space
    "motion": (2.0, 4.0, 6.0, 8.0, 10.0),  # degrees, moves; a hundredth of the side
    "spike": (0.2, 0.4, 0.6, 0.8, 1.0),  # means of the volume
    "rician_noise": (0.4, 0.8, 1.2, 1.6, 2.0),  # standard deviations of the volume
    "gamma_up": (1.4, 1.8, 2.2, 2.6, 3.0),  # exponent
    "gamma_down": (0.86, 0.72, 0.58, 0.44, 0.3),  # exponent
    "anisotropic": (24.0, 20.0, 16.0, 12.0, 8.0),  # slices a side
    "blur": (0.01, 0.02, 0.03, 0.04, 0.05),  # sigma, of the side
    "ringing": (10.0, 8.0, 6.0, 4.0, 3.0),  # the highest cycles a side that are kept
    "rotation": (6.0, 12.0, 18.0, 24.0, 30.0),  # degrees
    "shift": (0.02, 0.04, 0.06, 0.08, 0.1),  # of the side
    "elastic": (0.02, 0.04, 0.06, 0.08, 0.1),  # largest displacement, of the side
}
"""By name, for levels 1 to 5. Gamma up and down are the two directions of one artefact, each with a row of its own."""
NAMES: Final = tuple(STRENGTHS)
MOVING: Final = ("rotation", "shift", "elastic")
"""What moves what is where, and label maps with it."""
CODES: Final = {name: number for number, name in enumerate(STRENGTHS, 1)}
"""The number by which an artefact enters its keys. Never reused or changed: a new name takes the next."""
PROTOCOL: Final = dict.fromkeys(STRENGTHS, 1)
"""Of each artefact, raised by hand when a byte of it changes."""
