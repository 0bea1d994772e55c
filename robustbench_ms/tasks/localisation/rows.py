"""The numbers of heat maps against objects: of a cell over pairs of image and class, and over cells.

All but `right` and the area shares are told twice: over all pairs, and over those alone whose class is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator

from robustbench_ms.specs.metrics import Metric, Rows, Summary

__all__ = ["ALL", "RIGHT", "ROWS"]

ALL = ("energy", "pointing", "box_acc_v2", "PxAP")
"""What is measured of maps; the first is what a cell is known by."""
RIGHT = "_right"
"""How a number of the pairs that are answered right ends."""
_OF_RIGHT = ", of pairs that are answered right alone"
_ABOUT = {
    "pointing": "pointing game: mean over classes of the share of maps whose largest value hits the object "
    "(within 3 % of the longer side)",
    "energy": "share of the map that lies on the object, mean over pairs of image and class",
    "area_share": "share of the picture that the object covers, mean over pairs: the energy of an even map",
    "box_acc_v2": "share of pairs with a box of the map above a threshold that meets an object's, mean over IoU "
    ".3 .5 .7",
    "PxAP": "area under precision and recall of the object's pixels by the map's value, over all pairs",
    "right": "share of pairs whose class is the answer",
}
_LABELS = {"area_share": "area share", "box_acc_v2": "BoxAccV2"}


def _measured(name: str, end: str) -> Metric:
    label = _LABELS.get(name, name) + (", right" if end else "")
    about = _ABOUT[name] + (_OF_RIGHT if end else "")
    return Metric(name + end, label, "%", "higher", 1, about, share=True, low=0.0, high=1.0)


def _over(row: Metric) -> Iterator[Summary]:
    for prefix, group, where, whole in (
        ("clean", "clean", "on the uncorrupted images", False),
        ("mean", "common", "over {over}", True),
    ):
        yield Summary(
            f"{prefix}_{row.name}", f"{prefix} {row.label}", "%", "higher", 1, f"{row.about}; {where}", share=True,
            of=row.name, over=(group,), whole=whole,
        )  # fmt: skip


_MEASURED = tuple(
    [_measured(name, "") for name in (*ALL, "area_share", "right")]
    + [_measured(name, RIGHT) for name in (*ALL, "area_share")]
)
ROWS = Rows(
    measured=_MEASURED,
    summaries=(
        *(summary for row in _MEASURED for summary in _over(row)),
        *(
            Summary(
                f"corrupted_{name}", f"corrupted {_LABELS.get(name, name)}", "%", "higher", 1,
                f"mean {name} over those of the common corruptions that were shown", share=True, of=name,
                over=("common",),
            )
            for name in ALL
        ),
    ),
)  # fmt: skip
