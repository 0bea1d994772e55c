"""The numbers of volumes that are classified: a cell's, and those over 13 artefacts at five levels.

NLL is in nats; Brier is the sum over classes of squared differences (0..2). Scored by activities' scorers.
"""

from __future__ import annotations

from robustbench_ms.specs.metrics import Metric, Rows, Summary

__all__ = ["ROWS"]

_OVER = "the 13 artefacts x 5 levels"

_MEASURED = (
    Metric(
        "accuracy", "accuracy", "%", "higher", 1, "share of volumes whose largest logit is the label's", share=True,
        low=0.0, high=1.0,
    ),
    Metric(
        "macro_f1", "macro F1", "%", "higher", 1, "mean over the labels' classes of 2 tp / (2 tp + fp + fn)",
        share=True, low=0.0, high=1.0,
    ),
    Metric("nll", "NLL", "nats", "lower", 3, "mean negative log-likelihood of the label", low=0.0),
    Metric(
        "brier", "Brier", "", "lower", 3, "mean sum over classes of (probability - one-hot)^2, 0..2", low=0.0, high=2.0
    ),
    Metric(
        "ece", "ECE", "%", "lower", 1, "expected calibration error of the top label, 15 equal-width bins (low, high]",
        share=True, low=0.0, high=1.0,
    ),
)  # fmt: skip


def _over(metric: Metric) -> tuple[Summary, Summary]:
    """A measure without artefacts, and its mean over them."""
    return (
        Summary(
            f"clean_{metric.name}", f"clean {metric.label}", metric.unit, metric.better, metric.digits,
            f"{metric.label} without an artefact", share=metric.share, of=metric.name, over=("clean",),
        ),
        Summary(
            f"mean_artefact_{metric.name}", f"mean {metric.label}", metric.unit, metric.better, metric.digits,
            f"mean {metric.label} over {_OVER}", share=metric.share, of=metric.name, over=("common",), whole=True,
        ),
    )  # fmt: skip


ROWS = Rows(
    measured=_MEASURED,
    summaries=(
        *_over(_MEASURED[0]),
        Summary(
            "worst_artefact_accuracy", "worst artefact", "%", "higher", 1,
            "the least over the 13 artefacts of the mean accuracy over its five levels", share=True, of="accuracy",
            over=("common",), how="worst", whole=True,
        ),
        Summary(
            "retained", "retained", "%", "higher", 1, f"mean accuracy over {_OVER} / clean accuracy", of="accuracy",
            over=("clean", "common"), how="ratio", whole=True,
        ),
        *(summary for metric in _MEASURED[1:] for summary in _over(metric)),
    ),
)  # fmt: skip
