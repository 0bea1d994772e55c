"""The numbers of spots."""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary


def _share(name, label, about):
    return Metric(name, label, "%", "higher", 1, about, share=True, low=0, high=1)


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
        _share("recall", "recall", "share of the spots that were found"),
        _share("precision", "precision", "share of what was found that is a spot"),
        _share("small_recall", "small", "share of the small spots that were found"),
        _share("energy", "energy", "share of the map that lies on spots"),
    ),
    summaries=(*_of("recall", "recall"), *_of("precision", "precision"), *_of("energy", "energy")),
)
