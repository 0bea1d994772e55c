"""Pages and their code blocks, in the order of the page.

A comment of one line before a block says what is particular about it, as `<!-- not run: it needs two GPUs -->`:

- `not run: WHY`, and nothing of it is run; `slow: WHY`, and `-m slow` alone runs it;
- `file: NAME`, and it is written to that file beside the others of the page; python is not run then;
- `exit: CODE` of its last command, where that is not 0.

What is console or python is run, text after python is what that printed, and every other block has to say what it is.
"""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from sphinx.util.matching import get_matching_files

ROOT = Path(__file__).parent.parent.parent
MARKS = ("not run", "slow", "file", "exit")

_MARK = re.compile(r"<!-- ([\w ]+): (.+?) -->")
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: Path
    line: int
    """Of its first line of code, from 1."""
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return place(self.page, self.line)

    @property
    def stop(self) -> int:
        """The line of the closing fence, from 1."""
        return self.line + self.text.count("\n")


@dataclass
class Command:
    """A line of a console block, and what stands below it."""

    line: int
    text: str
    shown: list[str]
    """The lines of its output; of none nothing is held."""


def place(page: Path, line: int) -> str:
    return f"{page.relative_to(ROOT) if page.is_relative_to(ROOT) else page.name}:{line}"


def documents(root: Path = ROOT, conf: Path = ROOT / "docs" / "conf.py") -> list[Path]:
    """The pages of the documentation, by its configuration."""
    told = runpy.run_path(str(conf))
    return [
        root / name
        for name in sorted(get_matching_files(root, told["include_patterns"], told["exclude_patterns"]))
    ]


def tokens(page: Path):
    return _PARSER.parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """Its code blocks, without the directives of the documentation's own."""
    found, marks = [], {}
    for token in tokens(page):
        if token.type == "html_block":
            told = _MARK.fullmatch(token.content.strip())
            if told and told[1] in MARKS:
                marks[told[1]] = told[2]
            continue
        if token.type == "fence" and not token.info.startswith("{"):
            language = token.info.partition(" ")[0]
            found.append(Block(page, token.map[0] + 2, language, token.content, marks))
        marks = {}
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a console block, those of several lines as one."""
    found: list[Command] = []
    more = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append(Command(number, line[2:], []))
            more = line.endswith("\\")
        elif more:
            found[-1].text += "\n" + line.removeprefix("> ")
            more = line.endswith("\\")
        elif found:
            found[-1].shown.append(line)
        else:
            raise AssertionError(
                f"{place(block.page, number)}: a console block begins with a command, '$ ...'"
            )
    return found


def code_spans(page: Path) -> list[tuple[int, str]]:
    """(line, text) of code within sentences and tables."""
    return [
        (token.map[0] + 1, child.content)
        for token in tokens(page)
        if token.type == "inline" and token.map
        for child in token.children
        if child.type == "code_inline"
    ]
