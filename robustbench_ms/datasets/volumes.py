"""Volumes with a label each, and perhaps a class for every voxel: anybody's .npz, and MedMNIST's files.

A file of ours has `volumes` (N, D, H, W) or (N, C, D, H, W), uint8 or floats, `labels` whole numbers (N,), and may have
`masks` whole numbers (N, D, H, W), `groups` (N,) and `spacing`, three millimetres. MedMNIST's has `test_images`
(N, D, H, W) and `test_labels` (N, 1), and so of "train" and "val"; its 2-D sets (N, H, W) become volumes of one slice.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.images import array_digest, check_digest
from robustbench_ms.datasets.protocol import MAP, Batch, DataFacts, Index, rows_of_one_shape
from robustbench_ms.datasets.shapes import RaggedVolumes, Volumes
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

if TYPE_CHECKING:
    import torch

__all__ = ["VolumeStack", "index_of_stack", "index_volumes", "layout_of_volumes", "refuse_flat"]

_KEYS = ("volumes", "labels", "masks", "groups", "spacing")
_LARGEST = 1 << 35
"""Bytes that the arrays of one file may unpack to: more is taken for a file that was made to fill a memory."""


@dataclass(frozen=True)
class VolumeStack:
    """A split in memory: `volumes` uint8 or float32, N of (C, D, H, W), `labels` and `ids` int64 (N,)."""

    volumes: Sequence[NDArray[Any]] | NDArray[Any]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    classes: int
    sha256: str
    """Digest of volumes, labels and masks, of the whole split."""
    layout: Volumes | RaggedVolumes
    masks: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | None = None
    """N of (D, H, W), a class for every voxel; None where nobody asks for it."""
    groups: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()
    parts: bool = False
    """What is asked of a sample is its mask alone: targets say of how many classes, and at what spacing."""

    @property
    def facts(self) -> DataFacts:
        """What is known of them."""
        return DataFacts(
            len(self.ids), self.sha256, self.ids, self.groups, self.classes, corrupted=False, layout=self.layout,
            names=self.names, maps=() if self.masks is None else (MAP,),
        )  # fmt: skip

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows in their order, of unequal shape one shape after the other, as many as hold `size` numbers."""
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: NDArray[np.int64], device: torch.device) -> Batch:
        """Samples float32 (k, C, D, H, W) in native units and labels int64 (k,) on the device, masks uint8 as a map.

        Where masks alone are asked for each target is {"classes", "spacing"} in place of a label.
        """
        import torch

        samples = torch.from_numpy(np.stack([self.volumes[row] for row in rows])).to(device).float()
        targets: Any = [{"classes": self.classes, "spacing": self.layout.spacing}] * len(rows)
        if not self.parts:
            targets = torch.from_numpy(self.labels[rows]).to(device)
        maps = {}
        if self.masks is not None:
            maps[MAP] = torch.from_numpy(np.stack([self.masks[row] for row in rows])).to(device)
        return Batch(samples, targets, self.ids[rows], np.asarray(rows), maps)


def layout_of_volumes(volumes: NDArray[Any], spacing: tuple[float, float, float] | None = None) -> Volumes:
    """The layout of a stack (N, C, D, H, W)."""
    _, channels, depth, height, width = volumes.shape
    return Volumes(channels, (depth, height, width), spacing, of_bytes=volumes.dtype == np.uint8)


def index_of_stack(
    source: Source, volumes: Sequence[NDArray[Any]] | NDArray[Any], labels: NDArray[np.int64], classes: int,
    layout: Volumes | RaggedVolumes, *, masks: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | None = None,
    groups: NDArray[np.int64] | None = None,
    ids: NDArray[np.int64] | None = None, names: tuple[str, ...] = (), what: str = "",
) -> Index:  # fmt: skip
    """An index over a split that is in memory; masks are a part of it where the source wants a map.

    Volumes of unequal shape are sequences of arrays, and so are their masks.
    """
    ids = np.arange(len(labels)) if ids is None else ids
    masks = masks if "map" in source.wants else None
    label_digest = array_digest(labels)
    asked = label_digest if masks is None else _together(label_digest, _digest(masks))
    parts = "label" not in source.wants
    told = _digest(masks) if parts and masks is not None else label_digest
    check_digest(
        told, source.sha256.get("labels"), f"{what or source.dataset}: {'masks' if parts else 'labels'}"
    )

    def opened(canvas: str) -> VolumeStack:
        del canvas  # "stored", the only one
        digest = _digest(volumes)
        check_digest(digest, source.sha256.get("images"), f"{what or source.dataset}: volumes")
        return VolumeStack(
            volumes,
            labels,
            ids,
            classes,
            _together(digest, asked, repr(layout)),
            layout,
            masks,
            groups,
            names,
            parts=parts,
        )

    return Index(ids, layout, classes, asked, opened, groups=groups, names=names)


def _digest(arrays: Sequence[NDArray[Any]] | NDArray[Any]) -> str:
    """Of an array its own; of several that of their shapes and digests."""
    if isinstance(arrays, np.ndarray):
        return array_digest(arrays)
    return _together(*(f"{one.shape} {array_digest(one)}" for one in arrays))


def _together(*digests: str) -> str:
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def index_volumes(source: Source, places: Places, condition: Condition) -> Index:
    """A suite's `file`, in its folder or else in the data folder; BadFile names what is wrong with it, and where."""
    del condition
    path = _found(source, places)
    labelled = "label" in source.wants
    arrays, own = _read(path, source.split, ("volumes", "labels") if labelled else ("volumes",))
    volumes = _checked_volumes(arrays["volumes"], path, flat=not own)
    labels = np.zeros(len(volumes), np.int64)
    if labelled:
        labels = _checked_labels(arrays["labels"], volumes, source, path)
    masks = None
    if "map" in source.wants:
        masks = _checked_masks(arrays.get("masks"), volumes, source, path)
    groups = arrays.get("groups")
    if groups is not None:
        if groups.shape != (len(volumes),) or groups.dtype.kind not in "iu":
            raise BadFile(
                f"{path}: groups must be whole numbers ({len(volumes)},), not {groups.dtype} of shape {groups.shape}"
            )
        groups = groups.astype(np.int64)
    layout = layout_of_volumes(volumes, _checked_spacing(arrays.get("spacing"), path))
    return index_of_stack(
        source, volumes, labels, source.classes or 0, layout, masks=masks, groups=groups, what=str(path)
    )


def _found(source: Source, places: Places) -> Path:
    name = source.options.get("file")
    if not isinstance(name, str) or not name:
        raise UserError(f'the data set volumes needs file = "NAME.npz", not {name!r}')
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise BadFile(f"{source.dataset}: {name} is neither in {' nor in '.join(map(str, folders))}")
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:132] == b"DICM":
        raise BadFile(
            f"{path} is a DICOM file: convert the series to one array first, by dcm2niix and nibabel"
        )
    if head[:2] == b"\x1f\x8b" or name.endswith((".nii", ".nii.gz")):
        raise BadFile(f"{path} is no .npz file; NIfTI volumes are read by the data set scan-folder")
    return path


def _read(path: Path, split: str, needed: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], bool]:
    """Arrays by our names, and whether the file is of our kind; nothing pickled is read."""
    with _legible(path), zipfile.ZipFile(path) as archive:
        size = sum(one.file_size for one in archive.infolist())
    if size > _LARGEST:
        raise BadFile(f"{path} unpacks to {size / 2**30:.0f} GiB, and {_LARGEST >> 30} GiB are read at most")
    with _legible(path), np.load(path, allow_pickle=False) as file:
        held = tuple(file.files)
    own = "volumes" in held
    names = {key: key for key in _KEYS if key in held}
    if not own:
        names = {"volumes": f"{split}_images", "labels": f"{split}_labels"}
    for key in needed:
        if names.get(key) not in held:
            raise BadFile(
                f"{path} has no {names.get(key, key)!r}: it needs volumes and labels, or {split}_images and "
                f"{split}_labels as MedMNIST has them, and holds {', '.join(held) or 'nothing'}"
            )
    with _legible(path), np.load(path, allow_pickle=False) as file:
        return {key: file[name] for key, name in names.items() if name in held}, own


@contextmanager
def _legible(path: Path) -> Iterator[None]:
    """BadFile for an archive that cannot be read."""
    try:
        yield
    except Exception as error:  # a damaged archive raises half a dozen kinds
        told = str(error).partition("\n")[0]
        if "Object arrays" in told:
            raise BadFile(
                f"{path} holds Python objects, as arrays of unequal shape are saved: all volumes of a file must be of "
                "one shape; as NIfTI files they may be of several (scan-folder)"
            ) from error
        raise BadFile(f"{path} is damaged or no .npz file ({told})") from error


def _checked_volumes(volumes: NDArray[Any], path: Path, *, flat: bool) -> NDArray[Any]:
    """uint8 or float32 (N, C, D, H, W). `flat`: (N, H, W) are pictures of one slice."""
    told = f"{path}: volumes of {volumes.dtype} and shape {volumes.shape}"
    if flat and volumes.ndim == 3:
        volumes = volumes[:, None]
    if flat and volumes.ndim == 4 and volumes.shape[-1] == 3:
        raise BadFile(f"{told} are coloured pictures: grey ones alone are volumes of one slice")
    if volumes.ndim == 4:
        volumes = volumes[:, None]
    if volumes.ndim != 5:
        raise BadFile(f"{told} must be (N, D, H, W) or (N, C, D, H, W); a series in time is several volumes")
    if 0 in volumes.shape:
        raise BadFile(f"{told} hold nothing")
    if volumes.dtype != np.uint8:
        if volumes.dtype.kind != "f":
            raise BadFile(
                f"{told} must be uint8 or floats: give whole numbers their scale factors first, as float32"
            )
        volumes = np.ascontiguousarray(volumes, dtype=np.float32)
    for i, one in enumerate(volumes):
        if volumes.dtype != np.uint8 and not np.isfinite(one).all():
            raise BadFile(f"{path}: volume {i} has NaN or infinite voxels: set what lies outside to a number")
        for channel in one:
            refuse_flat(channel, f"{path}: volume {i}")
    return np.ascontiguousarray(volumes)


def refuse_flat(values: NDArray[Any], told: str) -> None:
    """BadFile for a channel (D, H, W), `told` of people, by which nothing can be told or that cannot be scaled.

    Artefacts scale floats to their .5 and 99.5 percentiles.
    """
    if values.min() == values.max():
        raise BadFile(f"{told} is {float(values.flat[0]):g} everywhere, so that nothing can be told")
    if values.dtype == np.uint8:
        return
    low, high = np.percentile(values, (0.5, 99.5))
    if low >= high:
        raise BadFile(
            f"{told} is {low:g} at its .5 and its 99.5 percentile, so that artefacts cannot be scaled to it: cut the "
            "empty space around it"
        )


def _checked_labels(
    labels: NDArray[Any], volumes: NDArray[Any], source: Source, path: Path
) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise BadFile(f"{path}: labels of shape {labels.shape} are several a volume, and one is asked for")
    labels = labels.reshape(-1) if labels.ndim == 2 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise BadFile(
            f"{path}: labels must be whole numbers (N,), not {labels.dtype} of shape {labels.shape}"
        )
    if len(labels) != len(volumes):
        raise BadFile(f"{path} holds {len(labels)} labels for {len(volumes)} volumes")
    _within(labels, source.classes or 0, f"{path}: labels")
    return labels.astype(np.int64)


def _within(values: NDArray[Any], classes: int, told: str) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise UserError(f"{told} are {low}..{high}, which do not fit the suite's {classes} classes")


def _checked_masks(
    masks: NDArray[Any] | None, volumes: NDArray[Any], source: Source, path: Path
) -> NDArray[np.uint8]:
    if masks is None:
        raise BadFile(f"{path} has no masks, a class for every voxel, which the suite asks about")
    wanted = (len(volumes), *volumes.shape[2:])
    if masks.shape != wanted or masks.dtype.kind not in "iu":
        raise BadFile(
            f"{path}: masks of {masks.dtype} and shape {masks.shape} are of another grid: whole numbers {wanted} are "
            "needed"
        )
    _within(masks, source.classes or 0, f"{path}: masks")
    return masks.astype(np.uint8)


def _checked_spacing(spacing: NDArray[Any] | None, path: Path) -> tuple[float, float, float] | None:
    if spacing is None:
        return None
    values = np.asarray(spacing)
    if (
        values.shape != (3,)
        or values.dtype.kind not in "iuf"
        or not (np.isfinite(values) & (values > 0)).all()
    ):
        raise BadFile(f"{path}: spacing must be three millimetres above 0, not {values.tolist()}")
    depth, height, width = map(float, values)
    return depth, height, width
