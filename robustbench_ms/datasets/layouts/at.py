"""What lies at a path: which layout pictures have there."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.datasets.layouts.folders import find_in_folders
from robustbench_ms.datasets.layouts.found import Found
from robustbench_ms.datasets.layouts.parquet import find_in_parquet
from robustbench_ms.datasets.layouts.tables import find_in_table
from robustbench_ms.datasets.layouts.tars import find_in_tars
from robustbench_ms.errors import BadFile

__all__ = ["find_at"]

_LMDB = "is an LMDB, which is not read: write its pictures out as files, tars or parquet"


def find_at(path: Path, split: str = "") -> Found:
    """The pictures at a path: a folder of classes, of tars or of parquet files; or one tar, parquet or CSV file.

    Of tars and parquet files those of `split` alone where their names say one. BadFile says what cannot be read.
    """
    if path.is_file():
        kind = path.suffix.lower()
        if kind == ".csv":
            return find_in_table(path)
        if kind == ".tar":
            return find_in_tars([path])
        if kind == ".parquet":
            return find_in_parquet([path])
        if kind in {".lmdb", ".mdb"}:
            raise BadFile(f"{path} {_LMDB}")
        raise BadFile(f"{path} is neither a folder nor a .csv, .tar or .parquet file")
    if not path.is_dir():
        raise BadFile(f"{path} is missing")
    if (path / "data.mdb").exists():
        raise BadFile(f"{path} {_LMDB}")
    for ending, find in ((".parquet", find_in_parquet), (".tar", find_in_tars)):
        files = _of_split([*_with(path, ending), *_with(path / "data", ending)], split)
        if files:
            return find(files)
    return find_in_folders(path)


def _with(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []


def _of_split(files: list[Path], split: str) -> list[Path]:
    chosen = [file for file in files if split and split in file.name]
    return chosen or files
