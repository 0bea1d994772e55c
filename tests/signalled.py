"""UCI HAR's layout in small, windows as an .npz with a suite, and small cards for both."""

from __future__ import annotations

import numpy as np

from robustbench_ms.datasets import signals
from robustbench_ms.datasets.signals import HAR, scales_of
from tests.faults.windows import windows

__all__ = ["CHANNELS", "har_folder", "npz_suite"]

CHANNELS = "\n".join(
    f'[[channels]]\nname = "{c.name}"\nunit = "{c.unit}"\nsensor = "{c.sensor}"\naxis = "{c.axis}"\ntriad = "{c.triad}"'
    + (f'\npart_of = "{c.part_of}"' if c.part_of else "")
    for c in HAR
)


def har_folder(data, monkeypatch, n=12):
    """A split "test" and one "train" of n windows under `data`, for which the data set's sizes are changed."""
    monkeypatch.setitem(signals._HAR_SIZES, "har-mini", {"test": n, "train": n})
    root = data / "uci-har" / "UCI HAR Dataset"
    for number, split in enumerate(("test", "train")):
        folder = root / split / "Inertial Signals"
        folder.mkdir(parents=True)
        shown = windows(n, seed=number)
        for i, channel in enumerate(HAR):
            lines = [" ".join(f"{v: .7e}" for v in window[i]) for window in shown]
            (folder / f"{channel.name}_{split}.txt").write_text("\n".join(lines) + "\n")
        rows = np.arange(n)
        (root / split / f"y_{split}.txt").write_text("\n".join(str(1 + row // 2 % 6) for row in rows) + "\n")
        (root / split / f"subject_{split}.txt").write_text(
            "\n".join(str(2 + row // 4) for row in rows) + "\n"
        )
    return root


def npz_suite(folder, *, n=60, replace=(), arrays=None, faults='fault = ["bias", "noise"]\nlevel = [1, 5]'):
    """A suite of n windows of three classes and six groups, told apart by their gyroscope; its path."""
    folder.mkdir(exist_ok=True)
    rows = np.arange(n)
    labels = rows // 2 % 3
    shown = windows(n)
    shown[:, 3] = 0.2 * shown[:, 3] + labels[:, None] - 1
    given = {"windows": shown, "labels": labels, "groups": rows * 6 // n}
    np.savez(
        folder / "windows.npz", **{k: v for k, v in {**given, **(arrays or {})}.items() if v is not None}
    )
    scales = "\n".join(
        f"{name} = [{one.mean}, {one.sd}, {one.largest}]" for name, one in scales_of(shown, HAR).items()
    )
    text = (
        'task = "activity"\ndataset = "windows"\nclasses = 3\nfile = "windows.npz"\nrate = 50\n'
        f'summary = ["clean_accuracy"]\n\n{CHANNELS}\n\n[matrix]\n{faults}\n\n[scales]\n{scales}\n'
    )
    for old, new in replace:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "own.toml"
    path.write_text(text)
    return path
