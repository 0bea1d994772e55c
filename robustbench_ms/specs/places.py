"""Where things lie: the only reader of environment variables, RBMS_*, RAY_ADDRESS and those of OpenMP's threads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustbench_ms.errors import UserError
from robustbench_ms.files import probe, sweep

__all__ = ["PROFILES_FOLDER", "Given", "Places", "ray_address", "spin_briefly"]

Given = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
"""A folder, "name=path" of one data set, or several of these."""
_NAMED = re.compile(r"([a-z][a-z0-9.-]*)=(.+)", re.DOTALL)
PROFILES_FOLDER = "profiles"
"""The folder of results that holds profiles, and so no name for a suite."""


@dataclass(frozen=True)
class Places:
    """The three folders that a run touches, and where single data sets lie.

    `data` holds data sets and weights and is only read (and downloaded into), `results` holds the records
    that people commit, `cache` holds finished cells and is safe to delete.
    """

    data: Path
    results: Path
    cache: Path
    named: Mapping[str, Path] = field(default_factory=dict)
    """Where a data set lies that does not lie in `data`, by its name; only read."""
    downloads: bool = True
    """What `data` lacks may be fetched into it."""

    def of(self, dataset: str) -> Path | None:
        """Where a data set was said to lie; None where nobody said it."""
        return self.named.get(dataset)

    @classmethod
    def find(
        cls,
        data: Given = None,
        results: str | os.PathLike[str] | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> Places:
        """The folders as given, else RBMS_DATA, RBMS_RESULTS, RBMS_CACHE, else the defaults.

        The defaults are ~/.cache/robustbench_ms/data, ./results and ~/.cache/robustbench_ms. Of `data` what is spelled
        name=path says where one data set lies; UserError where a name, or the folder of all, is said twice.
        """
        plain, named = _split(data)
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "robustbench_ms"
        return cls(
            data=_folder(plain, "RBMS_DATA", home / "data"),
            results=_folder(results, "RBMS_RESULTS", Path("results")),
            cache=_folder(cache, "RBMS_CACHE", home),
            named=named,
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


def _split(data: Given) -> tuple[str | os.PathLike[str] | None, dict[str, Path]]:
    """The folder of all data, and those of single data sets."""
    given = [data] if isinstance(data, (str, os.PathLike)) else [*(data or ())]
    plain: list[str | os.PathLike[str]] = []
    named: dict[str, Path] = {}
    for one in given:
        found = _NAMED.fullmatch(os.fspath(one))
        if found is None:
            plain.append(one)
        elif found[1] in named:
            raise UserError(f"--data says twice where {found[1]} lies: {named[found[1]]} and {found[2]}")
        else:
            named[found[1]] = Path(found[2]).expanduser().absolute()
    if len(plain) > 1:
        raise UserError(
            f"--data names two folders, {plain[0]} and {plain[1]}; one data set's is given as NAME=PATH"
        )
    return (plain[0] if plain else None), named


def spin_briefly() -> None:
    """Have threads that wait for each other sleep after some 50 microseconds; by itself GNU's OpenMP spins for 1 ms.

    Beside another program each spinning thread keeps from a core the one it waits for: two threads on two busy cores
    took 1.6 times as long. Read when torch is imported. What the user says of it stands.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"
