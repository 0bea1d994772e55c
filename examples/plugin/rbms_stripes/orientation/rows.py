"""The numbers of the task; imports specs alone, so that suites are read without numpy."""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary

ROWS = Rows(
    measured=(
        Metric("angle", "turned", "", "lower", 2, "mean angle between answer and truth, degrees", low=0, high=90),
        Metric("accuracy", "top-1", "%", "higher", 2, "share of right answers", share=True, low=0, high=1),
    ),
    summaries=(
        Summary("clean_angle", "clean, degrees", "", "lower", 2, "undamaged", of="angle", over=("clean",)),
        Summary("mean_angle", "damaged, degrees", "", "lower", 2, "over all damage", of="angle", over=("common",)),
        Summary(
            "clean_accuracy", "clean", "%", "higher", 2, "undamaged", share=True, of="accuracy", over=("clean",)
        ),
        Summary(
            "mean_accuracy", "damaged", "%", "higher", 2, "over film and strength", share=True, of="accuracy",
            over=("common",),
        ),
    ),
)  # fmt: skip
