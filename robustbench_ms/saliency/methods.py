"""Class activation maps, of a layer's activations A and the gradients g of a class's logit by them.

All are (m, C, h, w) float tensors, and a map is (m, h, w), 0 or more: what speaks against the class is left out.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["METHODS", "grad_cam", "hires_cam", "layer_cam"]


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """ReLU(sum_k mean(g_k) A_k): Selvaraju et al., "Grad-CAM" (ICCV 2017), equations 1 and 2."""
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1).relu()


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """ReLU(sum_k ReLU(g_k) A_k), place by place: Jiang et al., "LayerCAM" (IEEE TIP 2021), equations 5 to 7."""
    return (gradients.relu() * activations).sum(dim=1).relu()


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """ReLU(sum_k g_k A_k), place by place: Draelos and Carin, "HiResCAM" (arXiv 2011.08891), section 3.

    Where nothing but the mean over all places and one linear layer comes behind the map, gradients are the same at all
    places, and it is Grad-CAM.
    """
    return (gradients * activations).sum(dim=1).relu()


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "layer-cam": layer_cam,
    "hires-cam": hires_cam,
}
