"""Several cards with several seeds: in rounds, one seed of every card before the next, and into the cards' files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.cards import read_card
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.training.checkpoints import Busy
from robustbench_ms.subjects.training.loop import Epoch, Progress, train
from robustbench_ms.subjects.training.recipe import as_told, read_recipe
from robustbench_ms.subjects.weights import file_digest, told_of

__all__ = ["Finished", "Left", "rounds", "write_weights"]


@dataclass(frozen=True)
class Finished:
    """A network whose weights are there."""

    card: str
    seed: int
    file: Path
    sha256: str
    trained: bool
    """False where the file was there before, of this very recipe and seed."""


@dataclass(frozen=True)
class Left:
    """A network that was not trained, and why; the others were."""

    card: str
    seed: int
    reason: str
    busy: bool
    """Another process has it."""


def rounds(
    cards: Sequence[Card],
    seeds: Sequence[int],
    folder: Path,
    places: Places,
    *,
    device: str | None = None,
    progress: Progress | None = None,
) -> Iterator[Epoch | Finished | Left]:
    """Train every card with every seed into folder/CARD-SEED.safetensors: all cards with the first seed, and so on.

    What is there already is not trained again, and what another process trains is left to it, so the same
    call in several processes shares the work. One network's fault (a loss that is not finite) leaves the others to
    be trained. UserError for all that can be known before: names, recipes, a file of another recipe in the way.
    """
    given = [f"card {card.file_name}" for card in cards] + [f"seed {seed}" for seed in seeds]
    if twice := [word for word in given if given.count(word) > 1]:
        raise UserError(f"the {twice[0]} is given twice")
    todo = [(seed, card, folder / f"{card.file_name}-{seed}.safetensors") for seed in seeds for card in cards]
    for seed, card, path in todo:
        _finished(card, seed, path)
    for seed, card, path in todo:
        trained = not _finished(card, seed, path)
        if trained:
            try:
                yield from train(card, path, places, seed=seed, device=device, progress=progress)
            except UserError as error:
                yield Left(card.name, seed, str(error), isinstance(error, Busy))
                continue
        yield Finished(card.name, seed, path, file_digest(path), trained)


def _finished(card: Card, seed: int, path: Path) -> bool:
    """Whether the weights are there; UserError where the file is another's."""
    wanted: dict[str, Any] = {"card": card.name, "seed": seed, "recipe": _plain(as_told(read_recipe(card)))}
    if not path.exists():
        return False
    told = told_of(path)
    found = told.get("training", told)  # the first files have the three beside each other
    if found == wanted:
        return True
    if not isinstance(found, dict) or not set(wanted) <= set(found):
        raise UserError(f"{path} is there and does not say how it was trained; move it away")
    keys = [key for key in wanted if found.get(key) != wanted[key]]
    if keys == ["recipe"]:
        old, new = found["recipe"], wanted["recipe"]
        keys = [f"recipe {key}" for key in {**old, **new} if old.get(key) != new.get(key)]
    raise UserError(
        f"{path} is of card {found.get('card')}, seed {found.get('seed')}, and differs from what is to be trained "
        f"(card {card.name}, seed {seed}) in {', '.join(keys)}; move it away"
    )


def _plain(told: dict[str, object]) -> dict[str, object]:
    """As JSON gives it back."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}


def write_weights(card: Card, seed: int, path: Path, sha256: str) -> Path:
    """Put a [[weights]] table for one seed into a card's TOML file, in place of that seed's old one; the file.

    Everything else in the file stays as it is, but for `untrained = true`. UserError where the card has no file of
    its own or the weights do not lie under its folder.
    """
    if card.folder is None:
        raise UserError(f"card {card.name} has no TOML file to write its weights into")
    home, weights = card.folder.resolve(), path.resolve()
    if not weights.is_relative_to(home):
        raise UserError(
            f"card {card.name}: a card names weights beside it, and {path} does not lie under {card.folder}; "
            f"give -o {card.folder / 'weights'}"
        )
    file = home / f"{card.name.partition('@')[0]}.toml"
    table = (
        f'[[weights]]\nseed = {seed}\nfile = "{weights.relative_to(home).as_posix()}"\nsha256 = "{sha256}"\n'
    )
    text = re.sub(r"(?m)^untrained\s*=.*\n", "", file.read_text(encoding="utf-8"))
    blocks = re.split(r"(?m)^(?=\[)", text)
    mine = [
        i
        for i, b in enumerate(blocks)
        if b.startswith("[[weights]]") and re.search(rf"(?m)^seed\s*=\s*{seed}\s*$", b)
    ]
    if mine:
        blocks[mine[0]] = table + "\n" * (len(blocks[mine[0]]) - len(blocks[mine[0]].rstrip("\n")) - 1)
    else:
        last = [i for i, b in enumerate(blocks) if b.startswith("[[weights]]")]
        at = last[-1] + 1 if last else len(blocks)
        blocks[at - 1] = blocks[at - 1].rstrip("\n") + "\n\n"
        blocks.insert(at, table + ("\n" if at < len(blocks) else ""))
    with replacing(file) as part:
        part.write_text("".join(blocks), encoding="utf-8")
        try:
            read_card(part)
        except UserError as error:
            raise BadFile(
                f"{file} would be no card with these weights ({error}); it is left as it was"
            ) from error
    return file
