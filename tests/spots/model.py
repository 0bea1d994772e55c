"""Networks that look at spots: one that sees them, one whose eyes are worse, one that dies."""

from __future__ import annotations

import os
import signal

import torch
from torch import nn


class Looks(nn.Module):
    def __init__(self, blur=1, noise=0.0):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 2 * blur + 1, padding=blur, bias=False)
        random = torch.Generator().manual_seed(1)
        with torch.no_grad():
            self.features.weight.fill_(1.0 / (3 * (2 * blur + 1) ** 2))
            self.features.weight += noise * torch.randn(self.features.weight.shape, generator=random)

    def forward(self, images):
        return torch.relu(self.features(images) - 0.2).square().mean(dim=(1, 2, 3))


def good():
    return Looks()


def worse():
    return Looks(blur=5, noise=0.004)


class Dies(Looks):
    calls = 0

    def forward(self, images):
        Dies.calls += 1
        if Dies.calls > 20:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)
