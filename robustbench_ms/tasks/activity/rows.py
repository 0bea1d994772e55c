"""The numbers of activities: a cell's, and those over cells. Means are over 18 faults at five levels.

NLL is in nats; Brier is the sum over classes of squared differences (0..2).
"""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary

__all__ = ["ROWS", "rows"]


def _measured(sample: str) -> tuple[Metric, ...]:
    return (
        Metric(
            "accuracy", "accuracy", "%", "higher", 1, f"share of {sample}s whose largest logit is the label's",
            share=True, low=0.0, high=1.0,
        ),
        Metric(
            "macro_f1", "macro F1", "%", "higher", 1, "mean over the labels' classes of 2 tp / (2 tp + fp + fn)",
            share=True, low=0.0, high=1.0,
        ),
        Metric("nll", "NLL", "nats", "lower", 3, "mean negative log-likelihood of the label", low=0.0),
        Metric(
            "brier", "Brier", "", "lower", 3, "mean sum over classes of (probability - one-hot)^2, 0..2", low=0.0,
            high=2.0,
        ),
        Metric(
            "ece", "ECE", "%", "lower", 1,
            "expected calibration error of the top label, 15 equal-width bins (low, high]", share=True, low=0.0,
            high=1.0,
        ),
    )  # fmt: skip


def rows(sample: str, worse: str, several: str) -> Rows:
    """Of samples ("window") that are classified, as they are and under what makes them `worse` ("fault").

    `several` says over how many of these the means are: "18 faults".
    """
    over = f"the {several} x 5 levels"

    def both(metric: Metric) -> tuple[Summary, Summary]:
        """A measure without a fault, and its mean over them."""
        label, share, of = metric.label, metric.share, metric.name
        return (
            Summary(
                f"clean_{metric.name}", f"clean {label}", metric.unit, metric.better, metric.digits,
                f"{label} of {sample}s as they are", share=share, of=of,
                over=("clean",),
            ),
            Summary(
                f"mean_{worse}_{metric.name}", f"mean {label}", metric.unit, metric.better, metric.digits,
                f"mean {label} over {over}", share=share, of=of,
                over=("common",), whole=True,
            ),
        )  # fmt: skip

    accuracy, *others = measured = _measured(sample)
    return Rows(
        measured=measured,
        summaries=(
            *both(accuracy),
            Summary(
                f"worst_{worse}_accuracy", f"worst {worse}", "%", "higher", 1,
                f"the least over the {several} of the mean accuracy over its five levels", share=True, of="accuracy",
                over=("common",), how="worst", whole=True,
            ),
            Summary(
                "retained", "retained", "%", "higher", 1, f"mean accuracy over {over} / clean accuracy",
                of="accuracy", over=("clean", "common"), how="ratio", whole=True,
            ),
            *(summary for metric in others for summary in both(metric)),
        ),
        sample=sample,
    )  # fmt: skip


ROWS = rows("window", "fault", "18 faults")
