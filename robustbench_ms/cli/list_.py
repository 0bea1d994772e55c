"""rbms list: what there is."""

from __future__ import annotations

from robustbench_ms.cli.options import Json, print_json

__all__ = ["command"]


def command(as_json: Json = False) -> None:
    """List the suites, models and corruptions that are there."""
    from robustbench_ms.catalog.find import card_names, find_card, find_suite, suite_names
    from robustbench_ms.corruptions.table import COMMON, EXTRA
    from robustbench_ms.specs.conditions import conditions

    suites = [find_suite(name) for name in suite_names()]
    cards = [find_card(name) for name in card_names()]
    if as_json:
        print_json(
            {
                "suites": [{"name": s.name, "about": s.about, "cells": len(conditions(s))} for s in suites],
                "models": [
                    {"name": c.name, "about": c.about, "tasks": c.tasks, "untrained": c.untrained}
                    for c in cards
                ],
                "corruptions": {"common": COMMON, "extra": EXTRA},
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
