"""The numbers of spots."""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary


def _of(name, label):
    return [
        Summary(
            f"clean_{name}",
            f"clean {label}",
            "%",
            "higher",
            1,
            "unshifted",
            share=True,
            of=name,
            over=("clean",),
        ),
        Summary(
            f"mean_{name}", label, "%", "higher", 1, "over all shifts", share=True, of=name, over=("shifted",)
        ),
    ]


ROWS = Rows(
    measured=(
        Metric("recall", "recall", "%", "higher", 1, "share of the spots that were found", share=True),
        Metric(
            "precision", "precision", "%", "higher", 1, "share of what was found that is a spot", share=True
        ),
        Metric(
            "small_recall", "small", "%", "higher", 1, "share of the small spots that were found", share=True
        ),
        Metric("energy", "energy", "%", "higher", 1, "share of the map that lies on spots", share=True),
    ),
    summaries=(*_of("recall", "recall"), *_of("precision", "precision"), *_of("energy", "energy")),
)
