"""Markdown that is aligned for a terminal and safe in a pull request."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

__all__ = ["code", "escape", "grid", "printable"]


def printable(text: str) -> str:
    """Text without what a terminal obeys, what turns its order, or what UTF-8 cannot say: halves of surrogate pairs.

    Of control and format characters line ends and tabs stay.
    """
    return "".join(
        one for one in text if one in "\n\t" or unicodedata.category(one) not in {"Cc", "Cf", "Cs"}
    )


def escape(text: str) -> str:
    """Text that stays text: no markup, no link, no mention of a person or an issue, no cell that ends early."""
    text = (
        printable(re.sub(r"\s+", " ", text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    text = re.sub(r"[\\`*\[\]|~]", r"\\\g<0>", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it marks nothing
    text = re.sub(r"#(?=\d)", "&#35;", text)
    text = re.sub(r"(?<!\w)@", "&#64;", text)  # within a word it mentions nobody
    return text.replace("://", ":&#47;/").replace("www.", "www&#46;")


def code(text: str) -> str:
    """A name as code, in which only what ends the code or the cell needs care."""
    return "`" + printable(re.sub(r"\s+", " ", text)).replace("`", "'").replace("|", "\\|") + "`"


def grid(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """The lines of a table, the first row its head, columns aligned to the right but for those in `left`."""
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * width if i in left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return [line(rows[0]), f"| {' | '.join(rule)} |", *(line(row) for row in rows[1:])]
