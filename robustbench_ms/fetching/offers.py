"""What can be fetched, by name: the table beside this file, and the weights whose cards say an address."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from robustbench_ms.catalog.find import card_names, find_card, find_suite, suite_names
from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.catalog.table import Table, inside, read_toml
from robustbench_ms.errors import UnknownName, UserError, suggest

__all__ = ["Offer", "Remote", "by_dataset", "find_offer", "known_of", "offers"]

TABLE = Path(__file__).with_name("offers.toml")


@dataclass(frozen=True)
class Remote:
    """A publisher's file."""

    url: str
    """"" where it is got by hand."""
    file: str
    """Its name, by which a file that was fetched by hand is told too."""
    bytes: int | None = None
    digest: tuple[str, str] | None = None
    """("sha256" or "md5", in hexadecimal digits); None where nobody at hand says it: not verified."""
    said_by: str = ""
    """Who says size and digest."""
    makes: tuple[str, ...] = ()
    """What it leaves in the offer's folder; empty: whatever is in it."""
    under: str = ""
    """Where in the offer's folder it is unpacked."""
    labels: bool = False
    """It has labels alone, and others may be there."""
    torchvision: str = ""
    """Where torchvision has its address and MD5; they are read with `known_of`."""


@dataclass(frozen=True)
class Offer:
    """A data set, or a card's weights."""

    name: str
    licence: str
    licence_at: str
    files: tuple[Remote, ...]
    into: str = ""
    """The folder in the data folder; "" is that itself."""
    by_hand: str = ""
    """The page where files without an address are got."""
    why: str = ""
    """Why no program gets them: "stands behind a login"."""
    note: str = ""
    also: tuple[str, ...] = ()
    """Further data sets that are read from the same files."""


def offers(path: Path = TABLE) -> dict[str, Offer]:
    """The table of data sets; UserError names what is wrong in it."""
    table = read_toml(path)
    found = [_offer(row) for row in table.tables("offer")]
    table.done()
    return {offer.name: offer for offer in found}


def _offer(row: Table) -> Offer:
    name = row.take("name", str, required=True)
    into, by_hand = row.take("into", str, ""), row.take("by_hand", str, "")
    offer = Offer(
        name,
        row.take("licence", str, required=True),
        row.take("licence_at", str, required=True),
        tuple(_remote(one) for one in row.tables("files")),
        inside(into, f"{row.place}: into") if into else "",
        by_hand,
        row.take("why", str, "", required=bool(by_hand)),
        also=row.strings("also"),
    )
    row.done()
    return offer


def by_dataset() -> dict[str, Offer]:
    """{data set: what it is read from}."""
    return {name: offer for offer in offers().values() for name in (offer.name, *offer.also)}


def _remote(row: Table) -> Remote:
    digests = [(kind, row.take(kind, str)) for kind in ("sha256", "md5")]
    digest = next(((kind, value) for kind, value in digests if value), None)
    url, torchvision, file = (row.take(key, str, "") for key in ("url", "torchvision", "file"))
    if sum(map(bool, (url, torchvision, file))) != 1:
        raise UserError(f"{row.place}: one of url, torchvision and file must be given")
    found = Remote(
        url,
        file or _name_in(url),
        row.take("bytes", int),
        digest,
        row.take("said_by", str, "", required=digest is not None),
        row.strings("makes"),
        row.take("under", str, ""),
        row.take("labels", bool, default=False),
        torchvision,
    )
    row.done()
    return found


def _name_in(url: str) -> str:
    return unquote(PurePosixPath(urlsplit(url).path).name)


def find_offer(name: str) -> Offer:
    """The offer of a data set, of a suite's data set, or of a card's weights; UnknownName with the nearest."""
    known, suites, cards = by_dataset(), suite_names(), card_names()
    asked = find_suite(name).dataset if name in suites else name
    if name in known:
        offer = known[name]
        if asked != name:
            note = f"the suite {name} corrupts {asked} in memory and needs no {name}: rbms fetch {asked}"
            offer = replace(offer, note=note)
        return offer
    if asked in known:
        return replace(known[asked], note=f"the suite {name} shows {asked}")
    if asked in DATASETS:
        what = asked if asked == name else f"the suite {name} shows {asked}, which"
        if DATASETS[asked].embedded:
            raise UserError(f"{what} is made or comes with a package, and needs no download")
        raise UserError(f"{what} has no publisher that is known here: who names its files has to bring them")
    if name in cards:
        return _weights(name)
    raise UnknownName(
        f"no data set, suite or card named {name!r}{suggest(name, [*DATASETS, *suites, *cards])}"
    )


def _weights(name: str) -> Offer:
    """What a card's weights are got by."""
    card = find_card(name)
    files = [
        Remote(one.url, one.file, None, None if one.sha256 is None else ("sha256", one.sha256), "the card", (one.file,))
        for one in card.weights
        if one.url and one.package is None
    ]  # fmt: skip
    if not files:
        origin = f"; it comes from {card.source}" if card.source and card.weights else ""
        raise UserError(f"the card {name} names no address of weights{origin}")
    return Offer(name, card.licence or "none stated", card.source or name, tuple(files), "weights")


def known_of(remote: Remote) -> Remote:
    """A file with the address, name and MD5 that torchvision has of it."""
    if not remote.torchvision:
        return remote
    said_by = "torchvision"
    archives = torchvision_says("imagenet", "ARCHIVE_META")
    if remote.torchvision in archives:
        file, md5 = archives[remote.torchvision]
        return replace(remote, file=file, digest=("md5", md5), said_by=said_by)
    url, file, md5 = (
        torchvision_says("cifar", remote.torchvision, name) for name in ("url", "filename", "tgz_md5")
    )
    return replace(remote, url=url, file=file, digest=("md5", md5), said_by=said_by)


def torchvision_says(module: str, *names: str) -> Any:
    """A constant of a module of torchvision.datasets, or of a class in it, read off its source.

    Importing torchvision takes longer than it should take to say that there is no network.
    """
    spec = find_spec("torchvision")
    try:
        folder = Path((spec.submodule_search_locations or [""])[0] if spec else "")
        body = ast.parse((folder / "datasets" / f"{module}.py").read_text(encoding="utf-8")).body
        for name in names[:-1]:
            body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == name)
        wanted = {names[-1]}
        return next(
            ast.literal_eval(node.value)
            for node in body
            if isinstance(node, ast.Assign) and {ast.unparse(target) for target in node.targets} == wanted
        )
    except (OSError, SyntaxError, StopIteration, ValueError) as error:
        raise UserError(
            f"the installed torchvision does not say {'.'.join(names)} of its {module}.py"
        ) from error
