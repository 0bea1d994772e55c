"""What any network must beat: one class for every pixel, and a linear look at each pixel's neighbourhood."""

from __future__ import annotations

from torch import Tensor, nn

from robustbench_ms.models.arguments import natural, odd

__all__ = ["background", "patches"]


class Background(nn.Module):
    """(B, C, H, W) -> class indices int64 (B, H, W), all of one class."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, images: Tensor) -> Tensor:
        return images.new_full((images.shape[0], *images.shape[-2:]), self.label).long()


def background(label: int = 0) -> Background:
    """A network that calls every pixel the class `label`."""
    return Background(natural("label", label, least=0))


def patches(classes: int = 11, side: int = 9) -> nn.Conv2d:
    """Multinomial regression of a pixel's `side` x `side` RGB neighbourhood: logits (B, classes, H, W).

    One convolution, beyond the border zeros; trained by pixel-wise cross entropy it is just that regression. 2,684
    parameters by default.
    """
    natural("classes", classes)
    return nn.Conv2d(3, classes, odd("side", side), padding=side // 2)
