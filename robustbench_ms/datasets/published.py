"""How many pictures the splits of official sets have: the table of data sets tells it, their readers hold to it."""

from __future__ import annotations

__all__ = ["COCO", "VISDRONE"]

COCO = {"val2017": 5_000, "train2017": 118_287}
VISDRONE = {"val": 548, "test-dev": 1_610, "train": 6_471}
