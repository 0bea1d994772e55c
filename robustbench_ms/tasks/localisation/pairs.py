"""Which class of a network each class of the data is, where the two have other classes: a list beside the suite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustbench_ms.datasets.orders import imagenet_ids
from robustbench_ms.errors import BadFile, UserError, suggest

__all__ = ["Pairs", "read_pairs"]


@dataclass(frozen=True)
class Pairs:
    """Classes of the data that are one of ImageNet's 1,000 each."""

    path: Path
    wnids: Mapping[str, str]
    """The WordNet id of each, by the name that the data have for it."""

    @property
    def told(self) -> str:
        """Them in a protocol: how many, and which."""
        which = hashlib.sha256(repr(sorted(self.wnids.items())).encode()).hexdigest()[:16]
        return f"{len(self.wnids)} classes of ImageNet, {which}"

    def known(self, names: Sequence[str]) -> dict[int, int]:
        """The class of ImageNet of each class of the data that has one; BadFile where they have no such name."""
        order = {wnid: i for i, wnid in enumerate(imagenet_ids())}
        for name in self.wnids:
            if name not in names:
                raise BadFile(f"{self.path}: {name!r} is no class of the data set{suggest(name, names)}")
        return {names.index(name): order[wnid] for name, wnid in self.wnids.items()}


def read_pairs(name: str, folder: Path | None) -> Pairs:
    """Lines of a WordNet id and, after a space, a class of the data; each of both once. BadFile names a line."""
    path = (folder or Path()) / name
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: the list of classes cannot be read ({error})") from error
    known = {*imagenet_ids()}
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        wnid, _, word = line.strip().partition(" ")
        if not wnid:
            continue
        place = f"{path}: line {number}"
        if not word.strip():
            raise BadFile(f"{place} must be a WordNet id and a class of the data, not {line.strip()!r}")
        if wnid not in known:
            raise BadFile(f"{place}: {wnid!r} is none of ImageNet's 1,000 WordNet ids{suggest(wnid, known)}")
        if word.strip() in found or wnid in found.values():
            raise BadFile(f"{place} has {word.strip()!r} or {wnid} a second time")
        found[word.strip()] = wnid
    if not found:
        raise UserError(f"{path} names no class")
    return Pairs(path, found)
