"""Images in memory or memory-mapped, with their labels: what every classification data set opens to."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.protocol import Batch, DataFacts, rows_of_one_shape
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing, sweep

if TYPE_CHECKING:
    import torch

__all__ = ["ImageStack", "array_digest", "layout_of", "load_array"]


@dataclass(frozen=True)
class ImageStack:
    """A split of images of one size under one condition.

    `images` uint8, (N, H, W, C) or (N, C, H, W), C = 1 or 3, any array that slices (a memory map does);
    `labels` and `ids` int64 (N,). The ids key the randomness: the index in the official order.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    classes: int
    sha256: str
    """Digest of the images' and labels' bytes, of the whole split."""
    channels_last: bool = True
    corrupted: bool = False
    """They are corrupted already, as published."""

    @property
    def facts(self) -> DataFacts:
        """What is known of them."""
        layout = layout_of(self.images, channels_last=self.channels_last)
        return DataFacts(len(self.ids), self.sha256, self.ids, None, self.classes, self.corrupted, layout)

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows in their order, as many as hold `size` numbers."""
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: NDArray[np.int64], device: torch.device) -> Batch:
        """Samples uint8 (k, C, H, W) and labels int64 (k,) on the device."""
        import torch

        # A slice of a memory map is read at once, single rows one by one.
        follow = len(rows) > 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        where: Any = slice(int(rows[0]), int(rows[0]) + len(rows)) if follow else rows
        stack = self.images[where].transpose(0, 3, 1, 2) if self.channels_last else self.images[where]
        # A copy even where the file has this layout: torch takes no read-only memory, and a map must not be written to.
        samples, labels = torch.from_numpy(np.array(stack, order="C")), torch.from_numpy(self.labels[rows])
        if device.type != "cpu":
            samples, labels = (t.pin_memory().to(device, non_blocking=True) for t in (samples, labels))
        return Batch(samples, labels, self.ids[rows], np.asarray(rows))


def layout_of(images: NDArray[Any], *, channels_last: bool) -> Images:
    """The layout of a stack (N, H, W, C) or (N, C, H, W)."""
    _, *rest = images.shape
    return Images(rest[2], rest[0], rest[1]) if channels_last else Images(*rest)


def load_array(path: Path, what: str) -> NDArray[Any]:
    """A .npy file, memory-mapped; BadFile names it where it is missing, cut off or no array."""
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise BadFile(f"{what}: {path} is missing") from None
    except Exception as error:  # a damaged header raises half a dozen kinds
        raise BadFile(f"{what}: {path} is damaged or no .npy file ({error})".splitlines()[0]) from error
    return array


def check_images(images: NDArray[Any], path: Path) -> bool:
    """Whether channels come last; UserError where the array is no stack of uint8 images."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise BadFile(
            f"{path} must hold uint8 images (N, H, W, C), not {images.dtype} of shape {images.shape}"
        )
    if 0 in images.shape[1:]:
        raise BadFile(f"{path} holds images without pixels, of shape {images.shape}")
    last, first = images.shape[3] in {1, 3}, images.shape[1] in {1, 3}
    if not last and not first:
        raise BadFile(f"{path} must hold images of 1 or 3 channels, not of shape {images.shape}")
    return last


def check_labels(labels: NDArray[Any], classes: int, n: int, path: Path) -> NDArray[np.int64]:
    """Labels as int64 (n,); UserError where their length, type or range does not fit."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise BadFile(
            f"{path} must hold whole-number labels (N,), not {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) != n:
        raise BadFile(f"{path} holds {len(labels)} labels for {n} images")
    if n == 0:
        raise BadFile(f"{path} holds no labels: an empty data set cannot be measured")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(
            f"{path} holds labels {labels.min()}..{labels.max()}, which do not fit the suite's {classes} classes"
        )
    return labels.astype(np.int64)


def array_digest(array: NDArray[Any], path: Path | None = None, cache: Path | None = None) -> str:
    """SHA-256 of an array's bytes in C order; remembered by path, size and time where it is a file's."""
    note = None
    if path is not None and cache is not None:
        stat = path.stat()
        told = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        note = cache / "digests" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.json"
        try:
            return str(json.loads(note.read_text())["sha256"])
        except (OSError, ValueError, KeyError):
            pass
    digest = hashlib.sha256()
    rows = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    if note is not None:
        # A cache that cannot be written is only slower.
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            sweep(note.parent)
            with replacing(note) as part:
                part.write_text(json.dumps({"sha256": digest.hexdigest()}))
    return digest.hexdigest()


def pair_digest(images: str, labels: NDArray[np.int64]) -> str:
    """One digest for images (their digest) and labels."""
    return hashlib.sha256(f"{images} {array_digest(labels)}".encode()).hexdigest()


def check_digest(found: str, expected: str | None, what: str, said: str = "the suite says") -> None:
    """BadFile where a published array is not the one that is meant, as the suite says or whoever else."""
    if expected is not None and found != expected:
        raise BadFile(f"{what}: its SHA-256 is {found[:12]}..., not {expected[:12]}... as {said}")
