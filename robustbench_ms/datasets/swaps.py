"""Grounds that take the place of a scene's own, their levels and protocol numbers: our protocol 1; no array."""

from __future__ import annotations

__all__ = ["BACKGROUNDS", "CODES", "KEPT", "LEVELS", "PROTOCOL"]

BACKGROUNDS = ("same", "other", "seen", "plain")
"""Another crop of the same photograph, of another one of its split, of one that networks are trained on, or one
colour; after the backgrounds challenge's mixed-same, mixed-rand and only-fg (Xiao et al., ICLR 2021)."""
LEVELS = (1, 2, 3, 4, 5)
KEPT = (16, 8, 4, 2, 0)
"""How far from the digit its own ground is kept at each level, in pixels along a row, a column or both."""
CODES = {"same": 1, "other": 2, "seen": 3, "plain": 4}
"""The number by which a background enters its keys. Never reused or changed."""
PROTOCOL = dict.fromkeys(BACKGROUNDS, 1)
"""The version of what each means: raised by hand when any byte changes."""
