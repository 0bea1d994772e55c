"""Classification's rows, and those of two more metrics: a mean, and a function of all samples."""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary
from robustbench_ms.tasks.classification.rows import ROWS as OURS

ROWS = Rows(
    measured=(
        *OURS.measured.values(),
        Metric("doubt", "doubt", "", "lower", 4, "1 - mean confidence", low=0, high=2),
        Metric("odds", "odds", "", "higher", 3, "right answers to wrong ones", low=0),
    ),
    summaries=(
        *OURS.summaries.values(),
        Summary("clean_doubt", "clean doubt", "", "lower", 4, "on clean images", of="doubt", over=("clean",)),
        Summary("mean_doubt", "doubt", "", "lower", 4, "over the common cells", of="doubt", over=("common",)),
        Summary("clean_odds", "clean odds", "", "higher", 3, "on clean images", of="odds", over=("clean",)),
        Summary("mean_odds", "odds", "", "higher", 3, "over the common cells", of="odds", over=("common",)),
    ),
)
