"""A fixture for the tests of a project that ships a model; loaded by pytest, so nothing heavy is imported before use.

def test_no_regression(rbms_gate):
    rbms_gate("quick", model=build, against="results/quick/reference/mine.json")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from robustbench_ms.gating.judge import Judgement

__all__ = ["rbms_gate"]


@pytest.fixture
def rbms_gate(request: pytest.FixtureRequest) -> Callable[..., list[Judgement]]:
    """A function that measures a model on a suite, judges it against a reference, and fails the test if it lost.

    `rbms_gate(suite, model, *, against=None, rules=None, alpha=0.05, lenient=False, name=None, limit=None, seed=None,
    device=None, batch_size=None, data=None, results=None, cache=None)` returns a Judgement for each of the
    model's seeds.

    `suite` is a name or a TOML file. `model` is a spelling ("mypkg.nets:build"), a card, a module, a function without
    arguments that builds one, or a callable that answers batches. `against` is a record, a folder of records or
    "git:REF"; None takes what `rbms accept` accepted. `rules` are texts as "clean_accuracy=0.5pp"; None takes the
    suite's own. `name` is the model's name, under which a folder is searched. What the model wants to be shown is said
    by its card, as `robustbench_ms.register` makes one. Relative paths start at pytest's root folder. Each rule becomes
    a property of the test in a JUnit report.
    """
    root = request.config.rootpath

    def gate(
        suite: Any,
        model: Any,
        *,
        against: str | Path | None = None,
        rules: Sequence[str] | None = None,
        alpha: float = 0.05,
        lenient: bool = False,
        name: str | None = None,
        limit: int | None = None,
        seed: int | None = None,
        device: str | None = None,
        batch_size: int | None = None,
        data: str | Path | None = None,
        results: str | Path | None = None,
        cache: str | Path | None = None,
    ) -> list[Judgement]:
        __tracebackhide__ = True
        from dataclasses import replace

        from robustbench_ms.api import as_card, modes_kept
        from robustbench_ms.catalog.find import find_suite
        from robustbench_ms.gating.run import gate_models
        from robustbench_ms.reports.verdicts import judged_markdown
        from robustbench_ms.specs.places import Places
        from robustbench_ms.specs.settings import Settings
        from robustbench_ms.specs.suite import Suite

        if isinstance(rules, str):
            rules = [rules]  # one alone is meant, not its characters
        card = as_card(model)
        card = card if name is None else replace(card, name=name)
        chosen = suite if isinstance(suite, Suite) else find_suite(_spelling(suite, root))
        with modes_kept([card]):
            judged = gate_models(
                chosen.limited(limit, seed),
                [card],
                None if against is None else _against(against, root),
                Places.find(*(None if place is None else root / place for place in (data, results, cache))),
                rules=tuple(rules or ()),
                alpha=alpha,
                settings=Settings(device, batch_size),
            )
        for one in judged:
            for verdict in one.verdicts:
                told = (f"{one.name} {verdict.rule}", f"{verdict.state}: {verdict.reason}")
                request.node.user_properties.append(told)
        if not all(one.passed(lenient=lenient) for one in judged):
            pytest.fail(judged_markdown(judged), pytrace=False)
        return judged

    return gate


def _against(text: str | Path, root: Path) -> str:
    return str(text) if str(text).startswith("git:") else str(root / text)


def _spelling(suite: Any, root: Path) -> str:
    return str(root / suite) if str(suite).endswith(".toml") else str(suite)
