"""The gate keeps its promise where the true loss is known, and the page that says so is fresh."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from tests import gate_simulation
from tests.gate_simulation import ALPHA, PAIRS, SETTINGS, TIMES, tally
from tests.simulated import KEYS, bits

QUICK = SETTINGS[0]


def shares(page):
    """{(setting, times): five shares} of the page's tables."""
    found = {}
    for setting, part in zip(SETTINGS, page.split("## ")[1:], strict=True):
        rows = [line for line in part.splitlines() if re.match(r"\| [0m2]", line)]
        for times, line in zip(TIMES, rows, strict=True):
            found[setting, times] = [float(x) / 100 for x in re.findall(r"([\d.]+) %", line)]
    return found


@pytest.fixture(scope="module")
def page():
    return gate_simulation.PAGE.read_text(encoding="utf-8")


def test_the_pages_numbers_are_those_of_this_code(page):
    """Five pairs a row are simulated again, of the smaller settings."""
    for setting in SETTINGS[:2]:
        assert gate_simulation.checks(setting) in page.splitlines()


@pytest.mark.slow
def test_the_whole_page_is_that_of_this_code(page):
    assert gate_simulation.page() == page


def test_the_page_shows_that_losses_that_are_tolerated_rarely_fail(page):
    """No more often than alpha, but for the chance of a simulation of so many pairs."""
    most = stats.binom.ppf(0.999, PAIRS, ALPHA) / PAIRS
    found = shares(page)

    assert len(found) == 12
    for (_, times), (passes, unsure, fails, fixed_passes, fixed_fails) in found.items():
        assert passes + unsure + fails == pytest.approx(1, abs=0.002)
        assert fixed_passes + fixed_fails == pytest.approx(1, abs=0.002)
        if times <= 1:
            assert fails <= most
        if times >= 1:
            assert passes <= most  # a loss of a tolerance or more gets in no more often
        if times == 1:
            assert fixed_fails > 0.3  # the fixed rule decides by luck there
    for setting in (SETTINGS[0], SETTINGS[2]):
        assert found[setting, 0.0][0] > 0.8
        assert found[setting, 2.0][2] > 0.8


def test_losses_that_are_tolerated_rarely_fail_and_double_ones_do():
    """The same, simulated here and now on 600 images."""
    at_the_margin = tally(QUICK, 1.0, range(1000, 1060))
    double = tally(QUICK, 2.0, range(1000, 1020))
    none = tally(QUICK, 0.0, range(1000, 1020))

    def count(tallied, state):
        return sum(n for (gate, _), n in tallied.items() if gate == state)

    assert count(at_the_margin, "fail") <= stats.binom.ppf(0.999, 60, ALPHA)
    assert count(at_the_margin, "pass") <= stats.binom.ppf(0.999, 60, ALPHA)
    assert count(double, "fail") > 14
    assert count(none, "pass") > 14
    assert count(none, "fail") <= stats.binom.ppf(0.999, 20, ALPHA)


def test_the_simulated_models_are_like_real_ones():
    """About a tenth of the answers change, correlated within an image, and the true loss is the one asked for."""
    one, other = bits(40_000, (0.04, 0.02), seed=1)
    changes = one.astype(np.int8) - other
    corrupted = changes[1:]
    variance, of_means, cells = corrupted.var(axis=1).mean(), corrupted.mean(axis=0).var(), len(KEYS) - 1
    correlation = (of_means / variance - 1 / cells) / (1 - 1 / cells)

    assert 0.05 < np.mean(corrupted != 0) < 0.15
    assert 0.08 < correlation < 0.2
    assert changes[0].mean() == pytest.approx(0.04, abs=5 * changes[0].std() / 200)
    assert corrupted.mean() == pytest.approx(0.02, abs=5 * corrupted.mean(axis=0).std() / 200)
