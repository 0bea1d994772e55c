"""A number for runs of detectors as long as the task's own rows are not there."""

from robustbench_ms.specs.metrics import Metric, Rows, Summary

ROWS = Rows(
    measured=(Metric("AP", "AP", "%", "higher", 1, "boxes that were found", share=True, low=0, high=1),),
    summaries=(
        Summary("P", "P", "%", "higher", 1, "uncorrupted", share=True, of="AP", over=("clean",)),
        Summary("mPC", "mPC", "%", "higher", 1, "over all", share=True, of="AP", over=("common",)),
    ),
)
