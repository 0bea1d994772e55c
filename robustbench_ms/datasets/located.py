"""Where in the data folder each data set is looked for: its reader and `rbms doctor` ask the same table."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.specs.places import Places

__all__ = ["FOLDERS", "V2", "found_in", "looked_in"]

V2 = {
    "matched-frequency": "imagenetv2-matched-frequency-format-val",
    "threshold0.7": "imagenetv2-threshold0.7-format-val",
    "top-images": "imagenetv2-top-images-format-val",
}
"""The folder that each split of ImageNet-V2 is published as."""
FOLDERS: dict[str, tuple[str, ...]] = {
    "cifar10": ("cifar10",),
    "cifar100": ("cifar100",),
    "cifar10-c": ("CIFAR-10-C", "cifar10-c"),
    "cifar100-c": ("CIFAR-100-C", "cifar100-c"),
    "cifar10.1": ("cifar10.1", ""),
    "coco": ("coco",),
    "visdrone": ("", "visdrone"),
    "imagenet": ("imagenet", "ILSVRC2012", "ILSVRC"),
    "imagenet-real": ("imagenet", "ILSVRC2012", "ILSVRC"),
    "imagenet-c": ("imagenet-c", "ImageNet-C"),
    "imagenet-v2": ("imagenet-v2",),
    "imagenet-r": ("imagenet-r",),
    "imagenet-a": ("imagenet-a",),
    "imagenet-sketch": ("imagenet-sketch", "sketch"),
    "tiny-imagenet": ("tiny-imagenet", "tiny-imagenet-200"),
    "voc": ("VOCdevkit/VOC2012", "VOC2012", "voc/VOCdevkit/VOC2012", "voc/VOC2012"),
    "cityscapes": ("cityscapes", "Cityscapes", ""),
    "ade20k": ("ADEChallengeData2016", "ade/ADEChallengeData2016", "ade20k/ADEChallengeData2016"),
    "har": ("UCI HAR Dataset", "har/UCI HAR Dataset", "uci-har/UCI HAR Dataset", "uci-har"),
    "har-mini": ("uci-har/UCI HAR Dataset", "har-mini/UCI HAR Dataset", "har-mini", "UCI HAR Dataset"),
}
"""Folders in the data folder, the likeliest first; "" is that itself. Those of a data set that it has not are found by
path, or come with the package."""
_MARKS: dict[str, tuple[str, ...]] = {
    "cifar10": ("cifar-10-batches-py", "test_images.npy", "train_images.npy"),
    "cifar100": ("cifar-100-python", "test_images.npy", "train_images.npy"),
    "cifar10.1": ("cifar10.1_v6_data.npy", "cifar10.1_v4_data.npy"),
    "coco": ("annotations/instances_val2017.json", "annotations/instances_train2017.json"),
    "voc": ("SegmentationClass",),
    "cityscapes": ("gtFine",),
    "ade20k": ("annotations",),
    "visdrone": tuple(f"VisDrone2019-DET-{split}/annotations" for split in ("val", "test-dev", "train")),
}
"""What one of must be in the folder, where it alone says nothing."""


def looked_in(dataset: str, places: Places) -> tuple[Path, ...]:
    """The folders in which a data set is looked for; none where it is no set of the data folder."""
    if (given := places.of(dataset)) is not None:
        return (given,)
    more = {"imagenet-v2": tuple(V2.values()), "coco": ("",)}.get(dataset, ())
    return tuple(places.data / folder for folder in (*FOLDERS.get(dataset, ()), *more))


def found_in(dataset: str, places: Places) -> Path | None:
    """The folder in which it lies; None where it is in none."""
    marks = () if places.of(dataset) is not None else _MARKS.get(dataset, ())
    for folder in looked_in(dataset, places):
        if any((folder / mark).exists() for mark in marks or ("",)):
            return folder
    return None
