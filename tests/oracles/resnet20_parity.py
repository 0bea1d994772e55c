"""ResNet-20 on CIFAR-10-C made twice: by the oracles and by the shipped ones. The number that matters.

    RBMS_DATA=... python -m tests.oracles.resnet20_parity FOLDER [--seeds 3]

FOLDER keeps the oracles' images (`cifar_images`) and every answer under the digest of the images it was
given to, so that an interrupted run goes on where it stopped and a changed corruption is answered anew. All
10,000 test images, the 15 common corruptions at 5 severities, three seeds on both sides; what draws nothing
is the same for every seed and counted once. Writes results/cifar10-c/parity/resnet20.json and .md, and ends
with 1 if a cell lies beyond 3.5 paired standard errors or the mean beyond 2.5.

A paired standard error is the square root of the number of answers that changed from right to wrong or
back, over the number of answers (McNemar, Psychometrika 1947).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robustbench_ms.corruptions.table import PROTOCOL
from tests.oracles.cifar_images import COMMON, SEVERITIES, cell_images
from tests.oracles.photographs import cifar
from tests.oracles.reference import oracles

__all__ = ["CELL_LIMIT", "CLEAN", "MEAN_LIMIT", "Cell", "main", "summary", "table"]

CELL_LIMIT, MEAN_LIMIT = 3.5, 2.5
CLEAN = 91.73
"""The accuracy in percent that the checkpoint is published with."""
WEIGHTS = "weights/resnet20-12fca82f.th"
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@dataclass(frozen=True)
class Cell:
    """One corruption at one severity: how many of `n` answers were right with whose images."""

    corruption: str
    severity: int
    n: int
    oracle: int
    ours: int
    changed: int
    """Answers that were right on one side only."""

    @property
    def difference(self) -> float:
        """Ours minus the oracle's accuracy, in percentage points."""
        return 100 * (self.ours - self.oracle) / self.n

    @property
    def error(self) -> float:
        """The paired standard error of the difference, in percentage points."""
        return 100 * math.sqrt(self.changed) / self.n

    @property
    def z(self) -> float:
        return self.difference / self.error if self.changed else 0.0


def summary(cells: list[Cell]) -> dict[str, float]:
    """The mean over the cells on both sides, its difference, standard error and z."""
    difference = math.fsum(cell.difference for cell in cells) / len(cells)
    error = math.sqrt(math.fsum(cell.error**2 for cell in cells)) / len(cells)
    return {
        "oracle": math.fsum(100 * cell.oracle / cell.n for cell in cells) / len(cells),
        "ours": math.fsum(100 * cell.ours / cell.n for cell in cells) / len(cells),
        "difference": difference,
        "error": error,
        "z": difference / error if error else 0.0,
    }


class Answers:
    """The network's answers to ten thousand images, looked up by the images' digest."""

    def __init__(self, folder: Path, weights: Path, labels: np.ndarray) -> None:
        self.folder = folder / "answers"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.labels = labels
        self.digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        state = torch.load(weights, map_location="cpu", weights_only=True)["state_dict"]
        self.model = _network({key.removeprefix("module."): value for key, value in state.items()})

    def right(self, images: np.ndarray) -> np.ndarray:
        """Which of the images, uint8 (N, 32, 32, 3), are answered rightly: bool (N,)."""
        key = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()[:32]
        path = self.folder / f"{key}-{self.digest[:8]}.npy"
        if not path.exists():
            beside = path.with_suffix(".part.npy")
            np.save(beside, self._answer(torch.from_numpy(images).permute(0, 3, 1, 2)))
            beside.rename(path)
        return np.load(path) == self.labels

    def _answer(self, images: Tensor) -> np.ndarray:
        with torch.inference_mode():
            batches = [
                self.model((((batch / 255) - MEAN) / STD).contiguous(memory_format=torch.channels_last))
                for batch in images.split(32)
            ]
        return torch.cat(batches).argmax(1).to(torch.uint8).numpy()


def _network(state: dict[str, Tensor]) -> nn.Module:
    """ResNet-20 for inference: its norms folded into its convolutions, channels last."""
    from robustbench_ms.models.cifar_resnet import BasicBlock, resnet_cifar

    model = resnet_cifar(20)
    model.load_state_dict(state)
    model.eval()
    for part in [model, *(m for m in model.modules() if isinstance(m, BasicBlock))]:
        for one in ("1", "2") if isinstance(part, BasicBlock) else ("1",):
            conv, norm = getattr(part, "conv" + one), getattr(part, "bn" + one)
            setattr(part, "conv" + one, fuse_conv_bn_eval(conv, norm))
            setattr(part, "bn" + one, nn.Identity())
    return model.to(memory_format=torch.channels_last)


def _ours(clean: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    from robustbench_ms.corruptions import corrupt

    images = torch.from_numpy(clean).permute(0, 3, 1, 2)
    ids = torch.arange(len(clean))
    parts = [
        corrupt(batch, name, severity, profile="cifar", seed=seed, ids=number)
        for batch, number in zip(images.split(1000), ids.split(1000), strict=True)
    ]
    return torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()


def _cell(answers: Answers, folder: Path, clean: np.ndarray, name: str, severity: int, seeds: int) -> Cell:
    n = theirs = ours = changed = 0
    for seed in range(seeds if oracles()[name].draw else 1):
        a = answers.right(cell_images(folder, name, severity, seed, clean))
        b = answers.right(_ours(clean, name, severity, seed))
        n, theirs, ours, changed = n + len(a), theirs + a.sum(), ours + b.sum(), changed + (a != b).sum()
    return Cell(name, severity, n, int(theirs), int(ours), int(changed))


def _report(
    cells: list[Cell], mean: dict[str, float], clean: float, seeds: int, digest: str
) -> dict[str, object]:
    return {
        "format": 1,
        "network": "resnet20",
        "weights_sha256": digest,
        "seeds": seeds,
        "clean": round(clean, 4),
        "protocol": {name: PROTOCOL[name] for name in COMMON},
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-image", "pillow")},
        "limits": {"cell": CELL_LIMIT, "mean": MEAN_LIMIT},
        "mean": {key: round(value, 4) for key, value in mean.items()},
        "cells": [
            {
                **asdict(c),
                "difference": round(c.difference, 4),
                "error": round(c.error, 4),
                "z": round(c.z, 3),
            }
            for c in cells
        ],
    }


def _standing(path: Path, names: set[str], seeds: int) -> dict[tuple[str, int], Cell]:
    """The cells of a report by corruption and severity, of corruptions whose numbers are today's."""
    if not names:
        return {}
    report = json.loads(path.read_text(encoding="utf-8"))
    for name in sorted(names):
        if report["protocol"][name] != PROTOCOL[name] or report["seeds"] != seeds:
            raise SystemExit(f"{path}: {name} is of another number or of other seeds; answer it too")
    keys = ("corruption", "severity", "n", "oracle", "ours", "changed")
    found = [Cell(*(cell[key] for key in keys)) for cell in report["cells"] if cell["corruption"] in names]
    return {(cell.corruption, cell.severity): cell for cell in found}


def table(cells: list[Cell], mean: dict[str, float], clean: float, seeds: int) -> str:
    worst = max(cells, key=lambda cell: abs(cell.z))
    about = (
        f"All 10,000 test images, {len(cells)} cells, {seeds} seeds on both sides (one where nothing is drawn). "
        f"Clean accuracy {clean:.2f} %."
    )
    how = (
        "Accuracy in percent; difference is ours minus the oracle's; its paired standard error is the square "
        "root of the answers that changed, over all answers; z is their quotient."
    )
    verdict = (
        f"**Mean: oracle {mean['oracle']:.3f}, ours {mean['ours']:.3f}, difference {mean['difference']:+.3f} "
        f"± {mean['error']:.3f} (z {mean['z']:+.2f}; limit {MEAN_LIMIT}).** "
        f"Largest |z| of a cell: {abs(worst.z):.2f} ({worst.corruption} {worst.severity}; limit {CELL_LIMIT})."
    )
    lines = ["# ResNet-20 on CIFAR-10-C: the oracles' images and ours", "", about, how, "", verdict, ""]
    lines += ["Made by `python -m tests.oracles.resnet20_parity`.", ""]
    lines += [
        "| corruption | severity | oracle | ours | difference | error | z |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {c.corruption} | {c.severity} | {100 * c.oracle / c.n:.2f} | {100 * c.ours / c.n:.2f} "
        f"| {c.difference:+.3f} | {c.error:.3f} | {c.z:+.2f} |"
        for c in cells
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="ResNet-20 on the oracles' CIFAR-10-C and on ours.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", nargs="*", choices=COMMON, default=COMMON, metavar="NAME",
        help="answer these anew and take the others' cells from the report that stands",
    )  # fmt: skip
    parser.add_argument("--oracles-only", action="store_true", help="answer the oracles' images and stop")
    parser.add_argument("--out", type=Path, default=Path("results/cifar10-c/parity"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = cifar()
    if data is None:
        raise SystemExit("cifar10/test_images.npy is not under RBMS_DATA")
    clean, labels = np.array(data[0]), np.asarray(data[1])
    weights = Path(data[0].filename).parents[1] / WEIGHTS
    answers = Answers(arguments.folder, weights, labels)
    accuracy = 100 * float(answers.right(clean).mean())
    if abs(accuracy - CLEAN) > 0.005:
        raise SystemExit(f"clean accuracy is {accuracy:.2f} %, not {CLEAN} %: the wrong network or weights")
    if arguments.oracles_only:
        for seed in range(arguments.seeds):
            for name in COMMON:
                if seed == 0 or oracles()[name].draw:
                    for severity in SEVERITIES:
                        answers.right(cell_images(arguments.folder, name, severity, seed, clean))
        return 0
    cells = []
    stand = _standing(arguments.out / "resnet20.json", set(COMMON) - set(arguments.only), arguments.seeds)
    for name in COMMON:
        for severity in SEVERITIES:
            if (name, severity) in stand:
                cells.append(stand[name, severity])
                continue
            cells.append(_cell(answers, arguments.folder, clean, name, severity, arguments.seeds))
            sys.stderr.write(f"{name} {severity}: {cells[-1].difference:+.3f} z {cells[-1].z:+.2f}\n")
    mean = summary(cells)
    arguments.out.mkdir(parents=True, exist_ok=True)
    report = _report(cells, mean, accuracy, arguments.seeds, answers.digest)
    (arguments.out / "resnet20.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.out / "resnet20.md").write_text(table(cells, mean, accuracy, arguments.seeds))
    failed = [cell for cell in cells if abs(cell.z) > CELL_LIMIT]
    return 1 if failed or abs(mean["z"]) > MEAN_LIMIT else 0


if __name__ == "__main__":
    raise SystemExit(main())
