"""One NIfTI file: its voxels float32 in a fixed orientation, with the spacing in mm. nibabel reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.volumes import refuse_flat
from robustbench_ms.errors import BadFile, UserError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["ENDINGS", "LARGEST", "Scan", "open_scan", "read_map", "read_scan"]

ENDINGS = (".nii", ".nii.gz")
LARGEST = 1 << 33
"""Bytes of float32 that one volume may be read to: a header that says more is damaged, or made to fill a memory."""
_IN_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}
_ALIKE = 1e-3
"""Of a voxel's side: two grids that differ by less are one, as files round what they say of them."""


@dataclass(frozen=True)
class Scan:
    """A file whose header is read and sound."""

    path: Path
    image: Any
    """nibabel's image; no voxel is read yet."""
    turns: NDArray[np.float64]
    """Which of the file's axes point to the right, front and top (RAS+), and which of them the other way."""
    shape: tuple[int, int, int]
    """Of what is read: from the feet up, from the back to the front, from the left to the right."""
    spacing: tuple[float, float, float]
    """Millimetres along each of these."""
    affine: NDArray[np.float64]
    """From voxels counted to the right, front and top to millimetres."""

    def same_grid(self, other: Scan) -> bool:
        """Whether both have the same voxels in the same places."""
        step = _ALIKE * min(self.spacing)
        return self.shape == other.shape and bool(np.allclose(self.affine, other.affine, rtol=0, atol=step))


def open_scan(path: Path) -> Scan:
    """Reads the header alone. BadFile for what is no volume in a place that is known; UserError without nibabel."""
    library = _nibabel()
    with path.open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            raise BadFile(f"{path} is a DICOM file: convert the series to NIfTI first, as dcm2niix does")
    try:
        image = library.load(path)
        shape, affine = tuple(map(int, image.shape)), np.asarray(image.affine, dtype=np.float64)
        header = image.header
        known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        unit = _IN_MM[header.get_xyzt_units()[0]]
    except Exception as error:  # a damaged file raises half a dozen kinds
        told = str(error).partition("\n")[0]
        raise BadFile(f"{path} is damaged or no NIfTI file ({told})") from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        many = " x ".join(map(str, shape))
        raise BadFile(
            f"{path} is of {many}, and a volume has three axes; a series in time is several volumes"
        )
    if image.get_data_dtype().kind not in "iuf":
        raise BadFile(f"{path} holds {image.get_data_dtype()}, and one number a voxel is wanted")
    if not known:
        raise BadFile(
            f"{path} does not say where its voxels lie (neither sform nor qform is set), so that it cannot be oriented"
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadFile(f"{path} has an affine that is singular, so that its voxels have no places")
    if (size := 4 * int(np.prod(shape, dtype=object))) > LARGEST or 0 in shape:
        raise BadFile(
            f"{path} unpacks to {size / 2**30:.0f} GiB, and {LARGEST >> 30} GiB are read at most"
            if size
            else f"{path} holds no voxel"
        )
    turns = library.io_orientation(affine)
    turned = (affine @ library.orientations.inv_ornt_aff(turns, shape)) * np.array([[unit]] * 3 + [[1.0]])
    width, height, depth = (shape[int(np.flatnonzero(turns[:, 0] == k)[0])] for k in range(3))
    right, front, top = np.sqrt((turned[:3, :3] ** 2).sum(axis=0)).tolist()
    return Scan(path, image, turns, (depth, height, width), (top, front, right), turned)


def read_scan(scan: Scan) -> NDArray[np.float32]:
    """Voxels float32 (D, H, W), after the file's scale factors. BadFile where they say nothing."""
    values = _voxels(scan).astype(np.float32)
    if wrong := int(values.size - np.isfinite(values).sum()):
        raise BadFile(
            f"{scan.path} has {wrong:,} voxels of NaN or infinity, outside the brain perhaps: set them to a number"
        )
    refuse_flat(values, str(scan.path))
    return values


def read_map(scan: Scan, beside: Scan, classes: int) -> NDArray[np.uint8]:
    """Classes uint8 (D, H, W) of another file's voxels, 0 to `classes` - 1."""
    if not scan.same_grid(beside):
        raise BadFile(
            f"{scan.path} is of another grid than {beside.path}: {_told(scan)} beside {_told(beside)}; resample it "
            "to the volume's, by the nearest"
        )
    values = _voxels(scan)
    if not np.array_equal(values, np.rint(values)):
        raise BadFile(f"{scan.path} has labels that are no whole numbers")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise BadFile(f"{scan.path} has labels {low}..{high}, which do not fit {classes} classes")
    return values.astype(np.uint8)


def _voxels(scan: Scan) -> NDArray[Any]:
    """(D, H, W), scaled as the header says."""
    try:
        values = np.asanyarray(scan.image.dataobj)
    except Exception as error:  # a file that is cut off raises half a dozen kinds
        told = str(error).partition("\n")[0]
        raise BadFile(f"{scan.path} is cut off or damaged ({told})") from error
    values = values.reshape(values.shape[:3])  # a fourth axis has one place
    return np.ascontiguousarray(_nibabel().apply_orientation(values, scan.turns).transpose(2, 1, 0))


def _told(scan: Scan) -> str:
    shape, spacing = " x ".join(map(str, scan.shape)), " x ".join(f"{s:g}" for s in scan.spacing)
    corner = ", ".join(f"{v:g}" for v in scan.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm from ({corner})"


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError as error:
        raise UserError(
            "NIfTI files need the package nibabel, which is not installed; pip install 'robustbench-ms[volumes]'"
        ) from error
    return nibabel
