"""A run's cells in turns with a model's bare calls on the same pictures, in this process's CPU seconds.

So other processes disturb little, whatever they do to the wall clock.
"""

from __future__ import annotations

import time

import torch

from robustbench_ms.catalog.registry import index_of, task_of
from robustbench_ms.evaluation.events import CellDone
from robustbench_ms.evaluation.jobs import fitting_batch
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.conditions import CLEAN
from robustbench_ms.specs.settings import Settings
from robustbench_ms.subjects.identity import exact_arithmetic
from robustbench_ms.subjects.loading import load_model


def ready(suite, card, places, wants=None):
    """A model on the CPU, and the clean batches in memory that a run would show it, with what the task or one wants."""
    where = torch.device("cpu")
    index = index_of(suite.source(wants or task_of(suite).wants), places, CLEAN)
    data = index.open(suite.canvas)
    model = load_model(card, index, device=where, places=places, canvas=suite.canvas)
    layout = data.facts.layout
    size = fitting_batch(layout, where) * layout.values  # as a run helps them out
    return model, [data.load(rows, where) for rows in data.batches(size)]


def whole_calls(suite, card, places):
    """A function that asks a model of its own about every picture, each batch ready in memory, and keeps nothing."""
    task = task_of(suite)
    model, batches = ready(suite, card, places)

    def asked():
        with exact_arithmetic():
            for batch in batches:
                task.ask(model, batch)

    return asked


def in_turns(suite, card, places, asked):
    """{cell: its seconds} and the seconds of the bare calls that followed each, and what was done once a run.

    That is loading, the probe, digests and decoding, which fall to the first cell.
    """
    cells, calls = {}, []
    begin = time.process_time()
    for event in run(suite, [card], places, Settings("cpu", threads=1)):
        if isinstance(event, CellDone):
            cells[event.key] = time.process_time() - begin
            begin = time.process_time()
            asked()
            calls.append(time.process_time() - begin)
            begin = time.process_time()
    once = cells.pop("clean") - calls.pop(0)
    return cells, calls, once


def together_in_turns(benchmark, suite, cards, places, calls):
    """(cells, their seconds, those of the bare calls after each, and the first condition's): all cards in one run.

    `calls` are {card: a function}. What is done once falls to the first condition, which neither sum counts.
    """
    for call in calls.values():
        call()
    spent, bare = [], []

    def clocked():
        begin = time.process_time()
        for event in run(suite, cards, places, Settings("cpu", threads=1)):
            if isinstance(event, CellDone):
                spent.append(time.process_time() - begin)
                begin = time.process_time()
                calls[event.card.partition("@")[0]]()
                bare.append(time.process_time() - begin)
                begin = time.process_time()

    benchmark.pedantic(clocked, rounds=1, iterations=1)
    first = len(cards)
    return len(spent) - first, sum(spent[first:]), sum(bare[first:]), sum(spent[:first])
