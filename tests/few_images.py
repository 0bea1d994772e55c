"""Losses of exactly what is tolerated that sit on few images, and others: how often does a bound let them pass or fail?

The tables of results/gate-simulation.md below the gate's own, see `tests.gate_simulation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from robustbench_ms.records.record import read_record
from robustbench_ms.reports.markdown import grid
from robustbench_ms.statistics.bounded import bounded, of_counts
from tests.records import CORRUPTED

RECORDS = Path(__file__).parent.parent / "results" / "cifar10-c"
ALPHA, DRAWS = 0.05, 2000
SIZES = (597, 2000, 10_000)


@dataclass(frozen=True)
class Population:
    """What the images of a suite are drawn from: losses whose mean is `loss`."""

    about: str
    n: int
    loss: float
    draw: Callable[[np.random.Generator], np.ndarray]
    """The losses of n images."""
    end: float | None = 1.0
    """No image can lose more; None where nobody knows, as of a score."""


def few(k, n):
    """k of n images lose all of their 75 cells, 60 of n change in one cell either way; in expectation."""
    shares = [k / n, 30 / n, 30 / n, 1 - (k + 60) / n]

    def draw(random):
        return np.repeat([1.0, 1 / 75, -1 / 75, 0.0], random.multinomial(n, shares))

    return Population(f"{k} image{'s' * (k > 1)}", n, k / n, draw)


def cell(expected, n):
    """One cell, of whose n answers so many turn wrong in expectation and none right."""
    return Population(
        f"{expected} expected",
        n,
        expected / n,
        lambda random: np.arange(n) < random.binomial(n, expected / n),
    )


def clean(n, tolerance):
    """One cell with a tenth of its answers changed and a loss of just what a suite tolerates."""
    shares = [0.05 + tolerance / 2, 0.05 - tolerance / 2, 0.9]
    return Population(
        f"clean, {100 * tolerance:g} pp", n, tolerance,
        lambda random: np.repeat([1.0, -1.0, 0.0], random.multinomial(n, shares)),
    )  # fmt: skip


def real(n, what="correct"):
    """Images drawn again from what ResNet-20 loses against ResNet-32, its two committed records."""
    one, other = (read_record(RECORDS / f"{name}.json").samples() for name in ("resnet32", "resnet20"))
    if what == "correct":
        losses = np.mean([one.row(key).astype(float) - other.row(key) for key in CORRUPTED], axis=0)
    else:
        losses = other.scores[what].astype(float) - one.scores[what].astype(float)
    end = {"correct": 1.0, "brier_clean": 2.0, "brier_corrupted": 2.0}.get(what)
    about = (
        "accuracy" if what == "correct" else what.replace("_", " ").replace("nll", "NLL").replace("b", "B", 1)
    )
    return Population(about, n, float(losses.mean()), lambda random: random.choice(losses, n), end)


def outlying(k, n):
    """k of n images lose 10 nats in expectation, the others hardly anything."""

    def draw(random):
        losses = random.normal(0, 0.1, n)
        losses[: random.binomial(n, k / n)] = 10.0
        return losses

    return Population(f"{k} image{'s' * (k > 1)} of 10 nats", n, 10 * k / n, draw, None)


def shares(population, draws):
    """How often a loss of exactly the tolerance passes, fails, and passes Student's t, at alpha each."""
    random = np.random.default_rng([population.n, round(1e6 * abs(population.loss))])
    count = np.zeros(3)
    for _ in range(draws):
        losses = np.asarray(population.draw(random), dtype=float)
        end = population.end or 2 * np.abs(losses).max()
        found = bounded(losses, -end, end, supposed=population.end is None)
        spread = losses.std(ddof=1) / population.n**0.5
        t = (losses.mean() - population.loss) / spread if spread else -np.inf
        count += [
            found.p_below(population.loss) <= ALPHA,
            found.p_above(population.loss) <= ALPHA,
            stats.t.cdf(t, population.n - 1) <= ALPHA,
        ]
    return count / draws


FEW = [few(k, n) for n in SIZES for k in (1, 2, 3, 5, 10, 20, 50)]
CELLS = [cell(e, n) for n in (597, 10_000) for e in (1, 2, 3, 5, 10, 20, 30)]
CLEAN = [clean(597, 0.04), clean(10_000, 0.01)]
OUTLYING = [outlying(k, 597) for k in (1, 2, 3)]


def pairs():
    """Of two real networks, and scores."""
    return [
        real(n, what)
        for what in ("correct", "nll_clean", "nll_corrupted", "brier_clean", "brier_corrupted")
        for n in (597, 2000)
    ]


def cells(row, draws):
    """A line of a table."""
    told = (f"{100 * share:.1f} %" for share in shares(row, draws))
    return [row.about, f"{row.n:,}", f"{row.loss:.5f}", *told]


def table(rows, draws=DRAWS):
    """A line each."""
    head = ["losses", "images", "true loss", "passes", "fails", "passes Student's t"]
    return "\n".join(grid([head, *(cells(row, draws) for row in rows)], left={0}))


def tolerated(n, cells=96, changed=0.1, draws=1000):
    """The largest upper bound over the cells of a model as good as its reference, in 95 of 100 draws."""
    random, found, kept = np.random.default_rng(n), [], {}
    for _ in range(draws):
        moved = random.binomial(n, changed, cells)
        better = random.binomial(moved, 0.5)
        worst = np.argsort(2 * better - moved)[:6]
        for i in worst:
            pair = int(moved[i] - better[i]), int(better[i])
            if pair not in kept:
                kept[pair] = of_counts(*pair, n).upper(ALPHA)
        found.append(max(kept[int(moved[i] - better[i]), int(better[i])] for i in worst))
    return float(np.quantile(found, 0.95))


def sections():
    """The page's part: headings with what stands under them."""
    few_rows = table(FEW)
    return [
        "## A loss that sits on few images",
        (
            "So many images lose all of their 75 cells in expectation, beside 60 images that change in one cell "
            "either way, and the tolerance is just that loss: no more than 5 % may pass. Student's t, which knows "
            f"only the images that it saw, lets many in. {DRAWS:,} draws a row."
        ),
        few_rows,
        "## One cell, and clean accuracy at the suites' tolerances",
        "So many answers of a cell turn wrong in expectation and none right; then a tenth of the answers changed.",
        table([*CELLS, *CLEAN]),
        "## Two real networks, and scores",
        "Images drawn again from what ResNet-20 loses against ResNet-32, of `results/cifar10-c`.",
        table(pairs(), DRAWS // 4),
        "## What cannot be seen",
        (
            "A negative log-likelihood has no largest value, so that its bound supposes that no image loses more than "
            "twice the largest loss seen, and says so. Rare images that lose 10 nats where others lose nothing pass "
            "more often than 5 %:"
        ),
        table(OUTLYING),
        "## Any cell, on fewer images",
        (
            "The largest upper bound of 96 cells in 95 % of draws of a model that is as good as its reference and "
            "answers a tenth otherwise: what a suite's own `any:` rule tolerates with `--limit`, rounded up."
        ),
    ]
