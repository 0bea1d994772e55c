"""What a question to the parent, a cell sent home and a lock cost; and 1,000 jobs on up to 512 workers by that.

    make bench FILE=tests/benchmarks/bench_clusters.py

The costs are measured here, on one machine, the least of several; the many workers are simulated
(`tests/cluster_simulation.py`). Nothing is asserted about time.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from itertools import count

import numpy as np

from robustbench_ms.evaluation.cells import FinishedCell, load_cell, save_cell
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.evaluation.executors.ray import _quietly
from robustbench_ms.tasks.outcomes import Outcomes
from tests.cluster_simulation import PAUSE, Costs, claims, drawn, ideal, queue

CARDS, JOBS, WORKERS = 3, 1000, (1, 8, 64, 512)
SHARED = {"lock": 1e-4, "trip": 1e-3}
"""Seconds of a lock on a shared file system, at its server and on the way: assumed."""
SAMPLES = 10_000


def least(action, repeat=7):
    """Seconds of the fastest of several."""
    found = []
    for _ in range(repeat):
        begin = time.perf_counter()
        action()
        found.append(time.perf_counter() - begin)
    return min(found)


class Asking:
    """An actor that asks at once again."""

    def talk(self, answer):
        return pickle.dumps([("ask", ("failed", ("card",), {}))])


def question(folder, asked=1000):
    """Seconds a question, of two actors that the parent answers in turn."""
    import ray

    with _quietly(folder / "ray.log"):
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80 * 2**20,
        )
        kind = ray.remote(num_cpus=1)(Asking)
        actors = [kind.remote() for _ in range(2)]
        ray.get([actor.talk.remote(None) for actor in actors])
        store = {}

        def turns():
            pending = {actor.talk.remote(None): actor for actor in actors}
            for _ in range(asked):
                (ref,), _ = ray.wait(list(pending), num_returns=1)
                actor = pending.pop(ref)
                for _kind, (_name, words, _named) in pickle.loads(ray.get(ref)):
                    pending[actor.talk.remote(pickle.dumps((store.get(words[0]),)))] = actor
            ray.get(list(pending))

        found = least(turns, 5) / asked
        ray.shutdown()
    return found


def measured(folder):
    """The costs here."""
    ids = np.arange(SAMPLES)
    columns = {
        "correct": ids % 2 == 0,
        "nll": np.zeros(SAMPLES, np.float32),
        "brier": np.zeros(SAMPLES, np.float32),
    }
    cell = FinishedCell({"accuracy": {"mean": 0.5, "stderr": 0.005}}, Outcomes(columns, {}), SAMPLES, {})
    sent, number, locks = pickle.dumps(cell), count(), Claims(folder)

    def home():
        save_cell(folder, f"p{next(number)}", "s", pickle.loads(sent))

    def lock():
        for _ in range(100):
            name = str(next(number))
            locks.claim("p", name)
            locks.release("p", name)

    home_seconds, lock_seconds = least(home), least(lock) / 100
    save_cell(folder, "p", "s", cell)
    look = least(lambda: load_cell(folder, "p", "s"))
    return Costs(question(folder), home_seconds, lock_seconds, look)


def bench_many_workers(benchmark, tmp_path):
    costs = benchmark.pedantic(measured, args=(tmp_path,), rounds=1, iterations=1)
    shared = replace(costs, **SHARED)
    print(f"\n{costs}, milliseconds: {[round(1000 * value, 3) for value in vars(costs).values()]}")
    for mean in (30, 3):
        lengths = drawn(JOBS, mean)
        for workers in WORKERS:
            least_of_all = ideal(lengths, workers)
            rows = [queue(lengths, workers, CARDS, costs), claims(lengths, workers, CARDS, costs)]
            rows += [
                claims(lengths, workers, CARDS, shared),
                claims(lengths, workers, CARDS, shared, longest=PAUSE),
            ]
            told = " | ".join(f"{found.seconds:,.0f} ({100 * found.busy:.0f} %)" for found in rows)
            print(f"| {mean} | {workers} | {least_of_all:,.0f} | {told} |")
