"""The numbers of classification: a cell's, and those over cells, which are the columns of tables.

NLL is in nats; Brier is the sum over classes of squared differences (0..2).
"""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary

__all__ = ["ROWS"]

_CLEAN = ("clean",)
_COMMON = ("common",)
_ANY_CELL = (
    (50, 0.28), (100, 0.18), (200, 0.125), (300, 0.1), (500, 0.075), (1000, 0.055), (2000, 0.04), (5000, 0.025),
)  # fmt: skip
"""Of 96 cells; of results/gate-simulation.md, rounded up."""
_NOTICED = (
    (50, 0.197), (100, 0.125), (200, 0.079), (300, 0.061), (500, 0.044), (1000, 0.03), (2000, 0.02), (5000, 0.012),
    (10_000, 0.009),
)  # fmt: skip
"""By the gate's own bound at .05 of answers that are right or wrong, with a chance of 80 %, rounded up."""

ROWS = Rows(
    measured=(
        Metric(
            "accuracy", "top-1", "%", "higher", 2,
            "share of samples whose largest logit is the label's; of equal logits that of the lower class index counts",
            share=True, low=0.0, high=1.0, any_cell=_ANY_CELL,
        ),
        Metric(
            "top5_accuracy", "top-5", "%", "higher", 2,
            "share of samples whose label is among the five largest logits, ties as in top-1", share=True,
            low=0.0, high=1.0,
        ),
        Metric("nll", "NLL", "nats", "lower", 3, "mean negative log-likelihood of the label", low=0.0),
        Metric(
            "brier", "Brier", "", "lower", 3, "mean sum over classes of (probability - one-hot)^2, 0..2",
            low=0.0, high=2.0,
        ),
        Metric(
            "ece", "ECE", "%", "lower", 2,
            "expected calibration error of the top label (Guo et al. 2017): 15 equal-width bins (low, high], mean "
            "absolute gap; torchmetrics takes [low, high) and can give another number", share=True,
            low=0.0, high=1.0,
        ),
    ),
    summaries=(
        Summary(
            "clean_accuracy", "clean", "%", "higher", 2, "top-1 on the uncorrupted images", share=True,
            of="accuracy", over=_CLEAN, noticed=_NOTICED,
        ),
        Summary("clean_nll", "clean NLL", "nats", "lower", 3, "NLL on the uncorrupted images", of="nll", over=_CLEAN),
        Summary(
            "clean_brier", "clean Brier", "", "lower", 3, "Brier score on the uncorrupted images",
            of="brier", over=_CLEAN,
        ),
        Summary(
            "clean_ece", "clean ECE", "%", "lower", 2, "expected calibration error on the uncorrupted images",
            share=True, of="ece", over=_CLEAN,
        ),
        Summary(
            "mean_corruption_accuracy", "corrupted", "%", "higher", 2, "mean top-1 over {over}",
            share=True, of="accuracy", over=_COMMON,
        ),
        Summary(
            "mean_corruption_error", "mean error", "%", "lower", 2, "1 - mean corruption accuracy, not normalised",
            share=True, of="accuracy", over=_COMMON, how="complement",
        ),
        Summary(
            "relative_drop", "relative drop", "%", "lower", 2, "(clean - corrupted) / clean accuracy",
            share=True, of="accuracy", over=(*_CLEAN, *_COMMON), how="drop",
        ),
        Summary(
            "mean_corruption_nll", "NLL", "nats", "lower", 3, "mean NLL over {over}",
            of="nll", over=_COMMON,
        ),
        Summary(
            "mean_corruption_brier", "Brier", "", "lower", 3, "mean Brier score over {over}",
            of="brier", over=_COMMON,
        ),
        Summary(
            "mean_corruption_ece", "ECE", "%", "lower", 2, "mean ECE over {over}",
            share=True, of="ece", over=_COMMON,
        ),
        Summary(
            "mce", "mCE", "%", "lower", 2, "mean corruption error, each corruption over AlexNet's (ImageNet-C only)",
            of="accuracy", over=_COMMON, how="normalised",
        ),
        Summary(
            "relative_mce", "relative mCE", "%", "lower", 2, "mean loss against clean over AlexNet's (ImageNet-C only)",
            of="accuracy", over=(*_CLEAN, *_COMMON), how="relative",
        ),
    ),
)  # fmt: skip
