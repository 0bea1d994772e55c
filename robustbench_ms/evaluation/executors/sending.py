"""What travels to workers on other machines: suite, cards and weights by digest; data sets do not.

A worker opens its own data, and measures nothing where these show other samples or labels than the parent's.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from robustbench_ms.catalog.registry import task_of
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.executors.protocol import Run
from robustbench_ms.evaluation.executors.several import TABLES, pickled
from robustbench_ms.evaluation.jobs import Conditions, Job
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.adapting import files_of, is_adapted
from robustbench_ms.subjects.devices import find_device
from robustbench_ms.subjects.loading import blame
from robustbench_ms.subjects.weights import file_digest

__all__ = ["Order", "SentFile", "here", "opened", "packed", "placed", "places_here", "travelling", "unpacked"]


@dataclass(frozen=True)
class SentFile:
    """A file that goes with a card."""

    name: str
    """Under the card's folder, as the card names it."""
    sha256: str
    path: Path
    """Where the parent has it."""


@dataclass(frozen=True)
class Order:
    """What every worker is sent."""

    suite: Suite
    cards: Sequence[Card]
    files: Mapping[str, tuple[SentFile, ...]]
    """{card: what its weights are}."""
    jobs: Sequence[Job]
    settings: Settings
    places: Places
    index: str
    """Digest of the parent's index of the data."""
    n: int
    registered: Mapping[str, Mapping[str, Any]]


def here() -> str:
    """The name of this machine."""
    return socket.gethostname()


def packed(run: Run, settings: Settings) -> tuple[Order, bytes]:
    """The order of a run, and as bytes: a line of JSON (versions, sys.path, SHA-256), then a pickle."""
    sent = {card.name: travelling(card, run.shown.places) for card in run.cards}
    order = Order(
        run.shown.suite,
        [card for card, _ in sent.values()],
        {name: files for name, (_, files) in sent.items()},
        list(run.jobs),
        settings,
        run.shown.places,
        _digest(run.shown.first),
        len(run.shown.first.ids),
        {name: table.registered for name, table in TABLES.items()},
    )
    body = pickled(order, run.cards)
    header = {
        **_versions(),
        "path": [folder for folder in dict.fromkeys(map(os.path.abspath, sys.path)) if Path(folder).is_dir()],
        "folder": str(Path.cwd()),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return order, json.dumps(header).encode() + b"\n" + body


def unpacked(sent: bytes) -> Order:
    """The order on a worker, its modules importable where they are there, and the parent's registrations made."""
    line, _, body = sent.partition(b"\n")
    header = json.loads(line)
    for what, mine in _versions().items():
        if header[what] != mine:
            raise UserError(f"{what} is {mine} here and {header[what]} where the run was started")
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise UserError("what it was sent came damaged")
    sys.path += [folder for folder in header["path"] if folder not in sys.path and Path(folder).is_dir()]
    with suppress(OSError):
        os.chdir(header["folder"])
    try:
        order: Order = pickle.loads(body)  # noqa: S301 - made by the parent
    except Exception as error:
        raise UserError(f"it cannot take what it is sent: {type(error).__name__}: {error}") from error
    for name, rows in order.registered.items():
        for row, value in rows.items():
            TABLES[name].register(row, value)
    return order


def opened(order: Order, places: Places) -> Conditions:
    """The suite on the worker's own data; UserError where these, or its device, are not there or others."""
    device = find_device(order.settings.device)
    try:
        float(torch.ones(2, device=device).sum())
    except Exception as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"the device {device} does not compute ({told})") from error
    shown = Conditions(order.suite, task_of(order.suite), places, order.settings.keep(places.cache))
    if _digest(shown.first) != order.index:
        n = len(shown.first.ids)
        what = f"{n} samples instead of {order.n}" if n != order.n else "other samples or labels"
        raise UserError(
            f"its data set {order.suite.dataset} in {places.data} shows {what}: copy there what the run was started on"
        )
    return shown


def placed(order: Order, root: Path, fetch: Callable[[SentFile], bytes]) -> list[Card]:
    """The cards with their weights under a folder of the worker's, each file once; `fetch` gives what is not there."""
    cards = []
    for card in order.cards:
        files = order.files[card.name]
        if not files:
            cards.append(card)
            continue
        folder = (
            root / hashlib.sha256("\n".join(f"{f.name} {f.sha256}" for f in files).encode()).hexdigest()[:32]
        )
        for file in files:
            path = folder / file.name
            if path.is_file() and file_digest(path) == file.sha256:
                continue
            content = fetch(file)
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise UserError(f"model {card.name}: {file.name} came damaged")
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(content)
        cards.append(replace(card, folder=folder))
    return cards


def places_here(places: Places, *, cache: Path | None = None) -> Places:
    """The parent's folders where they are there, else this machine's own; the cache as given, else this machine's.

    Of the places of single data sets those that are there too.
    """
    own = Places.find()
    named = {name: path for name, path in places.named.items() if path.exists()}
    return Places(places.data if places.data.is_dir() else own.data, own.results, cache or own.cache, named)


def travelling(card: Card, places: Places) -> tuple[Card, tuple[SentFile, ...]]:
    """A card that names its weights within a folder, and the files that lie there.

    UserError for a config of mmdet, which may read others beside it.
    """
    if str(card.build).startswith("mmdet:"):
        raise UserError(
            f"model {card.name}: a config of mmdet does not travel, as it may read files beside it; run it without --on"
        )
    named = Weights(str(card.build).partition(":")[2]) if is_adapted(card) else None
    weights = card.weights[0] if card.weights else named
    if weights is None:
        return card, ()
    with blame(card):
        path, inside = files_of(card, weights, places)
    files = tuple(SentFile(str(file.relative_to(path.parent)), file_digest(file), file) for file in inside)
    return replace(card, folder=None, weights=(replace(weights, file=path.name, package=None),)), files


def _digest(index: Index) -> str:
    """Of which samples an index names, and what is asked about them."""
    return hashlib.sha256(index.ids.tobytes() + index.asked.encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    """What must be alike on both ends; of this package the sources, whose changes need not change its version."""
    package, sources = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        sources.update(path.read_bytes())
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "robustbench-ms": f"of sources {sources.hexdigest()[:8]}",
    }
