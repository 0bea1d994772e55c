"""An offer's files downloaded, checked and unpacked into what its data set reads: whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.fetching.download import Tell, check_digest_of, download, size_at
from robustbench_ms.fetching.offers import Offer, Remote, known_of
from robustbench_ms.fetching.unpack import is_archive, unpack
from robustbench_ms.files import lock
from robustbench_ms.specs.places import Places

__all__ = ["Wanted", "fetch", "wanted"]

DOWNLOADS = "downloads"
"""The folder in the data folder that has one an offer, where what is downloaded lies until all of it has its place."""


@dataclass(frozen=True)
class Wanted:
    """What an offer would bring here."""

    offer: Offer
    folder: Path
    files: tuple[Remote, ...]
    """Those that are not there yet."""
    given: dict[str, Path]
    """Files that were got by hand, by their published names."""

    @property
    def bytes(self) -> int | None:
        """Bytes to download; None where a server did not say."""
        sizes = [one.bytes for one in self.files if one.file not in self.given]
        return None if None in sizes else sum(size or 0 for size in sizes)


def wanted(offer: Offer, places: Places, given: Sequence[Path] = ()) -> Wanted:
    """What is missing of an offer; sizes that the table does not say are asked of the servers.

    UserError where what is got by hand was not given, or a given file is none of the offer's.
    """
    folder = places.data / offer.into
    files = [known_of(one) for one in offer.files]
    hand: dict[str, Path] = {}
    for path in given:
        if path.name not in {one.file for one in files}:
            names = ", ".join(one.file for one in files)
            raise UserError(f"--from {path}: {offer.name} has no file of that name; it has {names}")
        if not path.is_file():
            raise BadFile(f"--from {path}: there is no such file")
        hand[path.name] = path.absolute()
    missing = [one for one in files if not _there(one, folder)]
    closed = [one for one in missing if not one.url and one.file not in hand]
    if [one for one in closed if not one.labels] or (closed and not hand):
        names = " and ".join(one.file for one in closed)
        raise UserError(
            f"{offer.name} {offer.why}: get {names} at {offer.by_hand} and give each with --from FILE"
        )
    asked = [
        replace(one, bytes=size_at(one.url)) if one.bytes is None and one.file not in hand else one
        for one in missing
        if one not in closed
    ]
    return Wanted(offer, folder, tuple(asked), hand)


def _there(remote: Remote, folder: Path) -> bool:
    return all((folder / name).exists() for name in remote.makes) if remote.makes else folder.exists()


def fetch(what: Wanted, places: Places, tell: Tell) -> list[Path]:
    """Bring what is wanted, and return what came; what was downloaded is removed when all of it has its place.

    Files that were given stay where they are. UserError and BadFile leave nothing but whole downloads and parts.
    """
    if not what.files:
        return []
    downloads = Places.writable(places.data, "data") / DOWNLOADS
    stage = places.data / f".{what.offer.name}.unpacking"
    with _alone(downloads, what.offer.name) as folder:
        _check_room(what, places, folder)
        paths = [_got(one, what, folder, tell) for one in what.files]
        shutil.rmtree(stage, ignore_errors=True)  # of one that was killed; the lock says that nobody is at it
        try:
            came = _placed(what, paths, stage, tell)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            why = f"the disk of {places.data} is full" if full else str(error)
            raise UserError(f"{what.offer.name} has no place: {why}") from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        shutil.rmtree(folder)
        return came


@contextmanager
def _alone(downloads: Path, name: str) -> Iterator[Path]:
    """The folder of `name`'s downloads, while nobody else fetches it; UserError where somebody does."""
    folder, path = downloads / name, downloads / f".{name}.lock"
    downloads.mkdir(exist_ok=True)
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # One that was removed between the two is of somebody who has just ended, and excludes nobody.
        if lock(held) is False or not os.fstat(held).st_nlink:
            raise UserError(f"{name} is being fetched by another process")
        try:
            folder.mkdir(exist_ok=True)
            yield folder
        finally:
            with suppress(OSError):
                folder.rmdir()  # where nothing is left in it
            path.unlink(missing_ok=True)
    finally:
        os.close(held)
        with suppress(OSError):
            downloads.rmdir()


def _part(one: Remote, folder: Path) -> Path:
    """Where a download grows, and stays until it has its place; a card's file may lie in folders of its own."""
    return folder / f"{quote(one.file, safe='')}.part"


def _check_room(what: Wanted, places: Places, folder: Path) -> None:
    """UserError where the disk cannot hold what is downloaded alone; what it unpacks to, nobody says before."""
    if what.bytes is None:
        return
    parts = [_part(one, folder) for one in what.files if one.file not in what.given]
    more = what.bytes - sum(part.stat().st_size for part in parts if part.is_file())
    free = shutil.disk_usage(places.data).free
    if free < more:
        raise UserError(
            f"{places.data} has {free / 1e9:.1f} GB free, and {what.offer.name} takes {more / 1e9:.1f} GB more "
            "before it is unpacked"
        )


def _got(one: Remote, what: Wanted, folder: Path, tell: Tell) -> Path:
    """A checked file on this machine."""
    if one.file in what.given:
        path = what.given[one.file]
        check_digest_of(path, one.digest, str(path))
        return path
    part = _part(one, folder)
    download(one.url, part, tell, digest=one.digest, size=one.bytes)
    return part


def _placed(what: Wanted, paths: Sequence[Path], stage: Path, tell: Tell) -> list[Path]:
    """Unpack beside the place, look whether all is there, and rename."""
    stage.mkdir()
    for one, path in zip(what.files, paths, strict=True):
        if is_archive(one.file) and one.file not in one.makes:  # ".pth.tar" is a common name of weights
            unpack(path, stage / one.under, tell, name=one.file)
        else:
            (stage / one.file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, stage / one.file)
        if missing := [name for name in one.makes if not (stage / name).exists()]:
            raise BadFile(
                f"{one.file} has no {missing[0]}: it is not laid out as {what.offer.name} is published"
            )
    listed = [name for one in what.files for name in one.makes]
    names = listed if all(one.makes for one in what.files) else [entry.name for entry in stage.iterdir()]
    if what.offer.into and not what.folder.exists():
        what.folder.parent.mkdir(parents=True, exist_ok=True)
        stage.rename(what.folder)
    else:
        for name in names:
            (what.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).rename(what.folder / name)
    return [what.folder / name for name in names]
