"""How many pictures the splits of official sets have: the table of data sets tells it, their readers hold to it."""

from __future__ import annotations

__all__ = ["ADE20K", "CITYSCAPES", "COCO", "VISDRONE", "VOC"]

COCO = {"val2017": 5_000, "train2017": 118_287}
VISDRONE = {"val": 548, "test-dev": 1_610, "train": 6_471}
VOC = {"val": 1_449, "train": 1_464}
CITYSCAPES = {"val": 500, "train": 2_975}
ADE20K = {"validation": 2_000, "training": 20_210}
