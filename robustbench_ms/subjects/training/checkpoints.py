"""What a stopped training goes on from: one folder for a card, its recipe and a seed, held by one process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.training.recipe import asked, short_digest

__all__ = ["Busy", "Checkpoint", "training_folder"]


class Busy(UserError):
    """Another process trains this card by this recipe with this seed."""


def training_folder(card: Card, seed: int, places: Places) -> Path:
    """<cache>/training/<card>-<digest of what is asked>-<seed>; no clean-up of the cache takes it."""
    return places.cache / "training" / f"{card.file_name}-{short_digest(asked(card, seed))}-{seed}"


class Checkpoint:
    """The state after the last whole epoch."""

    def __init__(self, folder: Path, told: dict[str, Any]) -> None:
        self.folder = folder
        self.path = folder / "checkpoint.pt"
        self._told = told

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The folder for this process alone; Busy says who has it. The kernel frees what a dead process held."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+") as lock:
            try:
                fcntl.flock(
                    lock, fcntl.LOCK_EX | fcntl.LOCK_NB
                )  # not lockf, which lets this process in twice
            except OSError as error:
                lock.seek(0)
                raise Busy(
                    f"card {self._told['card']}, seed {self._told['seed']} is being trained by process "
                    f"{lock.read().strip() or 'of unknown number'} in {self.folder}"
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state in place of the one before it; where it cannot be written, the one before stays."""
        try:
            with replacing(self.path) as part:
                torch.save({"told": json.dumps(self._told, sort_keys=True), **state}, part)
        except (OSError, RuntimeError) as error:  # torch's own writer says a full disk as a RuntimeError
            kept = "; the one before it is kept" if self.path.exists() else ""
            raise UserError(
                f"the checkpoint {self.path} could not be written ({str(error).splitlines()[0]}){kept}"
            ) from error

    def load(self) -> dict[str, Any] | None:
        """The state that was kept; None without one, UserError where it is of another card, recipe or seed."""
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            found = json.loads(state["told"])
        except Exception as error:  # torch raises a dozen kinds for damaged files
            raise BadFile(
                f"the checkpoint {self.path} is damaged; delete it to train from the start"
            ) from error
        if found != self._told:
            keys = [k for k in self._told if found.get(k) != self._told[k]]
            raise UserError(
                f"the checkpoint {self.path} is of card {found.get('card')}, seed {found.get('seed')}, and not of "
                f"card {self._told['card']}, seed {self._told['seed']} (they differ in {', '.join(keys)}); move it away"
            )
        return state

    def remove(self) -> None:
        """Forget a training that is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)
