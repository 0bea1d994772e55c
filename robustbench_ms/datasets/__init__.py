"""What data sets there are; facts only, so that listing and planning open nothing."""

from __future__ import annotations

from dataclasses import dataclass

from robustbench_ms.datasets.published import COCO, VISDRONE

__all__ = ["DATASETS", "DatasetInfo"]


@dataclass(frozen=True)
class DatasetInfo:
    """What can be known of a data set without opening it."""

    target: str
    """"package.module:function" of (source, places, condition): its index."""
    about: str
    classes: int | None = None
    splits: tuple[str, ...] = ("test", "train")
    sizes: tuple[int, ...] = ()
    """Samples of each split, where it is fixed."""
    corrupted: bool = False
    """It brings its corrupted samples; nothing is corrupted in memory."""
    normaliser: str | None = None
    """Whose errors on it normalise mCE: "alexnet" of alexnet.toml; None where nobody's are known."""
    gives: tuple[str, ...] = ("label",)
    """What it can say of a sample, and first what a training of it learns: "label", "boxes", "masks", "map"."""
    options: tuple[str, ...] = ()
    """Further keys that a suite may give it."""
    counts_classes: bool = False
    """Its files say how many classes there are, so that a suite need not."""
    parts: tuple[str, ...] = ()
    """Ways in which readers part its samples, see `Index.parts`."""
    counter: str | None = None
    """"package.module:function" of a source: how many samples it chooses, or None where it takes the split."""

    def size(self, split: str) -> int | None:
        """Samples of a split; None where only the files can tell."""
        return dict(zip(self.splits, self.sizes, strict=False)).get(split)


_HERE = "robustbench_ms.datasets"
_CIFAR = (10_000, 50_000)

DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        f"{_HERE}.digits:index_digits",
        "scikit-learn's handwritten digits as 32 x 32 RGB, embedded",
        classes=10,
        sizes=(597, 1200),
    ),
    "quick-scenes": DatasetInfo(
        f"{_HERE}.scenes:index_scenes",
        "one to five digits on photographs of scikit-image, 128 x 128 RGB, made here",
        classes=10,
        sizes=(300, 1000),
        gives=("boxes", "masks", "map"),
        parts=("ground",),
    ),
    "cifar10": DatasetInfo(f"{_HERE}.cifar:index_cifar", "CIFAR-10", classes=10, sizes=_CIFAR),
    "cifar100": DatasetInfo(f"{_HERE}.cifar:index_cifar", "CIFAR-100", classes=100, sizes=_CIFAR),
    "cifar10-c": DatasetInfo(
        f"{_HERE}.cifar:index_cifar_c",
        "CIFAR-10-C as published: <corruption>.npy and labels.npy",
        classes=10,
        splits=("test",),
        sizes=_CIFAR[:1],
        corrupted=True,
    ),
    "cifar100-c": DatasetInfo(
        f"{_HERE}.cifar:index_cifar_c",
        "CIFAR-100-C as published: <corruption>.npy and labels.npy",
        classes=100,
        splits=("test",),
        sizes=_CIFAR[:1],
        corrupted=True,
    ),
    "coco": DatasetInfo(
        f"{_HERE}.coco:index_coco",
        "COCO 2017: boxes, masks and 80 categories, as its archives unpack",
        classes=80,
        splits=tuple(COCO),
        sizes=tuple(COCO.values()),
        gives=("boxes", "masks"),
        options=("folders", "ids"),
        counter=f"{_HERE}.coco:count_chosen",
    ),
    "coco-folder": DatasetInfo(
        f"{_HERE}.coco:index_coco_folder",
        "any folder of pictures with an annotation file in COCO's format",
        splits=("test",),
        gives=("boxes", "masks"),
        options=("annotations", "pictures", "ids", "white"),
        counts_classes=True,
        counter=f"{_HERE}.coco:count_chosen",
    ),
    "visdrone": DatasetInfo(
        f"{_HERE}.visdrone:index_visdrone",
        "VisDrone-DET: boxes of 10 classes seen from drones, in its own annotation format",
        classes=10,
        splits=tuple(VISDRONE),
        sizes=tuple(VISDRONE.values()),
        gives=("boxes",),
    ),
    "arrays": DatasetInfo(
        f"{_HERE}.arrays:index_arrays", "any pair of .npy files: uint8 images and whole-number labels"
    ),
}
