"""Pictures that a CSV file names, a row each: path,label."""

from __future__ import annotations

import csv
from pathlib import Path

from robustbench_ms.datasets.layouts.folders import FolderFiles
from robustbench_ms.datasets.layouts.found import Codes, Found, Names
from robustbench_ms.errors import BadFile, suggest

__all__ = ["find_in_table"]

_PATH, _LABEL = "path", "label"


def find_in_table(file: Path) -> Found:
    """The pictures of a CSV file with the columns path and label; paths are relative to the file's folder.

    Labels are class indices where all are whole numbers, else names. No picture is looked at. BadFile names the line.
    """
    names, codes = Names(), Codes()
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, strict=True)
            head = [word.strip().lower() for word in next(rows, [])]
            for wanted in (_PATH, _LABEL):
                if head.count(wanted) != 1:
                    raise BadFile(
                        f"{file}: line 1 must name the columns path and label, and names "
                        f"{', '.join(head) or 'none'}{suggest(wanted, head) if head else ''}"
                    )
            path, label = head.index(_PATH), head.index(_LABEL)
            for row in rows:
                if not row:
                    continue
                if len(row) != len(head):
                    raise BadFile(f"{file}: line {rows.line_num} has {len(row)} fields, not {len(head)}")
                name, word = row[path].strip(), row[label].strip()
                if not name or not word:
                    raise BadFile(f"{file}: line {rows.line_num} has no {_PATH if not name else _LABEL}")
                if any(mark in word for mark in ";|,"):
                    raise BadFile(
                        f"{file}: line {rows.line_num}: {word!r} are several labels of one picture; one a picture is "
                        "measured"
                    )
                names.append(name.replace("\\", "/").removeprefix("./"))
                codes.append(word)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{file} cannot be read ({error})") from error
    numbered = bool(codes.words) and all(word.isascii() and word.isdigit() for word in codes.words)
    return Found(FolderFiles(file.parent, names), tuple(codes.words), codes.array(), numbered)
