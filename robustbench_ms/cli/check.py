"""rbms check: whether records and cells are what was written, and cards, suites and packages as they have to be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_ms.cli.options import Data, Device, Json, print_json
from robustbench_ms.errors import BadFile, UnknownName, UserError, suggest

if TYPE_CHECKING:
    from robustbench_ms.contracts.findings import Findings
    from robustbench_ms.evaluation.checking import Checked

__all__ = ["command"]


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Records, profiles, folders of them, or the cache, whose cells are checked; "
            "or a card, a suite (name or file), or an installed package.",
        ),
    ],
    suite: Annotated[
        str | None, typer.Option(help="Of a card: whose data it is asked about.", show_default=False)
    ] = None,
    device: Device = "cpu",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Check the digests of records and cells, and make their values again from the arrays; measures nothing.

    It finds damage, mixed files and careless edits, and no forger; rbms reproduce measures again. A card, a suite and a
    package are held to what everything that is shipped obeys: a line a fault, with what mends it. The code of a card
    and of a package is run, and named before. Exit 1 where something is wrong.
    """
    found: list[Any] = []
    for name in names:
        if _is_written(name):
            found += _written(Path(name), as_json=as_json)
        else:
            found.append(_held(name, suite, device, data, as_json=as_json))
    wrong = any(one["faults"] for one in found)
    if as_json:
        print_json({"well": not wrong, "checked": found})
    if wrong:
        sys.exit(1)


def _is_written(name: str) -> bool:
    """Whether it is a path of records or cells: what a suite, a card or a package is called comes first."""
    path = Path(name)
    if path.suffix == ".toml" or (":" in name and not path.exists()):
        return False
    return path.suffix in {".json", ".npz"} or "/" in name or (path.exists() and not _kind(name))


def _kind(name: str) -> str:
    """What a name is, suite, card or package; empty where there is none of that name."""
    from robustbench_ms.catalog.find import card_names, suite_names
    from robustbench_ms.contracts.announced import packages

    if name.endswith(".toml"):
        # A file that cannot be read is told by who reads it.
        return "suite" if Path(name).is_file() and _has_dataset(Path(name)) else "card"
    if name in suite_names():
        return "suite"
    if ":" in name or name.partition("@")[0].endswith(".toml") or name.partition("@")[0] in card_names():
        return "card"
    return "package" if name in packages() else ""


def _has_dataset(path: Path) -> bool:
    from robustbench_ms.catalog.table import read_toml

    try:
        return read_toml(path).has("dataset")
    except BadFile:
        return False


def _written(path: Path, *, as_json: bool) -> Iterator[dict[str, Any]]:
    from robustbench_ms.evaluation.checking import check

    for one in check([path]):
        if not as_json:
            _print(one, f"{one.path}: {one.cells} {one.what}, all well")
        yield asdict(one)


def _held(
    name: str, suite: str | None, device: str | None, data: list[str] | None, *, as_json: bool
) -> dict[str, Any]:
    from robustbench_ms.catalog.find import card_names, find_card, find_suite, suite_names
    from robustbench_ms.contracts.announced import packages
    from robustbench_ms.contracts.findings import Findings
    from robustbench_ms.specs.places import Places

    kind, places = _kind(name), Places.find(data)
    if not kind:
        known = [*suite_names(), *card_names(), *packages()]
        raise UnknownName(f"no file, suite, model or package named {name!r}{suggest(name, known)}")
    if suite is not None and kind != "card":
        raise UserError(f"--suite says what a card is asked about, and {name} is a {kind}")
    find, runs = Findings(kind, name), list[str]()
    if kind == "suite":
        from robustbench_ms.contracts.suites import hold_suite

        with find.holding(f"suite {name}"):
            hold_suite(find, find_suite(name), places)
    elif kind == "card":
        from robustbench_ms.contracts.code import code_of

        with find.holding(f"card {name}"):
            card = find_card(name)
            runs = _runs([code_of(card)], as_json=as_json)
            from robustbench_ms.contracts.cards import hold_card

            hold_card(find, card, places, None if suite is None else find_suite(suite), device)
    else:
        from robustbench_ms.contracts.announced import entries
        from robustbench_ms.contracts.package import Package

        runs = _runs(entries(name), as_json=as_json)
        package = Package(name)
        runs = [*runs, *_runs(package.code, as_json=as_json)]
        find = package.hold(places, device)
    if not as_json:
        _print(find, f"{kind} {name}: all well" + (f" ({', '.join(find.held)})" if find.held else ""))
    return {**find.told, "runs": runs}


def _runs(code: list[str], *, as_json: bool) -> list[str]:
    """Say what is run before it is."""
    if not as_json:
        for one in code:
            print(f"runs {one}", flush=True)
    return code


def _print(found: Checked | Findings, well: str) -> None:
    from robustbench_ms.reports.markdown import printable

    for line in (*found.faults, *found.notes):
        print(printable(line))
    if not found.faults:
        print(well)
