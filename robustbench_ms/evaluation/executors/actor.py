"""A worker that only answers calls: its loop runs in a thread, and what it has to ask is in what a call returns."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.evaluation.cells import FinishedCell
from robustbench_ms.evaluation.executors.sending import SentFile, here, opened, placed, places_here, unpacked
from robustbench_ms.evaluation.jobs import Job
from robustbench_ms.evaluation.store import Store
from robustbench_ms.evaluation.work import work
from robustbench_ms.files import probe
from robustbench_ms.specs.settings import Settings

__all__ = ["Actor"]

HELPING = 0.2
"""Seconds for which events gather that nobody waits for."""


class Actor:
    """One worker; `talk` is all that the parent calls."""

    def __init__(self, sent: bytes, files: Mapping[str, Sequence[Any]], settings: Settings) -> None:
        self._said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._live, args=(sent, files, settings), daemon=True).start()

    def talk(self, answer: bytes | None) -> bytes:
        """Give the answer to its last question, a pickled tuple of one; what it says until the next, [(kind, what)].

        Kinds are event, ready (its host), ask (name, words, named), refused (host, why), broken (traceback) and done.
        """
        if answer is not None:
            self._answers.put(answer)
        said = [self._said.get()]
        until = time.monotonic() + HELPING
        while said[-1][0] in {"event", "ready"} and (left := until - time.monotonic()) > 0:
            try:
                said.append(self._said.get(timeout=left))
            except queue.Empty:
                break
        return pickle.dumps(said)

    def ask(self, name: str, *words: Any, **named: Any) -> Any:
        """Ask the parent; called by the loop's thread."""
        self._said.put(("ask", (name, words, named)))
        (answer,) = pickle.loads(self._answers.get())  # noqa: S301 - made by the parent
        return answer

    def _live(self, sent: bytes, files: Mapping[str, Sequence[Any]], settings: Settings) -> None:
        try:
            order = replace(unpacked(sent), settings=settings)
            places = places_here(order.places)
            shown = opened(order, places)
            root = places.cache / "sent"
            try:
                root.mkdir(parents=True, exist_ok=True)
                probe(root)
            except OSError:
                root = Path(tempfile.mkdtemp(prefix="rbms-sent-"))
            cards = placed(order, root, lambda file: _fetched(files, file))
            self._said.put(("ready", here()))
            # A stranger's class stands for the store: it has its methods by asking for each.
            store = cast("Store", _Remote(self, places.cache / "truths"))
            for event in work(shown, cards, self._jobs(), store, order.settings):
                self._said.put(("event", event))
        except UserError as error:
            self._said.put(("refused", (here(), str(error))))
        except DeviceLost:
            os.kill(os.getpid(), signal.SIGKILL)  # the parent has another start
        except BaseException:  # noqa: BLE001 - a thread's end is seen by nobody
            self._said.put(("broken", traceback.format_exc()))
        else:
            self._said.put(("done", None))

    def _jobs(self) -> Iterator[Job]:
        while (job := self.ask("take")) is not None:
            yield job


class _Remote:
    """The store of a worker, which asks the parent's."""

    def __init__(self, actor: Actor, truths: Path) -> None:
        self._actor, self._truths = actor, truths
        self._home: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *words, **named: self._actor.ask(name, *words, **named)

    def keep(self, protocol: str, subject: str, cell: FinishedCell) -> None:
        """What is true of the data goes home before the first cell that is measured by it."""
        for path in self._truths.glob("*.npz"):
            if path.name not in self._home and path.name.startswith(str(cell.question.get("data"))[:32]):
                self._home.add(path.name)
                if self._actor.ask("lacks_truth", path.name):
                    self._actor.ask("keep_truth", path.name, path.read_bytes())
        self._actor.ask("keep", protocol, subject, cell)


def _fetched(files: Mapping[str, Sequence[Any]], file: SentFile) -> bytes:
    import ray

    content: bytes = ray.get(files[file.sha256][0])
    return content
