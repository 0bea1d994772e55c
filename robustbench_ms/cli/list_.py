"""rbms list: what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from robustbench_ms.cli.options import Json, print_json
from robustbench_ms.errors import UserError

__all__ = ["command"]

T = TypeVar("T")


def command(as_json: Json = False) -> None:
    """List the suites, models and corruptions that are there."""
    from robustbench_ms.catalog.find import card_names, find_card, find_suite, suite_names
    from robustbench_ms.contracts.announced import refusals, rows
    from robustbench_ms.corruptions.table import COMMON, EXTRA
    from robustbench_ms.specs.conditions import conditions

    unread: list[str] = []
    suites = list(_read(find_suite, suite_names(), unread))
    cards = list(_read(find_card, card_names(), unread))
    announced = rows()
    added = [row for row in announced if not row.fault]
    refused = [*unread, *(told for sentences in refusals(announced).values() for told in sentences)]
    if as_json:
        print_json(
            {
                "suites": [{"name": s.name, "about": s.about, "cells": len(conditions(s))} for s in suites],
                "models": [
                    {"name": c.name, "about": c.about, "tasks": c.tasks, "untrained": c.untrained}
                    for c in cards
                ],
                "corruptions": {"common": COMMON, "extra": EXTRA},
                "packages": [
                    {"package": row.distribution, "table": row.group, "name": row.name} for row in added
                ],
                "refused": refused,
            }
        )
        return
    width = max(len(name) for name in [*suite_names(), *card_names()])
    print("Suites (rbms show NAME, rbms run NAME -m MODEL)")
    for suite in suites:
        print(f"  {suite.name:{width}}  {len(conditions(suite)):3} cells  {suite.about}")
    for title, untrained in (("Models", False), ("Models to train, or for their costs alone", True)):
        print(title)
        for card in cards:
            if card.untrained == untrained:
                print(f"  {card.name:{width}}  {card.about.removesuffix(', untrained')}")
    print(f"Corruptions\n  common  {', '.join(COMMON)}\n  extra   {', '.join(EXTRA)}")
    if added:
        print("From installed packages")
    for row in added:
        print(f"  {row.name:{width}}  {row.group}, of {row.distribution}")
    if refused:
        print("Not used (rbms check PACKAGE says more)")
    for told in refused:
        print(f"  {told}")


def _read(find: Callable[[str], T], names: Iterable[str], unread: list[str]) -> Iterator[T]:
    """Those that can be read; why the others cannot goes to `unread`: a package's harms nobody."""
    for name in names:
        try:
            yield find(name)
        except UserError as error:
            unread.append(str(error))
