"""`Corrupt`: a corruption as a step of anybody's own pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from robustbench_ms.errors import UserError, choose

from .api import corrupt
from .table import NAMES, PROFILES, SEVERITIES

__all__ = ["Corrupt", "contact_sheet"]


class Corrupt(nn.Module):
    """Corrupt PIL images, uint8 tensors (C, H, W) or batches (N, C, H, W); the same kind comes back.

    As a step of torchvision's v2 pipelines it stands before the conversion to floats. `seed=None` takes a fresh
    key from torch's global generator at each call: it varies, follows `torch.manual_seed`, and differs between a
    DataLoader's workers. A whole number gives the same result at every call. The other arguments are `corrupt`'s.
    """

    def __init__(
        self, name: str, severity: int, *, profile: str = "any-size", seed: int | None = None
    ) -> None:
        super().__init__()
        self.name = choose(name, NAMES, "corruption")
        self.profile = choose(profile, PROFILES, "profile")
        if isinstance(severity, bool) or severity not in SEVERITIES:
            raise UserError(f"severity must be 1, 2, 3, 4 or 5, not {severity!r}")
        self.severity = severity
        self.seed = seed

    def forward(self, image: Any) -> Any:
        """The corrupted image, of the kind that was given."""
        if isinstance(image, Image.Image):
            mode = image.mode if image.mode in {"RGB", "L"} else "RGB"
            pixels = np.array(image.convert(mode)).reshape(image.height, image.width, -1)
            shown = self._corrupt(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
            return Image.fromarray(shown.permute(1, 2, 0).squeeze(2).numpy())
        if not isinstance(image, Tensor):
            raise UserError(f"Corrupt takes a PIL image or a uint8 tensor, not {type(image).__name__}")
        plain = image.as_subclass(Tensor)
        shown = self._corrupt(plain) if image.ndim == 4 else self._corrupt(plain[None])[0]
        # torchvision's Image stays one; another subclass keeps its class as well
        return shown if type(image) is Tensor else shown.as_subclass(type(image))

    def extra_repr(self) -> str:
        """What the transform prints as."""
        return f"{self.name!r}, {self.severity}, profile={self.profile!r}, seed={self.seed}"

    def _corrupt(self, batch: Tensor) -> Tensor:
        seed = int(torch.randint(2**63 - 1, ())) if self.seed is None else self.seed
        return corrupt(batch, self.name, self.severity, profile=self.profile, seed=seed)


def contact_sheet(
    image: Image.Image, *, profile: str = "any-size", seed: int = 0, tile: int = 128
) -> Image.Image:
    """All corruptions x severities of one image, the clean one first in each row, as one RGB sheet.

    Each is made at 224 x 224 (shorter side resized, centre crop) and shown at `tile` pixels; a published set's
    profile is made at its own size.
    """
    from PIL import ImageDraw, ImageFont, ImageOps

    from .api import SIDES

    side = SIDES.get(profile, 224)
    square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
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
