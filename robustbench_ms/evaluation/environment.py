"""What a number was made with: versions, commit, device; no path, host or user name."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from robustbench_ms.records.record import Environment

__all__ = ["describe_environment"]

_PACKAGES = (
    "torchvision",
    "timm",
    "numpy",
    "numba",
    "opencv-python",
    "pillow",
    "imagecorruptions-imaug",
    "safetensors",
)


def describe_environment(device: torch.device) -> Environment:
    """The environment of this process and the device it measures on."""
    commit, dirty = _commit()
    return Environment(
        version=_version("robustbench-ms") or "unknown",
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if device.type == "cuda" else None,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        cpu=f"{_cpu()}, {len(os.sched_getaffinity(0))} cores",
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        os=f"{platform.system()} {platform.machine()}",
        packages={name: found for name in _PACKAGES if (found := _version(name))},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def _commit() -> tuple[str | None, bool | None]:
    """This package's commit and whether its checkout has changes; None where it was installed without one."""
    root = Path(__file__).resolve().parent.parent.parent

    def git(*words: str) -> str:
        return subprocess.run(  # noqa: S603 - fixed words
            ["git", "-C", str(root), *words],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != root:
            return None, None
        return git("rev-parse", "HEAD"), bool(
            git("status", "--porcelain", "--", "robustbench_ms", "suites", "baselines")
        )
    except (OSError, subprocess.SubprocessError):
        return None, None


@lru_cache(maxsize=1)
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
