"""The numbers of volumes whose voxels are labelled: of a cell, and over the artefacts at five levels.

The weighted mean and the degradation are ROOD-MRI's (Boone et al., arXiv 2203.06060): levels s weigh (2/3)^s and the
clean cell 1, so that (clean + sum (2/3)^s m_s) / (1 + sum (2/3)^s) and sum (2/3)^s (clean - m_s) / sum (2/3)^s, m_s the
mean over the artefacts at a level; HD95 is the other way round.
"""

from __future__ import annotations

from typing import Literal

from robustbench_ms.specs.metrics import ByImages, Metric, Rows, Summary

__all__ = ["ROWS"]

How = Literal["mean", "worst", "weighted", "degradation"]
_ALL = "the 13 artefacts x 5 levels"


_ANY_CELL = ((20, 0.13), (50, 0.07), (100, 0.04), (300, 0.025), (597, 0.02))
_NOTICED: dict[str, ByImages] = {
    "clean_dice": ((20, 0.013), (50, 0.008), (100, 0.005), (300, 0.003), (597, 0.002)),
    "mean_artefact_dice": ((20, 0.019), (50, 0.011), (100, 0.008), (300, 0.004), (597, 0.003)),
}
"""Both of results/voxel-simulation.md, and what is noticed by symmetry, as scene labelling has it."""


def _share(name: str, label: str, about: str, any_cell: ByImages = ()) -> Metric:
    return Metric(name, label, "%", "higher", 1, about, share=True, low=0.0, high=1.0, any_cell=any_cell)


_DICE = _share(
    "dice", "Dice", "mean over classes of the mean over volumes of 2 |both| / (|true| + |said|)", _ANY_CELL
)
_SURFACE = _share(
    "surface_dice", "surface Dice", "the same of the share of both surfaces within one voxel of the other"
)
_HD95 = Metric(
    "hd95", "HD95 mm", "", "lower", 2, "the same of the surfaces' 95th percentile distance", low=0.0
)
_ALONE = tuple(
    _share(f"dice_{k}", f"Dice {k}", f"mean over volumes of the Dice of class {k}") for k in (1, 2, 3)
)


def _over(name: str, label: str, of: Metric, over: tuple[str, ...], about: str, how: How = "mean") -> Summary:
    return Summary(
        name, label, of.unit, "lower" if how == "degradation" else of.better, of.digits, about, share=of.share,
        of=of.name, over=over, how=how, whole=over != ("clean",), noticed=_NOTICED.get(name, ()),
    )  # fmt: skip


def _both(of: Metric) -> tuple[Summary, Summary]:
    """A measure as volumes are, and its mean over the artefacts."""
    name, label = of.name, of.label
    return (
        _over(f"clean_{name}", f"clean {label}", of, ("clean",), f"{label} of volumes as they are"),
        _over(f"mean_artefact_{name}", f"mean {label}", of, ("common",), f"mean {label} over {_ALL}"),
    )


def _weighted(of: Metric) -> tuple[Summary, Summary]:
    """The published two: clean and corrupted together, and what is lost."""
    name, label, over = of.name, of.label, ("clean", "common")
    about = f"clean {label} and that under artefacts, levels weighing 2/3, 4/9, ... of it"
    lost = f"how much worse {label} is under artefacts, by the same weights"
    return (
        _over(f"weighted_{name}", f"weighted {label}", of, over, about, "weighted"),
        _over(f"{name}_degradation", f"{label} degradation", of, over, lost, "degradation"),
    )


ROWS = Rows(
    measured=(_DICE, _SURFACE, _HD95, *_ALONE),
    summaries=(
        *_both(_DICE),
        _over(
            "worst_artefact_dice", "worst artefact", _DICE, ("common",),
            "the least over the 13 artefacts of the mean Dice over its five levels", "worst",
        ),
        *_weighted(_DICE),
        *_both(_SURFACE),
        *_both(_HD95),
        *_weighted(_HD95),
        *(summary for metric in _ALONE for summary in _both(metric)),
    ),
    sample="volume",
)  # fmt: skip
