"""Means over cells, with their intervals, computed on reading and never stored.

Every number states the cells that it needs and refuses a partial set, naming what is missing. Intervals are over
the test's images: each image's own mean over the cells is one value, so that cells of the same images do not count
as independent.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from statistics import fmean

import numpy as np

from robustbench_ms.corruptions.table import COMMON, SEVERITIES
from robustbench_ms.errors import Incomparable, UserError, choose
from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.statistics.intervals import Interval, mean_interval, proportion_interval, ratio_interval

__all__ = ["CORRUPTED", "SUMMARIES", "Incomplete", "mce", "relative_mce", "summarise"]

CORRUPTED = tuple(f"corruption={name},severity={severity}" for name in COMMON for severity in SEVERITIES)
"""The 75 cells of every mean over corruptions."""

Z = 1.959963984540054
"""Half width of a 95 % interval in standard errors."""


class Incomplete(UserError):
    """A mean over cells of which some are missing."""


Cells = Mapping[str, Measurement]


def summarise(record: Record, names: tuple[str, ...]) -> dict[str, Interval]:
    """The named numbers of a record with their 95 % intervals; Incomplete where cells are missing."""
    samples = record.samples()
    found = {m.key: m for m in record.measurements if m.error is None}
    return {name: _one(record, name, found, samples) for name in names}


def _one(record: Record, name: str, found: Cells, samples: Samples | None) -> Interval:
    needs, compute = SUMMARIES[choose(name, SUMMARIES, "summary")]
    missing = [key for key in needs if key not in found]
    if missing:
        shown = "; ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise Incomplete(
            f"{record.name}: {name} needs {len(needs)} cells, and {len(missing)} are missing: {shown}"
        )
    if name in {"mce", "relative_mce"}:
        _only_imagenet(record)
    try:
        return compute(found, samples)
    except KeyError as error:
        raise Incomplete(f"{record.name}: {name} needs {error} in every cell") from error


def _clean(name: str) -> Callable[[Cells, Samples | None], Interval]:
    def compute(cells: Cells, samples: Samples | None) -> Interval:
        del samples
        value = cells["clean"].values[name]
        return Interval(
            value["mean"], value["mean"] - Z * value["stderr"], value["mean"] + Z * value["stderr"]
        )

    return compute


def _clean_accuracy(cells: Cells, samples: Samples | None) -> Interval:
    del samples
    cell = cells["clean"]
    return proportion_interval(round(cell.values["accuracy"]["mean"] * cell.n), cell.n)


def _corruption_accuracy(cells: Cells, samples: Samples | None) -> Interval:
    mean = fmean(cells[key].values["accuracy"]["mean"] for key in CORRUPTED)
    return _around(mean, _corrupted_share(samples))


def _corruption_error(cells: Cells, samples: Samples | None) -> Interval:
    return _complement(_corruption_accuracy(cells, samples))


def _relative_drop(cells: Cells, samples: Samples | None) -> Interval:
    clean = cells["clean"].values["accuracy"]["mean"]
    if clean == 0:
        return Interval(
            math.nan, math.nan, math.nan
        )  # nothing can be lost: the other columns still say what is wrong
    mean = fmean(cells[key].values["accuracy"]["mean"] for key in CORRUPTED) / clean
    corrupted = _corrupted_share(samples)
    if corrupted is None or samples is None or "clean" not in samples.keys or corrupted.size < 2:
        return _complement(_around(mean, None))
    half = ratio_interval(corrupted, samples.row("clean").astype(np.float64)).half_width
    return _complement(Interval(mean, mean - half, mean + half))


def _corrupted(name: str) -> Callable[[Cells, Samples | None], Interval]:
    def compute(cells: Cells, samples: Samples | None) -> Interval:
        mean = fmean(cells[key].values[name]["mean"] for key in CORRUPTED)
        rows = None if samples is None else samples.scores.get(f"{name}_corrupted")
        return _around(mean, None if rows is None else rows.astype(np.float64))

    return compute


def _corrupted_ece(cells: Cells, samples: Samples | None) -> Interval:
    # The cells share their images; errors that are taken to move together give the widest interval, never too narrow.
    del samples
    mean = fmean(cells[key].values["ece"]["mean"] for key in CORRUPTED)
    half = Z * fmean(cells[key].values["ece"]["stderr"] for key in CORRUPTED)
    return Interval(mean, mean - half, mean + half)


def _normalised(
    function: Callable[..., float], *, clean: bool
) -> Callable[[Cells, Samples | None], Interval]:
    def compute(cells: Cells, samples: Samples | None) -> Interval:
        del samples  # a ratio per corruption: its interval needs a resampling of images that is not made here
        errors = {
            name: [
                1 - cells[f"corruption={name},severity={s}"].values["accuracy"]["mean"] for s in SEVERITIES
            ]
            for name in COMMON
        }
        extra = (1 - cells["clean"].values["accuracy"]["mean"],) if clean else ()
        return _around(function(errors, *extra), None)

    return compute


def mce(errors: Mapping[str, list[float]]) -> float:
    """Mean corruption error: the mean over 15 corruptions of sum_s E / sum_s E_AlexNet, a fraction (AlexNet is 1).

    `errors` holds per corruption the top-1 errors at severities 1..5. Hendrycks and Dietterich, ICLR 2019, section 4.
    """
    _whole(errors)
    base, _ = _alexnet()
    return fmean(sum(errors[name]) / sum(base[name]) for name in COMMON)


def relative_mce(errors: Mapping[str, list[float]], clean_error: float) -> float:
    """Relative mCE: the mean over corruptions of sum_s (E - E_clean) / sum_s (E_AlexNet - E_AlexNet,clean)."""
    _whole(errors)
    base, base_clean = _alexnet()
    return fmean(
        sum(e - clean_error for e in errors[name]) / sum(e - base_clean for e in base[name])
        for name in COMMON
    )


def _whole(errors: Mapping[str, list[float]]) -> None:
    missing = [name for name in COMMON if len(errors.get(name, ())) != len(SEVERITIES)]
    if missing:
        raise Incomplete(
            f"mCE needs 15 corruptions at 5 severities; missing or partial: {', '.join(missing)}"
        )


@cache
def _alexnet() -> tuple[dict[str, list[float]], float]:
    told = tomllib.loads(
        files("robustbench_ms.datasets").joinpath("alexnet.toml").read_text(encoding="utf-8")
    )
    return told["error"], told["clean"]


def _only_imagenet(record: Record) -> None:
    dataset = str(record.suite["protocol"].get("dataset"))
    if not dataset.startswith("imagenet"):
        raise Incomparable(
            f"{record.name}: mCE is normalised by AlexNet on ImageNet-C and has no meaning on {dataset}; "
            "use mean_corruption_error"
        )


def _corrupted_share(samples: Samples | None) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Each image's share of corrupted cells that were right (n,)."""
    if samples is None or any(key not in samples.keys for key in CORRUPTED):
        return None
    rows = [samples.keys.index(key) for key in CORRUPTED]
    share: np.ndarray[tuple[int], np.dtype[np.float64]] = samples.correct[rows].mean(axis=0)
    return share


def _around(mean: float, rows: np.ndarray[tuple[int], np.dtype[np.float64]] | None) -> Interval:
    """An interval of the width that the per-image values give, around the exact mean; nan without two of them."""
    half = math.nan if rows is None or rows.size < 2 else mean_interval(rows).half_width
    return Interval(mean, mean - half, mean + half)


def _complement(interval: Interval) -> Interval:
    return Interval(1 - interval.mean, 1 - interval.high, 1 - interval.low)


SUMMARIES: dict[str, tuple[tuple[str, ...], Callable[[Cells, Samples | None], Interval]]] = {
    "clean_accuracy": (("clean",), _clean_accuracy),
    "clean_nll": (("clean",), _clean("nll")),
    "clean_brier": (("clean",), _clean("brier")),
    "clean_ece": (("clean",), _clean("ece")),
    "mean_corruption_accuracy": (CORRUPTED, _corruption_accuracy),
    "mean_corruption_error": (CORRUPTED, _corruption_error),
    "relative_drop": (("clean", *CORRUPTED), _relative_drop),
    "mean_corruption_nll": (CORRUPTED, _corrupted("nll")),
    "mean_corruption_brier": (CORRUPTED, _corrupted("brier")),
    "mean_corruption_ece": (CORRUPTED, _corrupted_ece),
    "mce": (CORRUPTED, _normalised(mce, clean=False)),
    "relative_mce": (("clean", *CORRUPTED), _normalised(relative_mce, clean=True)),
}
"""name -> (the cells it needs, how it is computed)."""
