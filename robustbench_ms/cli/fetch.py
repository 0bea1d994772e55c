"""rbms fetch: data sets and weights from their publishers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_ms.cli.options import Data, Json, print_json

if TYPE_CHECKING:
    from robustbench_ms.fetching.fetch import Wanted

__all__ = ["command"]


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A data set, a suite (its data set) or a card (its weights); without one: a list."
        ),
    ] = None,
    given: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A published file that is here already; repeat.",
            show_default=False,
        ),
    ] = None,
    devkit: Annotated[
        Path | None,
        typer.Option(help="ImageNet's devkit, whose labels its pictures need.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Download what its publisher has, check it and unpack it; a download that was cut off goes on."""
    from robustbench_ms.cli.looking import looking
    from robustbench_ms.errors import UserError
    from robustbench_ms.fetching.fetch import fetch, wanted
    from robustbench_ms.fetching.offers import find_offer, offers
    from robustbench_ms.specs.places import Places

    places = Places.find(data)
    if name is None:
        rows = {
            o.name: {"licence": o.licence, "at": o.licence_at, "by_hand": o.by_hand}
            for o in offers().values()
        }
        if as_json:
            print_json(rows)
            return
        for one, row in rows.items():
            print(f"{one:16} {row['licence']} ({row['at']})")
        return
    what = wanted(find_offer(name), places, [*(given or ()), *([devkit] if devkit else ())])
    told = _told(what)
    if not what.files:
        print_json(told) if as_json else print(f"{what.offer.name} is there: {what.folder}")
        return
    lines = _lines(what)
    print(lines, file=sys.stderr if as_json else sys.stdout)
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(
                f"nothing was fetched: without a terminal to ask on, rbms fetch {name} --yes does it"
            )
        typer.confirm("Fetch it?", abort=True, err=True)
    with looking() as tell:
        came = fetch(what, places, tell)
    if as_json:
        print_json({**told, "came": came})
        return
    print(f"{what.offer.name}: {', '.join(map(str, came))}")
    if any(one.labels for one in what.offer.files) and not _labelled(what):
        print(
            "Its pictures need labels: fetch it again with --devkit ILSVRC2012_devkit_t12.tar.gz of the same page."
        )


def _labelled(what: Wanted) -> bool:
    return any((what.folder / name).exists() for one in what.offer.files if one.labels for name in one.makes)


def _size(size: int | None) -> str:
    if size is None:
        return "of a size that its server does not say"
    return f"{size / 1e9:.2f} GB" if size >= 10**8 else f"{size / 1e6:.2f} MB"


def _lines(what: Wanted) -> str:
    """What comes, from where, under which licence."""
    lines = [f"{what.offer.name}: {_size(what.bytes)} to download into {what.folder}"]
    lines += [f"  {what.offer.note}"] if what.offer.note else []
    lines.append(f"  licence: {what.offer.licence} ({what.offer.licence_at})")
    for one in what.files:
        origin = what.given.get(one.file) or one.url
        check = (
            f"{one.digest[0].upper()} by {one.said_by}"
            if one.digest
            else "not verified: nobody says its digest"
        )
        lines.append(f"  {origin}: {check}")
    return "\n".join(lines)


def _told(what: Wanted) -> dict[str, object]:
    return {
        "name": what.offer.name,
        "folder": what.folder,
        "licence": what.offer.licence,
        "bytes": what.bytes,
        "files": [
            {
                "url": one.url,
                "file": one.file,
                "bytes": one.bytes,
                "digest": None if one.digest is None else dict([one.digest]),
                "said_by": one.said_by or None,
            }
            for one in what.files
        ],
        "came": [],
    }
