"""The numbers of scene labelling: of a cell by one confusion matrix over all of its pixels, and over cells.

mIoU is mmsegmentation's: of each class the pixels that are it and are called it / those that are either, summed over
the set, and the mean over classes; a class that is neither true nor predicted anywhere is left out. So a class that a
model calls where none is true counts 0 in that cell alone, and the mean is over more classes there; mIoU_truth is over
the classes of the truth, the same in every cell and for every model, and gates and `retained` go by it.
"""

from __future__ import annotations

from robustbench_ms.specs.metrics import ByImages, Metric, Rows, Summary

__all__ = ["LEAST", "ROWS"]

LEAST = 0.01
"""Of a clean mIoU_truth below it `retained` says nothing: a model that labels nothing keeps all of it."""
_ANY_CELL = ((30, 0.10), (50, 0.08), (79, 0.05), (300, 0.03), (500, 0.02), (1449, 0.01))
_NOTICED: dict[tuple[str, str], ByImages] = {
    ("mIoU_truth", "clean"): (
        (30, 0.043), (50, 0.031), (79, 0.027), (300, 0.012), (500, 0.009), (1449, 0.005), (2000, 0.004),
    ),
    ("mIoU_truth", "common"): (
        (30, 0.017), (50, 0.012), (79, 0.011), (300, 0.005), (500, 0.004), (1449, 0.002),
    ),
}  # fmt: skip
"""Both of results/labelling-simulation.md, and what is noticed in 90 % by symmetry: as much as must be tolerated for a
model that loses nothing to pass."""
_KINDS = ("noise", "blur", "weather", "digital")


def _share(name: str, label: str, about: str, any_cell: ByImages = ()) -> Metric:
    return Metric(name, label, "%", "higher", 1, about, share=True, low=0.0, high=1.0, any_cell=any_cell)


def _over(name: str, label: str, of: str, group: str, about: str, *, whole: bool) -> Summary:
    return Summary(
        name, label, "%", "higher", 1, about, share=True, of=of, over=(group,), whole=whole,
        noticed=_NOTICED.get((of, group), ()) if whole or group == "clean" else (),
    )  # fmt: skip


def _clean_and_mean(name: str, label: str) -> tuple[Summary, Summary]:
    return (
        _over(f"clean_{name}", f"clean {label}", name, "clean", f"{label} on the uncorrupted images", whole=False),
        _over(
            f"mean_{name}", f"mean {label}", name, "common", f"mean {label} over {{over}}", whole=True
        ),
    )  # fmt: skip


def _counts(name: str, label: str, over: str, about: str) -> Summary:
    group = "clean" if over == "clean" else "common"
    return Summary(f"{over}_{name}", f"{over} {label}", "", "higher", 1, about, of=name, over=(group,))


ROWS = Rows(
    measured=(
        _share(
            "mIoU_truth", "mIoU truth", "mean over the truth's classes of intersection / union of the whole set",
            _ANY_CELL,
        ),
        _share("mIoU", "mIoU", "the same over the classes that are true or predicted anywhere (mmsegmentation's)"),
        _share("mAcc", "mAcc", "mean over the classes of the truth of the share of their pixels that are called so"),
        _share("pixel_accuracy", "pixel acc", "share of all pixels whose class is right"),
        Metric("classes", "classes", "", "higher", 0, "classes that mIoU is the mean of in this cell", low=0.0),
        Metric(
            "classes_truth", "true classes", "", "higher", 0, "classes that mIoU_truth and mAcc are means of", low=0.0
        ),
    ),
    summaries=(
        *_clean_and_mean("mIoU_truth", "mIoU truth"),
        Summary(
            "retained", "retained", "%", "higher", 1,
            "mean mIoU_truth over {over} / clean mIoU_truth", of="mIoU_truth",
            over=("clean", "common"), how="ratio", least=LEAST, whole=True,
        ),
        *_clean_and_mean("mIoU", "mIoU"),
        *_clean_and_mean("mAcc", "mAcc"),
        *_clean_and_mean("pixel_accuracy", "pixel acc"),
        *(
            _over(
                f"mean_{kind}", kind, "mIoU_truth", kind, f"mean mIoU_truth over the corruptions of {kind}", whole=True
            )
            for kind in _KINDS
        ),
        _over(
            "corrupted_mIoU_truth", "corrupted mIoU truth", "mIoU_truth", "common",
            "mean mIoU_truth over those of the common corruptions that were shown", whole=False,
        ),
        _counts("classes", "classes", "clean", "classes that the clean mIoU is the mean of"),
        _counts("classes", "classes", "mean", "classes that mIoU is the mean of, averaged over the common corruptions"),
        _counts("classes_truth", "true classes", "clean", "classes that mIoU_truth is the mean of, in every cell"),
    ),
)  # fmt: skip
