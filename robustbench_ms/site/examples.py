"""Example pictures: scikit-image's photograph of the astronaut under each corruption, as lossy files of some kB."""

from __future__ import annotations

import io
from collections.abc import Iterable
from importlib.resources import files

from robustbench_ms.records.ranking import Progress, silent

__all__ = ["SEVERITIES", "examples"]

SEVERITIES = (1, 3, 5)
_SIDE = 144


def examples(names: Iterable[str], progress: Progress = silent) -> dict[str, bytes]:
    """{"example-fog-3.jpg": its bytes} for those of the names that are corruptions of ours."""
    import numpy as np
    import torch
    from PIL import Image

    from robustbench_ms.corruptions.api import corrupt
    from robustbench_ms.corruptions.table import COMMON, EXTRA

    with Image.open(str(files("skimage") / "data" / "astronaut.png")) as picture:
        whole = picture.convert("RGB").crop((96, 0, 352, 256)).resize((_SIDE, _SIDE))
    images = torch.from_numpy(np.array(whole)).permute(2, 0, 1)[None]
    found = {}
    wanted = list(dict.fromkeys(names))
    for done, name in enumerate(wanted):
        progress("example pictures", done, len(wanted))  # on a new machine each is compiled first
        for severity in SEVERITIES if name in {*COMMON, *EXTRA} else ():
            shown = corrupt(images, name, severity)[0].permute(1, 2, 0).numpy()
            out = io.BytesIO()
            Image.fromarray(shown).save(out, "JPEG", quality=85)
            found[f"example-{name}-{severity}.jpg"] = out.getvalue()
    return found
