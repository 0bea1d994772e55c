"""The page of all trials, results/trials.md, and the sections that drivers of one kind write into it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PAGE", "put"]

PAGE = Path(__file__).parent.parent.parent / "results" / "trials.md"


def put(section: str) -> None:
    """Put a section, whose first line is its heading, where it stands in the page, or at the page's end."""
    heading = section.partition("\n")[0]
    first, *others = PAGE.read_text(encoding="utf-8").split("\n## ")
    told = {f"## {text}".partition("\n")[0]: f"## {text}".strip() for text in others}
    told[heading] = section.strip()
    PAGE.write_text("\n\n".join([first.strip(), *told.values()]) + "\n", encoding="utf-8")
