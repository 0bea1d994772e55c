"""What the cache holds, and its removal: all of it can be made again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from robustbench_ms.specs.places import Places

__all__ = ["KINDS", "drop", "held"]

KINDS = {
    "cells": re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.npz"),
    "canvases": re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.npy(\.building|\.lock)?"),
    "truths": re.compile(r"[0-9a-f]{1,32}-\d+\.npz"),
    "digests": re.compile(r"(photographs-|pictures-)?[0-9a-f]{32}\.(json|npz)(\.lock)?"),
    "leaderboards": re.compile(r"[0-9a-f]{32}\.npz"),
}
"""What is made in the folder of that name, by how its files are called: nothing else there is touched."""


def held(places: Places, canvases: Path | None = None) -> dict[str, tuple[Path, int, int]]:
    """{kind: (its folder, files, bytes)}; `canvases` is their folder where it is another."""
    found = {}
    for kind in KINDS:
        folder, files = _files(kind, places, canvases)
        found[kind] = folder, len(files), sum(path.stat().st_size for path in files)
    return found


def drop(kinds: Iterable[str], places: Places, canvases: Path | None = None) -> None:
    """Remove the files of some kinds; a run that maps one keeps it until it ends."""
    for kind in kinds:
        for path in _files(kind, places, canvases)[1]:
            path.unlink(missing_ok=True)


def _files(kind: str, places: Places, canvases: Path | None) -> tuple[Path, list[Path]]:
    folder = canvases if kind == "canvases" and canvases is not None else places.cache / kind
    found = folder.iterdir() if folder.is_dir() else ()
    return folder, sorted(path for path in found if KINDS[kind].fullmatch(path.name) and path.is_file())
