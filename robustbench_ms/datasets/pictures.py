"""Pictures in files: decoded by Pillow, one at a time, and digested together."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing, sweep

__all__ = ["decoded", "files_digest"]

_ORIENTATION = 0x0112


def decoded(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """A picture as RGB, uint8 (H, W, 3), of the size that its annotation says.

    EXIF's orientation is applied where that size says so: where the picture has it as it is stored, it is not. Depths
    are scaled as `corruptions.pictures` does. BadFile names a picture that cannot be read or has another size.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    from robustbench_ms.corruptions.pictures import as_bytes

    try:
        with Image.open(path) as opened:
            stored = opened.height, opened.width
            picture: Any = opened
            if stored != (height, width) and opened.getexif().get(_ORIENTATION, 1) != 1:
                picture = ImageOps.exif_transpose(opened)
            if (picture.height, picture.width) != (height, width):
                raise BadFile(
                    f"{path} is of {stored[1]} x {stored[0]} pixels, and its annotation says {width} x {height}"
                )
            return np.asarray(as_bytes(picture).convert("RGB"))
    except BadFile:
        raise
    except UnidentifiedImageError as error:
        raise BadFile(f"{path} is no picture that Pillow reads") from error
    except UserError as error:
        raise BadFile(f"{path}: {error}") from error
    except Exception as error:  # a damaged file raises half a dozen kinds, and one that is far too large its own
        raise BadFile(f"{path} cannot be read: {error}".splitlines()[0]) from error


def files_digest(paths: Sequence[Path], cache: Path | None) -> str:
    """SHA-256 over the digests of files, in their order; remembered by their paths, sizes and times."""
    told = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        told.update(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    note = None if cache is None else cache / "digests" / f"{told.hexdigest()[:32]}.json"
    if note is not None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads(note.read_text())["sha256"])
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    if note is not None:
        # A cache that cannot be written is only slower.
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            sweep(note.parent)
            with replacing(note) as part:
                part.write_text(json.dumps({"sha256": found.hexdigest()}))
    return found.hexdigest()
