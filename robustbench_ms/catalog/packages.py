"""What installed packages announce by entry points; none of them is imported to find it.

A group is "robustbench_ms." and a table's name (tasks, datasets, perturbations, formats, executors, adapters): an entry
point's name is its row's, and its object the row. In "robustbench_ms.folders" an entry point's value is the name of a
package whose folder holds `suites/` and `baselines/`, which are found beside the shipped ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError

__all__ = ["OURS", "Announced", "Folder", "announced", "folders", "look_again", "only", "said", "their_files"]

OURS = "robustbench-ms"
"""The distribution whose names nobody else can have."""


def said(error: BaseException) -> str:
    """An error's kind and the first line of its words."""
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


@dataclass(frozen=True)
class Announced:
    """One entry point."""

    distribution: str
    """Of the package that has it, as its metadata spell it."""
    point: EntryPoint

    def load(self, what: str) -> Any:
        """Its object; UserError for whatever its import raises."""
        try:
            return self.point.load()
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{what} of {self.distribution} cannot be imported from {self.point.value} ({said(error)})"
            ) from error


_scanned = cache(entry_points)  # of every installed package, and a run asks for every cell


@cache
def announced(group: str) -> dict[str, tuple[Announced, ...]]:
    """What is announced in a group ("tasks") by name; several where packages have one name."""
    found: dict[str, tuple[Announced, ...]] = {}
    for point in _scanned().select(group=f"robustbench_ms.{group}"):
        package = point.dist.name if point.dist is not None else "a package without metadata"
        found[point.name] = (*found.get(point.name, ()), Announced(package, point))
    return found


def look_again() -> None:
    """Forget what was announced: packages came or went."""
    for one in (_scanned, announced, folders):
        one.cache_clear()


def only(what: str, found: Sequence[Announced]) -> Announced:
    """The one that announces a name; UserError that names the packages where several do."""
    if len(found) > 1:
        several = " and ".join(sorted(one.distribution for one in found))
        raise UserError(f"{what} is announced by {several}; one of them has to go, or to rename it")
    return found[0]


@dataclass(frozen=True)
class Folder:
    """A package's own folder."""

    distribution: str
    value: str
    """The package's name, as it announces it."""
    path: Path | None
    fault: str = ""
    """Why there is none."""


@cache
def folders() -> tuple[Folder, ...]:
    """Folders of packages with suites and baselines; what lies above a package "a.b" is imported, nothing else."""
    return tuple(_folder(one) for found in announced("folders").values() for one in found)


def _folder(one: Announced) -> Folder:
    value = one.point.value
    told = f"the folder {value} of {one.distribution}"
    try:
        spec = find_spec(value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's package raises is told
        return Folder(one.distribution, value, None, f"{told} cannot be found ({said(error)})")
    if spec is None or not spec.submodule_search_locations:
        why = f"there is no package {value}" if spec is None else f"{value} is a module and no package"
        return Folder(one.distribution, value, None, f"{told} cannot be found ({why})")
    path = Path(next(iter(spec.submodule_search_locations)))
    if not (path / "suites").is_dir() and not (path / "baselines").is_dir():
        return Folder(
            one.distribution, value, None, f"{told} has neither suites/ nor baselines/ (looked in {path})"
        )
    return Folder(one.distribution, value, path)


def their_files(kind: str) -> Iterator[tuple[str, Path]]:
    """(distribution, TOML file) of every suite or card in packages' folders: `kind` is "suites" or "baselines"."""
    for folder in folders():
        for path in sorted((folder.path / kind).glob("*.toml")) if folder.path is not None else ():
            yield folder.distribution, path
