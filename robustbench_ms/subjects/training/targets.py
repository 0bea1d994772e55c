"""What a training asks of its samples: a label each, a label map, or boxes; chosen by rows, and the loss of each."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.datasets.protocol import IGNORED

__all__ = ["Boxed", "Boxes", "Targets", "loss_of", "takes_boxes"]

Boxed = list[dict[str, Tensor]]


class Boxes:
    """Boxes float32 (k, 4) and labels int64 (k,) of each sample on a device; some rows of it are a list.

    Crowds and ignored boxes are left out: they are no objects to learn. `first` is the label of the first class: 1 for
    networks that have a background before it.
    """

    def __init__(self, targets: Sequence[Mapping[str, Any]], device: torch.device, first: int = 0) -> None:
        self._each: Boxed = []
        for one in targets:
            kept = ~(one["crowd"] | one["ignore"])
            boxes, labels = (torch.from_numpy(one[key][kept]).to(device) for key in ("boxes", "labels"))
            self._each.append({"boxes": boxes, "labels": labels + first})

    def __getitem__(self, rows: Tensor) -> Boxed:
        return [self._each[row] for row in rows.tolist()]


Targets = Tensor | Boxes


def takes_boxes(model: nn.Module) -> bool:
    """Whether a network can be called with images and their targets."""
    try:
        inspect.signature(model.forward).bind(None, None)
    except TypeError:
        return False
    return True


def loss_of(model: nn.Module, shown: Tensor, target: Tensor | Boxed, smoothing: float) -> Tensor:
    """Of labels cross-entropy, or what a model that brings its own loss for several heads (deep supervision) says.

    Of boxes the sum of the losses that a detector answers when it is trained, as torchvision's do; of label maps uint8
    (B, H, W) or (B, D, H, W) cross-entropy over the pixels or voxels, of logits that are enlarged to them as for an
    answer, or of (B, D, H, W) what the model says.
    """
    if isinstance(target, list):
        losses: Mapping[str, Tensor] = model(shown, target)
        return torch.stack([*losses.values()]).sum()
    outputs, own = model(shown), getattr(model, "training_loss", None)
    if target.ndim > 2 and not target.is_floating_point():
        logits = outputs["out"] if isinstance(outputs, Mapping) else outputs
        mode = "trilinear" if target.ndim == 4 else "bilinear"
        logits = F.interpolate(logits.float(), size=target.shape[1:], mode=mode, align_corners=False)
        if target.ndim == 4 and own is not None:
            of_volumes: Tensor = own(logits, target)
            return of_volumes
        return F.cross_entropy(logits, target.long(), ignore_index=IGNORED)
    if own is not None:
        found: Tensor = own(outputs, target, label_smoothing=smoothing)
        return found
    return F.cross_entropy(outputs, target, label_smoothing=smoothing)
