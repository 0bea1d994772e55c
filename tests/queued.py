"""An executor of another kind: jobs come out of a queue, questions go to the parent, and so do cells, as bytes."""

from __future__ import annotations

import pickle
import queue
import threading

from robustbench_ms.evaluation.store import CacheStore
from robustbench_ms.evaluation.work import work

HANDED_OUT = []
"""The jobs that workers took, for the tests."""


class Remote:
    """A store that asks the parent for everything; what is said goes through pickle, as between hosts."""

    def __init__(self, questions):
        self._questions = questions

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def ask(*words, **named):
            answers = queue.Queue()
            self._questions.put((name, pickle.dumps((words, named)), answers))
            return pickle.loads(answers.get())

        return ask


def execute(run):
    store, questions, events = CacheStore(run.cells, run.claims), queue.Queue(), queue.Queue()
    jobs = queue.Queue()
    for job in run.jobs:
        jobs.put(job)

    def taken():
        while not jobs.empty():
            job = jobs.get()
            HANDED_OUT.append(job)
            yield job

    def worker():
        try:
            for event in work(run.shown, run.cards, taken(), Remote(questions), run.settings):
                events.put(event)
        finally:
            questions.put(None)

    thread = threading.Thread(target=worker)
    thread.start()
    while (asked := questions.get()) is not None:
        name, said, answers = asked
        words, named = pickle.loads(said)
        answers.put(pickle.dumps(getattr(store, name)(*words, **named)))
        while not events.empty():
            yield events.get()
    thread.join()
    while not events.empty():
        yield events.get()
    return store
