"""The numbers of activities: a cell's, and those over cells. Means are over 18 faults at five levels.

NLL is in nats; Brier is the sum over classes of squared differences (0..2).
"""

from __future__ import annotations

from typing import Literal

from robustbench_ms.specs.metrics import Metric, Rows, Summary

__all__ = ["ROWS"]

_OVER = "the 18 faults x 5 levels"


def _pair(metric: Metric, clean: str, mean: str, *, rest: str) -> tuple[Summary, Summary]:
    """A measure without faults, and its mean over them."""
    label, unit, better = metric.label, metric.unit, metric.better
    return (
        Summary(
            clean, f"clean {label}" if label != "accuracy" else "clean", unit, better, metric.digits,
            f"{rest} without a fault", share=metric.share, of=metric.name, over=("clean",),
        ),
        Summary(
            mean, f"faulty {label}" if label != "accuracy" else "faulty", unit, better, metric.digits,
            f"mean {rest} over {_OVER}", share=metric.share, of=metric.name, over=("common",), whole=True,
        ),
    )  # fmt: skip


def _share(name: str, label: str, better: Literal["higher", "lower"], about: str) -> Metric:
    return Metric(name, label, "%", better, 1, about, share=True, low=0.0, high=1.0)


_ACCURACY = _share("accuracy", "accuracy", "higher", "share of windows whose largest logit is the label's")
_F1 = _share("macro_f1", "macro F1", "higher", "mean over the labels' classes of 2 tp / (2 tp + fp + fn)")
_NLL = Metric("nll", "NLL", "nats", "lower", 3, "mean negative log-likelihood of the label", low=0.0)
_BRIER = Metric(
    "brier",
    "Brier",
    "",
    "lower",
    3,
    "mean sum over classes of (probability - one-hot)^2, 0..2",
    low=0.0,
    high=2.0,
)
_ECE = _share(
    "ece", "ECE", "lower", "expected calibration error of the top label, 15 equal-width bins (low, high]"
)

ROWS = Rows(
    measured=(_ACCURACY, _F1, _NLL, _BRIER, _ECE),
    summaries=(
        *_pair(_ACCURACY, "clean_accuracy", "mean_fault_accuracy", rest="accuracy"),
        Summary(
            "worst_fault_accuracy", "worst fault", "%", "higher", 1,
            "the least over the 18 faults of the mean accuracy over its five levels", share=True, of="accuracy",
            over=("common",), how="worst", whole=True,
        ),
        Summary(
            "retained", "retained", "%", "higher", 1, f"mean accuracy over {_OVER} / clean accuracy", of="accuracy",
            over=("clean", "common"), how="ratio", whole=True,
        ),
        *_pair(_F1, "clean_macro_f1", "mean_fault_macro_f1", rest="macro F1"),
        *_pair(_NLL, "clean_nll", "mean_fault_nll", rest="NLL"),
        *_pair(_BRIER, "clean_brier", "mean_fault_brier", rest="Brier score"),
        *_pair(_ECE, "clean_ece", "mean_fault_ece", rest="ECE"),
    ),
)  # fmt: skip
