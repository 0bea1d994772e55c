"""A model of one's own on a suite, from Python: any module that takes float RGB in 0..1 and answers with logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import robustbench_ms as rbms

LIGHT = Path(__file__).parent / "light.toml"


class NearestMean(nn.Module):
    """Logits by the distance from each digit's mean picture: float (n, 3, H, W) in 0..1 to (n, 10)."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        digits = load_digits()
        pictures = digits.data.reshape(-1, 8, 8) / 16
        means = np.stack([pictures[digits.target == digit].mean(0) for digit in range(10)])
        self.register_buffer("means", torch.tensor(means, dtype=torch.float32).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        small = nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 8).flatten(1)
        return -torch.cdist(small, self.means)


if __name__ == "__main__":
    (record,) = rbms.run(LIGHT, models=[NearestMean()], name="nearest-mean", device="cpu")
    for cell in record.measurements:
        print(f"{cell.key}: {cell.values['accuracy']['mean']:.0%} of {cell.n}")
