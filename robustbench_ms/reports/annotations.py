"""Verdicts of a gate as annotations of a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_ms.gating.judge import Judgement
from robustbench_ms.reports.markdown import printable

__all__ = ["annotation_lines"]


def annotation_lines(judged: Sequence[Judgement], *, lenient: bool) -> list[str]:
    """GitHub's workflow commands, one a rule that did not pass, and one notice where all passed."""
    lines = []
    for one in judged:
        for v in one.verdicts:
            if v.state != "pass":
                mild = v not in one.deciding or (lenient and v.state == "unsure")
                title = _property(f"rbms gate: {v.rule} {v.state}")
                lines.append(
                    f"::{'warning' if mild else 'error'} title={title}::{_data(f'{one.name}: {v.reason}')}"
                )
        if one.state == "pass":
            count = sum(not v.rule.warn for v in one.verdicts)
            told = "; ".join([f"{one.name}: {count} rules hold against {one.against}", *one.relation])
            lines.append(f"::notice title=rbms gate::{_data(told)}")
    return lines


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
