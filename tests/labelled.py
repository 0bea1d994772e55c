"""Tiny folders of labelled pictures, as the official archives unpack, and anybody's."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIZES = ((24, 32), (24, 32), (32, 24))


def picture(i):
    """RGB bytes (H, W, 3) of an id: dark, with a red block and a blue one, and the map of what they are: 0, 1, 2."""
    height, width = SIZES[i % 3]
    shown = np.random.default_rng(i).integers(0, 60, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    for label, channel, top, left in ((1, 0, 2 + i, 3), (2, 2, 8, 14)):
        shown[top : top + 8, left : left + 8, channel] = 250
        mask[top : top + 8, left : left + 8] = label
    return shown, mask


def save(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(values)
    if palette:
        made = made.convert("P") if values.ndim == 3 else made
        made.putpalette([(37 * i) % 256 for i in range(768)])
    made.save(path)


def folder_at(root, names=("ground", "red", "blue"), count=3):
    for i in range(count):
        shown, mask = picture(i)
        save(root / "images" / f"p{i}.png", shown)
        save(root / "masks" / f"p{i}.png", mask)
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


def voc_at(root, count=3):
    base = root / "VOCdevkit" / "VOC2012"
    for i in range(count):
        shown, mask = picture(i)
        mask[0] = 255  # the border that nobody is asked about
        save(base / "JPEGImages" / f"2007_{i:06}.jpg", shown)
        save(base / "SegmentationClass" / f"2007_{i:06}.png", mask, palette=True)
    listed = base / "ImageSets" / "Segmentation" / "val.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text("".join(f"2007_{i:06}\n" for i in range(count)))


def cityscapes_at(root, kind="labelIds", count=3):
    for i in range(count):
        shown, mask = picture(i)
        ids = np.array(
            [7, 26, 4] if kind == "labelIds" else [0, 13, 255], np.uint8
        )  # road, car, static: not asked
        save(
            root / "cityscapes" / "leftImg8bit" / "val" / "ulm" / f"ulm_{i:06}_000019_leftImg8bit.png", shown
        )
        save(
            root / "cityscapes" / "gtFine" / "val" / "ulm" / f"ulm_{i:06}_000019_gtFine_{kind}.png", ids[mask]
        )


def ade20k_at(root, count=3):
    base = root / "ADEChallengeData2016"
    for i in range(count):
        shown, mask = picture(i)
        ids = np.array([0, 1, 150], np.uint8)  # unlabelled, the first class, the last
        save(base / "images" / "validation" / f"ADE_val_{i:08}.jpg", shown)
        save(base / "annotations" / "validation" / f"ADE_val_{i:08}.png", ids[mask])
