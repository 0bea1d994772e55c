"""The blurs: Gaussian here, defocus, glass, motion and zoom in files of their own."""

from __future__ import annotations

from torch import Tensor

from .corruption import Corruption, Setting
from .defined.defocus import DEFOCUS
from .defined.gaussian_blur import soften
from .defined.glass import GLASS
from .defined.motion import MOTION
from .defined.zoom import ZOOM

__all__ = ["KERNELS"]


def _gaussian(images: Tensor, _: Tensor | None, setting: Setting) -> Tensor:
    """skimage.filters.gaussian of each channel."""
    return soften(images, setting.parameters)


KERNELS = {
    "defocus_blur": DEFOCUS,
    "glass_blur": GLASS,
    "motion_blur": MOTION,
    "zoom_blur": ZOOM,
    "gaussian_blur": Corruption(_gaussian),
}
