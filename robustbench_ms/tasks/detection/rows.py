"""The numbers of detection: COCO's twelve of a cell, and P, mPC and rPC over cells; VisDrone's own beside them.

P is AP on uncorrupted images, mPC its mean over 15 corruptions x 5 severities, rPC = mPC / P (Michaelis et al. 2019,
arXiv 1907.07484, section 3.3), all as fractions. VisDrone's official numbers are others of the same pictures (see
`visdrone_metric`) and have names of their own, so that the two are never mixed.
"""

from __future__ import annotations

from robustbench_ms.specs.metrics import ByImages, Metric, Rows, Summary

__all__ = ["LEAST", "ROWS", "VISDRONE_ROWS"]

LEAST = 0.01
"""Of a clean AP below it rPC says nothing: a model that finds nothing keeps all of it."""
_ANY_CELL = ((30, 0.12), (79, 0.08), (300, 0.05))
_NOTICED: dict[tuple[str, str], ByImages] = {
    ("AP", "clean"): ((30, 0.05), (50, 0.046), (79, 0.038), (300, 0.023), (5000, 0.005)),
    ("AP", "common"): ((30, 0.022), (50, 0.018), (79, 0.016), (300, 0.01), (5000, 0.003)),
}
"""Both of results/ap-simulation.md, 80 classes (10 need less), and what is noticed in 90 % by symmetry: as much as
must be tolerated for a model that loses nothing to pass."""
_KINDS = ("noise", "blur", "weather", "digital")


def _share(name: str, label: str, about: str, any_cell: ByImages = ()) -> Metric:
    return Metric(name, label, "%", "higher", 1, about, share=True, low=0.0, high=1.0, any_cell=any_cell)


def _sized(kind: str, what: str) -> tuple[Metric, ...]:
    """Of objects by their annotated area."""
    sizes = {"small": "below 32^2 px", "medium": "from 32^2 to 96^2 px", "large": "above 96^2 px"}
    return tuple(
        _share(f"{kind}_{size}", f"{kind} {size}", f"{what} objects of {area}")
        for size, area in sizes.items()
    )


def _over(name: str, label: str, of: str, group: str, about: str) -> Summary:
    return Summary(
        name, label, "%", "higher", 1, about, share=True, of=of, over=(group,), whole=group != "clean",
        noticed=_NOTICED.get((of, group), ()), too_high="AP" if (of, group) in _NOTICED else "",
    )  # fmt: skip


def _robustness(of: str, stem: str, end: str = "") -> tuple[Summary, Summary, Summary]:
    """P, mPC and rPC of one AP, as "P", "VD_P" or "P50"."""
    return (
        _over(f"{stem}P{end}", f"{stem}P{end}", of, "clean", f"{of} on the uncorrupted images"),
        _over(
            f"{stem}mPC{end}", f"{stem}mPC{end}", of, "common", f"mean {of} over {{over}}"
        ),
        Summary(
            f"{stem}rPC{end}", f"{stem}rPC{end}", "%", "higher", 1,
            f"mean {of} over {{over}} / clean {of}", of=of, over=("clean", "common"), how="ratio",
            least=LEAST, whole=True,
        ),
    )  # fmt: skip


_MEASURED = (
    _share(
        "AP", "AP", "average precision at 101 recalls, mean over IoU .5:.05:.95 and classes, 100 boxes an image",
        _ANY_CELL,
    ),
    _share("AP50", "AP50", "the same at IoU .5"),
    _share("AP75", "AP75", "the same at IoU .75"),
    *_sized("AP", "AP of"),
    _share("AR1", "AR1", "largest recall with one box a class and image, mean over IoU .5:.05:.95 and classes"),
    _share("AR10", "AR10", "the same with 10 boxes"),
    _share("AR100", "AR100", "the same with 100 boxes"),
    *_sized("AR", "AR100 of"),
)  # fmt: skip
_SUMMARIES = (
    *_robustness("AP", ""),
    *_robustness("AP50", "", "50")[:2],
    *(_over(f"mPC_{kind}", kind, "AP", kind, f"mean AP over the corruptions of {kind}") for kind in _KINDS),
    Summary(
        "corrupted_AP",
        "corrupted AP",
        "%",
        "higher",
        1,
        "mean AP over those of the common corruptions that were shown",
        share=True,
        of="AP",
        over=("common",),
    ),
)
ROWS = Rows(measured=_MEASURED, summaries=_SUMMARIES)

VISDRONE_ROWS = Rows(
    measured=(
        *_MEASURED,
        _share("VD_AP", "VisDrone AP", "VisDrone's official AP: all recalls, 500 boxes an image, classes by images"),
        _share("VD_AP50", "VisDrone AP50", "the same at IoU .5"),
        _share("VD_AP75", "VisDrone AP75", "the same at IoU .75"),
        *(
            _share(f"VD_AR{most}", f"VisDrone AR{most}", f"VisDrone's official AR with {most} boxes an image")
            for most in (1, 10, 100, 500)
        ),
    ),
    summaries=(*_SUMMARIES, *_robustness("VD_AP", "VD_")),
)  # fmt: skip
