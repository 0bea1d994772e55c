"""What pages show that is made of the code: the command line, the keys of TOML files, data sets, numbers of tasks.

A page has a comment of one line, as `<!-- made: command line -->`, in whose place it stands in the built page.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import tomli_w

from robustbench_ms.catalog import cards, suites
from robustbench_ms.catalog.registry import DATASETS, TASKS, rows_of
from robustbench_ms.catalog.table import Table
from robustbench_ms.specs.channels import Channel
from robustbench_ms.subjects.training.recipe import Recipe

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
ANCHOR = re.compile(r'<a id="([\w-]+)"></a>')
"""As pages have them that are read elsewhere too; MyST takes its own alone for a target."""
MARK = re.compile(r"^<!-- made: (.+) -->$", re.MULTILINE)


def command_line() -> str:
    """Every verb with its options, as Markdown of typer's own."""
    import typer
    import typer.cli
    import typer.main

    from robustbench_ms.cli import app

    command = typer.main.get_command(app)
    made = typer.cli.get_docs_for_click(
        obj=command, ctx=typer.Context(command, info_name="rbms"), name="rbms"
    )
    return made[made.index("## ") :]


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines
    )


@dataclass
class Key:
    """A key of a TOML file, as the code takes it."""

    table: str
    """Of which it is a key: "[input]"; "" is the file itself."""
    name: str
    default: str
    words: tuple[str, ...] = ()
    """The only ones that it may be."""


def _default(value: Any) -> str:
    """As TOML has it; nothing of what is empty."""
    return "" if value in (None, "", (), []) else f"`{json.dumps(value)}`"


class _Noting(Table):
    """A table that notes what is taken of it, and of the tables in it."""

    found: list[Key]

    def _note(self, key: str, default: Any, *, required: bool = False, words: Iterable[str] = ()) -> None:
        table = self.place.partition(": ")[2]
        self.found.append(Key(table, key, "required" if required else _default(default), tuple(words)))

    def take(self, key: str, kind: Any, default: Any = None, *, required: bool = False) -> Any:
        if kind is not dict:
            self._note(key, default, required=required)
        return super().take(key, kind, default, required=required)

    def anything(self, key: str) -> Any:
        self._note(key, None)
        return super().anything(key)

    def word(self, key: str, known: Iterable[str], *rest: Any, **more: Any) -> Any:
        value = super().word(key, known, *rest, **more)
        self.found[-1].words = tuple(known)
        return value

    def table(self, key: str) -> Table:
        return self._same(super().table(key), f"[{key}]")

    def tables(self, key: str) -> list[Table]:
        return [self._same(one, f"[[{key}]]") for one in super().tables(key)]

    def _same(self, one: Table, name: str) -> Table:
        noting = _Noting(one._left, f"file: {name}")  # noqa: SLF001 - a copy of it that notes
        noting.found = self.found
        return noting


@contextmanager
def _noted(module: Any) -> Iterator[list[Key]]:
    """The keys that the module's reader takes meanwhile."""
    found: list[Key] = []
    read = module.read_toml

    def noting(path: Path) -> Table:
        table = _Noting(read(path)._left, "file")  # noqa: SLF001 - the same
        table.found = found
        return table

    with patch.object(module, "read_toml", noting):
        yield found


def _keys(module: Any, read: Callable[[Path], Any], least: dict[str, Any]) -> list[Key]:
    """What is taken of a file that has no more than it must."""
    with tempfile.TemporaryDirectory() as folder, _noted(module) as found:
        path = Path(folder) / "least.toml"
        path.write_text(tomli_w.dumps(least), encoding="utf-8")
        read(path)
    return found


def said(page: str) -> dict[tuple[str, str], tuple[str, str]]:
    """What the block of all keys in a README says of each: {(table, key): (an example, a comment)}."""
    block = (ROOT / page).read_text(encoding="utf-8").partition("```toml\n")[2].partition("\n```")[0]
    found: dict[tuple[str, str], tuple[str, str]] = {}
    table, last = "", None
    for line in block.splitlines():
        if heading := re.match(r"(\[+\w+\]+)\s*(?:# (.*))?$", line):
            table, last = heading[1], (heading[1], "")
            found[last] = ("", heading[2] or "")
        elif more := re.match(r"\s+# (.*)$", line):
            assert last is not None
            found[last] = (found[last][0], f"{found[last][1]} {more[1]}")
        elif key := re.match(r"(\w+) = (.*?)(?:\s+# (.*))?$", line):
            last = (table, key[1])
            found[last] = (key[2], key[3] or "")
    return found


_FREE = {"[matrix]", "[sha256]", "[args]", "[scales]"}
"""Tables whose keys the reader does not know."""


def _shown(page: str, keys: Iterable[Key]) -> str:
    """Tables of keys, a table of the file each; a key of which the page says nothing is an error."""
    about = said(page)
    tables: dict[str, list[list[str]]] = {}
    keys = list(keys)
    for table, name in about.keys() - {(key.table, key.name) for key in keys}:
        if name and table not in _FREE:
            raise ValueError(f"{page} has the key {name} {table}".rstrip() + ", which is none")
    for key in keys:
        if (key.table, key.name) not in about:
            raise ValueError(f"{page} says nothing of the key {key.name} {key.table}".rstrip())
        words = (
            f" [{', '.join(f'`{word}`' for word in key.words)}]"
            if 0 < len(key.words) < 9 and key.name != "split"
            else ""
        )
        rows = tables.setdefault(key.table, [])
        example, what = about[key.table, key.name]
        rows.append([f"`{key.name}`", key.default, f"`{example}`", what + words])
    told = []
    for table, rows in tables.items():
        told.append(f"### `{table}`\n\n{about[table, ''][1].capitalize()}." if table else "")
        told.append(_table(("key", "default", "for example", "what it is"), rows))
    return "\n\n".join(told)


def _fields(table: str, kind: type) -> list[Key]:
    return [
        Key(table, one.name, "required" if one.default is MISSING else _default(one.default))
        for one in fields(kind)
    ]


def suite_keys() -> str:
    least = {"dataset": "arrays", "classes": 2, "files": {"images": "images.npy", "labels": "labels.npy"}}
    found = _keys(suites, suites.read_suite, least)
    further = [*DATASETS.ours.values(), *TASKS.ours.values()]
    options = dict.fromkeys(option for info in further for option in info.options)
    tables = {"channels": "[[channels]]", "scales": "[scales]"}
    found += [Key("", name, "") for name in ("skip", *options) if name not in tables]
    found.sort(key=lambda key: key.table != "")
    found += _fields("[[channels]]", Channel)
    matrix = f"\n\n### `[matrix]`\n\nThe product is measured, cell by cell: the axes of one perturbation.\n\n{_axes()}"
    return _shown("suites/README.md", found) + matrix


def _axes() -> str:
    from robustbench_ms.catalog.registry import perturbations

    rows = []
    for info in perturbations([]):
        for axis in info.axes:
            values = ", ".join(f"`{value}`" for value in axis.values)
            groups = ", ".join(f'`"{name}"` ({len(members)})' for name, members in axis.groups.items())
            rows.append([f"`{axis.name}`", values, groups])
    return _table(("axis", "values", "groups"), rows)


def card_keys() -> str:
    least = {
        "build": "module:function",
        "tasks": ["detection"],
        "input": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        "output": {"score": 0.001, "labels": "data"},
        "weights": [{"file": "weights.safetensors"}],
        "published": [{"metric": "P", "value": 0.5, "on": "coco", "source": "a paper"}],
    }
    return _shown(
        "baselines/README.md", [*_keys(cards, cards.read_card, least), *_fields("[recipe]", Recipe)]
    )


def data_sets() -> str:
    rows = []
    for name, info in DATASETS.ours.items():
        splits = ", ".join(
            f"`{split}`" + (f" ({info.size(split):,})" if info.size(split) else "") for split in info.splits
        )
        further = ", ".join(f"`{option}`" for option in info.options)
        rows.append([f"`{name}`", info.about, info.classes or "", splits, further])
    return _table(("data set", "what it is", "classes", "splits", "further keys"), rows)


def numbers() -> str:
    told = []
    for task in TASKS.ours:
        rows = rows_of(task)
        shown = []
        for row in rows.values():
            over = " and ".join(getattr(row, "over", ())).replace("common", "the common cells")
            shown.append([f"`{row.name}`", row.unit, row.better, row.about.replace("{over}", over)])
        told.append(f"## {task}\n\n" + _table(("number", "unit", "better", "what it is"), shown))
    return "\n\n".join(told)


MADE: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "keys of suites": suite_keys,
    "keys of cards": card_keys,
    "data sets": data_sets,
    "numbers": numbers,
}


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    del app, name
    told = MARK.sub(lambda mark: MADE[mark[1]](), source[0])
    source[0] = ANCHOR.sub(r"[]{#\1}", told)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", fill)
    return {"parallel_read_safe": True}
