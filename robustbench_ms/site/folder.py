"""The folder that pages are written to: its own, and nothing of anybody else's in it is touched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from robustbench_ms.errors import UserError
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card

__all__ = ["Names", "check_folder", "write_files"]

_MARK = ".rbms-site.json"
"""Lists the files that were written; a folder with it may be written again."""


class Names:
    """File names of pages, each its own on file systems that do not tell A from a too."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, ...], str] = {}

    def of(self, kind: str, *what: str) -> str:
        """The page of a suite or a card, the same whenever it is asked for."""
        if (kind, *what) not in self._given:
            stem = f"{kind}-{Card('-'.join(what), '').file_name[:80] or 'unnamed'}"
            taken = {name.casefold() for name in self._given.values()}
            name, count = f"{stem}.html", 2
            while name.casefold() in taken:
                name, count = f"{stem}-{count}.html", count + 1
            self._given[kind, *what] = name
        return self._given[kind, *what]


def check_folder(folder: Path) -> None:
    """UserError where it holds something that is no site of ours, or is a file."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"--output: {folder} is a file, and pages need a folder")
    if not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise UserError(
            f"--output: {folder} holds something else than a site of rbms; name a new or an empty folder"
        )


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write them, and remove what an earlier site has and this one has not; UserError where that cannot be."""
    check_folder(folder)
    mark = folder / _MARK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        old = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else []
        for name in old if isinstance(old, list) else []:
            if isinstance(name, str) and name == Path(name).name and name not in files:
                (folder / name).unlink(missing_ok=True)
        mark.write_text(json.dumps(sorted(files)), encoding="utf-8")
        for name, content in files.items():
            with replacing(folder / name) as part:
                part.write_bytes(content)
    except OSError as error:
        raise UserError(f"--output: {folder} cannot be written ({error.strerror})") from error
