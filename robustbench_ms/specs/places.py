"""Where things lie: the only reader of environment variables, RBMS_* and RAY_ADDRESS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from robustbench_ms.errors import UserError
from robustbench_ms.files import probe, sweep

__all__ = ["Places", "ray_address"]


@dataclass(frozen=True)
class Places:
    """The three folders that a run touches.

    `data` holds data sets and weights and is only read (and downloaded into), `results` holds the records
    that people commit, `cache` holds finished cells and is safe to delete.
    """

    data: Path
    results: Path
    cache: Path

    @classmethod
    def find(
        cls,
        data: str | os.PathLike[str] | None = None,
        results: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> Places:
        """The folders as given, else RBMS_DATA, RBMS_RESULTS, RBMS_CACHE, else the defaults.

        The defaults are ~/.cache/robustbench_ms/data, ./results and ~/.cache/robustbench_ms.
        """
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "robustbench_ms"
        return cls(
            data=_folder(data, "RBMS_DATA", home / "data"),
            results=_folder(results, "RBMS_RESULTS", Path("results")),
            cache=_folder(cache, "RBMS_CACHE", home),
        )

    @staticmethod
    def writable(folder: Path, what: str) -> Path:
        """Make `folder`, free it of what dead writers left, and return it.

        A UserError says that it cannot be written, before any work is done.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe(folder)
        except OSError as error:
            variable = f" or RBMS_{what.upper()}" if what in {"data", "results", "cache"} else ""
            raise UserError(
                f"the {what} folder {folder} cannot be written ({error.strerror}); give another with --{what}{variable}"
            ) from error
        sweep(folder)
        return folder


def ray_address() -> str | None:
    """Where the Ray cluster is that RAY_ADDRESS names; None for a Ray of this machine."""
    return os.environ.get("RAY_ADDRESS") or None


def _folder(given: str | os.PathLike[str] | None, variable: str, default: Path) -> Path:
    return Path(given or os.environ.get(variable) or default).expanduser().resolve()
