"""`Corrupt`: a corruption as a step of anybody's own pipeline."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from robustbench_ms.errors import UserError

from .api import SIDES, corrupt, integer, settled
from .pictures import as_bytes, checked_white
from .table import NAMES, SEVERITIES

__all__ = ["Corrupt", "contact_sheet"]


def _is_plain(one: Any) -> bool:
    return isinstance(one, Tensor) and not isinstance(one, tv_tensors.TVTensor)


class Corrupt(v2.Transform):  # type: ignore[misc]
    """Corrupt the images of a sample: a transform of torchvision's v2, to stand before the conversion to floats.

    A sample is anything that those take: an image, a pair, a dict, lists in them. PIL pictures and uint8 tensors of
    shape (..., C, H, W) are corrupted, tv_tensors.Image and Video too, and come back as what they were; of plain
    tensors the first alone, and none beside another image. Labels, boxes, masks and keypoints pass as they are, under
    elastic_transform as well: it moves pixels by a few, and what is annotated stays where it was.

    A PIL picture comes back as L, LA, RGB or RGBA: grey stays grey, alpha stays as it is, and pictures deeper than
    bytes are scaled as `pictures.as_bytes` says, by `white`, the value that is white in them.

    `seed=None` takes a fresh key from torch's global generator at each call: it varies, follows `torch.manual_seed`,
    and differs between a DataLoader's workers. A whole number gives the same result at every call. All images of a
    sample are drawn for by that one key. `profile=None` is "any-size", with a hint where an image has the size of
    CIFAR's. The other arguments are `corrupt`'s. Raises UserError for wrong arguments when it is made, and for a
    sample without an image.
    """

    _transformed_types = (_is_plain, Image.Image, tv_tensors.Image, tv_tensors.Video)

    def __init__(
        self,
        name: str,
        severity: int,
        *,
        profile: str | None = None,
        seed: int | None = None,
        white: float | None = None,
    ) -> None:
        super().__init__()
        self._chosen = profile is not None
        self.name, self.severity, self.profile = settled(
            name, severity, "any-size" if profile is None else profile
        )
        self.seed = None if seed is None else integer(seed, "seed")
        self.white = checked_white(white)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse a sample that would come back as it was."""
        if not v2.has_any(flat_inputs, *self._transformed_types):
            kinds = ", ".join(sorted({type(one).__name__ for one in flat_inputs})) or "nothing"
            raise UserError(
                f"Corrupt takes PIL images and uint8 tensors, and found none in what it was given: {kinds}"
            )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:  # noqa: ARG002 - torchvision's name
        """The seed of one call."""
        return {"seed": int(torch.randint(2**63 - 1, ())) if self.seed is None else self.seed}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The corrupted image, of the kind that was given."""
        if isinstance(inpt, Image.Image):
            return self._picture(inpt, params["seed"])
        plain = inpt.as_subclass(Tensor)
        if plain.ndim < 3:
            raise UserError(
                f"Corrupt takes the first tensor of a sample for its image, (..., C, H, W), not one of shape "
                f"{tuple(plain.shape)}; put the image first, or make it a tv_tensors.Image"
            )
        batch = plain[None] if plain.ndim == 3 else plain.flatten(0, -4)
        shown = self._corrupt(batch, params["seed"]).reshape(plain.shape)
        # torchvision's Image stays one; another subclass keeps its class as well
        return shown if type(inpt) is Tensor else shown.as_subclass(type(inpt))

    def extra_repr(self) -> str:
        """What the transform prints as."""
        white = "" if self.white is None else f", white={self.white:g}"
        return f"{self.name!r}, {self.severity}, profile={self.profile!r}, seed={self.seed}{white}"

    def _picture(self, picture: Image.Image, seed: int) -> Image.Image:
        bands = as_bytes(picture, self.white)
        pixels = np.array(bands).reshape(bands.height, bands.width, -1)
        channels = pixels.shape[2] - ("A" in bands.mode)
        shown = self._corrupt(torch.from_numpy(pixels[..., :channels]).permute(2, 0, 1)[None], seed)[0]
        pixels[..., :channels] = shown.permute(1, 2, 0).numpy()
        return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)

    def _corrupt(self, batch: Tensor, seed: int) -> Tensor:
        side = SIDES["cifar"]
        if not self._chosen and tuple(batch.shape[2:]) == (side, side):
            warnings.warn(
                f"Corrupt({self.name!r}) is shown images of {side} x {side} pixels without a profile: 'any-size' is "
                "taken, whose strengths are those for photographs; profile='cifar' is CIFAR-10-C's",
                stacklevel=2,
            )
        return corrupt(batch, self.name, self.severity, profile=self.profile, seed=seed)


def contact_sheet(
    image: Image.Image, *, profile: str = "any-size", seed: int = 0, tile: int = 128
) -> Image.Image:
    """All corruptions x severities of one image, the clean one first in each row, as one RGB sheet.

    Each is made at 224 x 224 (shorter side resized, centre crop) and shown at `tile` pixels; a published set's
    profile is made at its own size.
    """
    from PIL import ImageDraw, ImageFont, ImageOps

    side = SIDES.get(profile, 224)
    square = ImageOps.fit(as_bytes(image).convert("RGB"), (side, side), Image.Resampling.BICUBIC)
    size = max(10, tile // 9)
    font = ImageFont.load_default(size)
    left, top = int(max(map(font.getlength, NAMES))) + 12, 2 * size
    sheet = Image.new("RGB", (left + 6 * (tile + 4), top + len(NAMES) * (tile + 4)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, label in enumerate(["clean", *map(str, SEVERITIES)]):
        pen.text((left + column * (tile + 4) + tile / 2, top / 2), label, "black", font, anchor="mm")
    for row, name in enumerate(NAMES):
        y = top + row * (tile + 4)
        pen.text((left - 6, y + tile / 2), name, "black", font, anchor="rm")
        shown = [square, *(Corrupt(name, s, profile=profile, seed=seed)(square) for s in SEVERITIES)]
        for column, picture in enumerate(shown):
            method = Image.Resampling.LANCZOS if tile < side else Image.Resampling.NEAREST
            sheet.paste(picture.resize((tile, tile), method), (left + column * (tile + 4), y))
    return sheet
