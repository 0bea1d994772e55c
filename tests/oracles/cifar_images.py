"""CIFAR-10's test images under the fifteen common corruptions, as the oracles draw them.

    python -m tests.oracles.cifar_images FOLDER [--seeds 3]

makes one .npy, uint8 (10000, 32, 32, 3), for each corruption, severity and seed (one for all seeds where
nothing is drawn): 165 files of 31 MB with three seeds, some fifteen minutes of one core. What stands in the
folder is not made again. RBMS_DATA names the folder that holds cifar10/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from tests.oracles.photographs import cifar
from tests.oracles.reference import oracles, render

__all__ = ["COMMON", "SEVERITIES", "cell_images", "cells"]

COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""In the order of ImageNet-C's paper (arXiv 1903.12261), which the draws are seeded by."""
SEVERITIES = (1, 2, 3, 4, 5)


def cells(seeds: int) -> list[tuple[str, int, int]]:
    """(name, severity, seed) of every distinct file, seed by seed."""
    drawn = {name for name in COMMON if oracles()[name].draw}
    return [
        (n, s, seed) for seed in range(seeds) for n in COMMON for s in SEVERITIES if seed == 0 or n in drawn
    ]


def cell_images(folder: Path, name: str, severity: int, seed: int, clean: np.ndarray) -> np.ndarray:
    """One cell's images, read from `folder` or made and kept there."""
    seed = seed if oracles()[name].draw else 0
    path = folder / f"{name}-{severity}-{seed}.npy"
    if path.exists():
        return np.load(path)
    rng = np.random.default_rng([seed, COMMON.index(name), severity])
    images = np.stack([render(name, image, "cifar", severity, rng) for image in clean])
    beside = path.with_suffix(".part.npy")
    np.save(beside, images)
    beside.rename(path)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the oracles' CIFAR-10-C.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    data = cifar()
    if data is None:
        raise SystemExit("cifar10/test_images.npy is not under RBMS_DATA")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    clean = np.ascontiguousarray(data[0])
    for name, severity, seed in cells(arguments.seeds):
        cell_images(arguments.folder, name, severity, seed, clean)


if __name__ == "__main__":
    main()
