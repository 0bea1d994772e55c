"""A run's jobs on many workers, event by event: by a queue of the parent's, and by claims on a shared cache.

Times are seconds. What many workers need at once (the parent; the file of locks) is one server, which takes them in the
order in which they come; the rest goes on side by side. Starting a worker and loading its models is left out.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

PAUSE, LONGEST = 0.1, 2.0
"""Between two looks at what others are at, at first and at last, as in evaluation.work."""


@dataclass(frozen=True)
class Costs:
    """Measured ones."""

    question: float
    """The parent's, of one that a worker asks."""
    home: float
    """The parent's, of one finished cell: read, checked and written."""
    lock: float
    """Of one lock and its release, at whatever keeps them."""
    look: float
    """Of reading a finished cell."""
    trip: float = 0.0
    """Of a lock on its way there and back, during which others are served."""


@dataclass(frozen=True)
class Found:
    """What became of a run."""

    seconds: float
    """Until the last worker ended."""
    busy: float
    """The share of them that the server was busy."""


class _Server:
    def __init__(self):
        self.free = self.worked = 0.0

    def serve(self, at, cost):
        self.free = max(at, self.free) + cost
        self.worked += cost
        return self.free


def drawn(count, mean, seed=0):
    """Lengths of jobs: lognormal (sigma 0.75) of that mean, as suites mix cheap conditions and dear ones."""
    draw = random.Random(seed)
    lengths = [draw.lognormvariate(0, 0.75) for _ in range(count)]
    return [length * mean * count / sum(lengths) for length in lengths]


def ideal(lengths, workers):
    """Taken in turn, at no cost."""
    free = [0.0] * workers
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + length)
    return max(free)


def queue(lengths, workers, cards, costs):
    """A job costs the parent 2 `cards` + 4 questions, and a cell home for each card."""
    parent, last = _Server(), 0.0
    before, after = (3 + cards) * costs.question, (1 + cards) * costs.question + cards * costs.home
    left = iter(lengths)
    events = [(0.0, worker, None) for worker in range(workers)]
    while events:
        at, worker, working = heapq.heappop(events)
        if working is not None:  # it has answered the job, and sends its cells
            heapq.heappush(events, (parent.serve(at, after), worker, None))
        elif (length := next(left, None)) is not None:
            heapq.heappush(events, (parent.serve(at, before) + length, worker, length))
        else:
            last = max(last, parent.serve(at, costs.question))
    return Found(last, parent.worked / last)


def claims(lengths, workers, cards, costs, longest=LONGEST):
    """Each worker goes through all jobs from i n/k on, and looks again at those that others are at.

    Its pauses double up to `longest`.
    """
    locks, last, count = _Server(), 0.0, len(lengths)
    ends = [None] * count
    events = []
    for worker in range(workers):
        start = worker * count // workers
        todo = [*range(start, count), *range(start)][::-1]
        events.append((0.0, worker, todo, [], PAUSE))
    heapq.heapify(events)
    while events:
        at, worker, todo, later, pause = heapq.heappop(events)
        if todo:
            job = todo.pop()
            at = locks.serve(at, cards * costs.lock) + cards * costs.trip
            if ends[job] is None:
                at += lengths[job]
                ends[job] = at
            elif ends[job] <= at:
                at += cards * costs.look
            else:
                later.append(job)
            heapq.heappush(events, (at, worker, todo, later, pause))
        elif later:
            looks = len(later) * cards
            at = locks.serve(at, looks * costs.lock) + looks * costs.trip
            still = [job for job in later if ends[job] > at]
            at += (len(later) - len(still)) * cards * costs.look + (pause if still else 0)
            heapq.heappush(events, (at, worker, todo, still, min(2 * pause, longest)))
        else:
            last = max(last, at)
    return Found(last, locks.worked / last)
