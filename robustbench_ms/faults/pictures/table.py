"""Patches, their sizes and protocol numbers: our protocol 1; imports no torch."""

from __future__ import annotations

__all__ = ["CODES", "PATCHES", "PROTOCOL", "SHARES", "SIZES"]

PATCHES = ("mean", "noise")
"""What a patch shows: the picture's own mean colour, or bytes drawn evenly."""
SIZES = (1, 2, 3, 4, 5)
SHARES = (2, 3, 4, 5, 6)
"""A patch's side at each size, in tenths of the picture's shorter side: of a square one 4, 9, 16, 25 and 36 % are
hidden."""
CODES = {"mean": 1, "noise": 2}
"""The number by which a patch enters its keys. Never reused or changed."""
PROTOCOL = dict.fromkeys(PATCHES, 1)
"""The version of what each means: raised by hand when any byte changes."""
