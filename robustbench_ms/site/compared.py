"""Two records as one page without a file beside it, to attach to a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.files import replacing
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.reports.comparisons import compared_json, points
from robustbench_ms.site.pages import page
from robustbench_ms.site.text import capital, shown_key

__all__ = ["compared_page", "write_compared"]


def compared_page(pair: Comparison, alpha: float) -> bytes:
    """What `rbms compare --json` says, the cells with the largest difference beyond chance first."""
    told, terms = compared_json(pair, alpha), pair.terms
    first = terms.rows.first
    metrics = [_line(pair, one) for one in told["metrics"]]
    cells = [
        {
            "cell": shown_key(one["cell"]),
            "reference": first.show(one["reference"]),
            "candidate": first.show(one["candidate"]),
            "change": points(first, one["loss"]),
            "p": _p(one["p"]),
            "apart": one["p"] <= alpha,
        }
        for one in sorted(told["cells"], key=lambda one: (one["p"] > alpha, -abs(one["loss"])))
    ]
    return page(
        "compare.html",
        title=f"{told['reference']} and {told['candidate']}",
        data=told,
        names=[told["reference"], told["candidate"]],
        confidence=f"{100 * (1 - alpha):g}",
        metric=capital(first.label),
        metrics=metrics,
        cells=cells,
        apart=sum(one["apart"] for one in cells),
        not_compared=told["not_compared"],
        untested=[f"{capital(why)}." for why in dict.fromkeys(terms.untested.values())],
    )


def write_compared(pair: Comparison, alpha: float, path: Path) -> None:
    """The page in a file; UserError where it cannot be written."""
    content = compared_page(pair, alpha)
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise UserError(f"--html: {path} cannot be written ({error.strerror})") from error


def _line(pair: Comparison, one: dict[str, Any]) -> dict[str, str]:
    """A number of both, and what the second changes, as text; "" where there is no test."""
    metric = pair.terms.rows[one["metric"]]
    ends = [one.get(name) for name in ("low", "high")]
    # A loss of more is a change for the worse: the interval's ends swap places where more is better.
    shown = ["" if end is None else points(metric, end) for end in (ends[::-1] if metric.sign > 0 else ends)]
    return {
        "label": capital(metric.label),
        "reference": metric.show(one["reference"]),
        "candidate": metric.show(one["candidate"]),
        "change": points(metric, one["loss"]) if "loss" in one else "",
        "interval": f"{shown[0].removesuffix(f' {metric.apart}')} to {shown[1]}" if all(shown) else "",
        "p": _p(one["p"]) if "p" in one else "",
        "changed": f"{one['changed']:,}" if one.get("changed") is not None else "",
    }


def _p(value: float) -> str:
    return "< 1e-9" if value < 1e-9 else f"{value:.2g}"
