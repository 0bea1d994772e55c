"""What every corruption made of two fixed images when its protocol number was given: tests/data/protocol.json.

    python -m tests.corruptions.protocol

writes the file anew. Entries of a raised number (table.PROTOCOL) are replaced and new ones added; an entry
whose number stayed while its images moved is refused, for numbers already measured would change their
meaning under their name. `--same-number` overrides that, for what is finer than the tolerance.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustbench_ms.corruptions import SIDES, corrupt
from robustbench_ms.corruptions.table import NAMES, PROFILES, PROTOCOL, SEVERITIES

__all__ = ["FILE", "describe", "differs", "main", "stored"]

FILE = Path(__file__).parents[1] / "data" / "protocol.json"

# Measuring the committed records and the parity page again empties this.
_SHAPES = {"any-size": (96, 80), **{profile: (side, side) for profile, side in SIDES.items()}}
_BLOCKS = 4
_STEPS = 64
"""The thumbnail is kept in 64ths of a grey level."""

_TOLERANCE = {"mean": 0.02, "spread": 0.02, "thumbnail": 0.3}
"""In grey levels: what another processor's rounding may move (one level in one value of a hundred), no more."""


def _inputs(height: int, width: int) -> torch.Tensor:
    """Two images, uint8 (2, 3, H, W), from integer arithmetic alone.

    Slopes, a bright and a dark square, stripes of growing frequency and a hash over all of it: smooth, edged
    and noisy parts, in colour. Nothing is quite flat, where one rounding would decide of many values at once.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    images = []
    for turn in range(2):
        rows, columns = (y, x) if turn == 0 else (height - 1 - y, x)
        slopes = np.stack(
            [columns * 255 // width, rows * 255 // height, (rows + columns) * 255 // (height + width)]
        )
        image = slopes if turn == 0 else 255 - slopes // 2
        square = (rows * 4 // height == 1) & (columns * 4 // width == 2)
        image = np.where(square, np.array([250, 240, 230])[:, None, None], image)
        dark = (rows * 5 // height == 3) & (columns * 5 // width >= 3)
        image = np.where(dark, np.array([4, 10, 40])[:, None, None], image)
        stripes = (rows * 8 // height == 6) & ((columns * columns // max(8, width)) % 2 == 0)
        image = np.where(stripes, 200 - image // 2, image)
        grain = ((rows * 2654435761 + columns * 40503 + turn * 97) >> 7) % 41 - 20
        image = image + np.where(rows * 8 // height == 4, grain, grain // 8)
        images.append(image.clip(0, 255))
    return torch.from_numpy(np.stack(images).astype(np.uint8))


def describe(name: str, profile: str, severity: int) -> dict[str, Any]:
    """What the corruption makes of the fixed images now: number, mean, spread and 4 x 4 thumbnails."""
    height, width = _SHAPES[profile]
    images = corrupt(
        _inputs(height, width), name, severity, profile=profile, seed=0, ids=[3, 70_000]
    ).double()
    pooled = torch.nn.functional.adaptive_avg_pool2d(images, _BLOCKS)
    steps = (pooled * _STEPS).round().to(torch.int32).numpy().astype("<u2")
    return {
        "number": PROTOCOL[name],
        "mean": round(float(images.mean()), 4),
        "spread": round(float(images.std()), 4),
        "thumbnail": base64.b64encode(steps.tobytes()).decode(),
    }


def _thumbnail(entry: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(entry["thumbnail"]), "<u2").astype(float) / _STEPS


def differs(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What moved by more than rounding, in words; empty where nothing did."""
    found = [
        f"{key} {before[key]} -> {now[key]}"
        for key in ("mean", "spread")
        if abs(before[key] - now[key]) > _TOLERANCE[key]
    ]
    moved = np.abs(_thumbnail(before) - _thumbnail(now)).max()
    if moved > _TOLERANCE["thumbnail"]:
        found.append(f"a block of the thumbnail by {moved:.2f} grey levels")
    return ", ".join(found)


@cache
def stored() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The file: name -> profile -> the entries of severities 1..5."""
    entries: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(FILE.read_text(encoding="utf-8"))
    return entries


def _written(entries: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """JSON with one entry a line, so that a review sees which moved."""
    names = []
    for name, profiles in entries.items():
        parts = []
        for profile, rows in profiles.items():
            lines = ",\n".join("   " + json.dumps(row) for row in rows)
            parts.append(f"  {json.dumps(profile)}: [\n{lines}\n  ]")
        names.append(f" {json.dumps(name)}: {{\n" + ",\n".join(parts) + "\n }")
    return "{\n" + ",\n".join(names) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write tests/data/protocol.json.")
    parser.add_argument(
        "--same-number", action="store_true", help="replace entries whose number was not raised"
    )
    arguments = parser.parse_args()
    before = stored() if FILE.exists() else {}
    entries: dict[str, dict[str, list[dict[str, Any]]]] = {}
    refused = []
    for name in NAMES:
        entries[name] = {}
        for profile in PROFILES:
            entries[name][profile] = []
            for severity in SEVERITIES:
                now = describe(name, profile, severity)
                old = before.get(name, {}).get(profile, [])[severity - 1 : severity]
                if old and old[0]["number"] == now["number"]:
                    moved = differs(old[0], now)
                    if moved and not arguments.same_number:
                        refused.append(f"{name} {profile} {severity}: {moved}")
                    elif not moved:
                        now = old[0]
                entries[name][profile].append(now)
    if refused:
        sys.stderr.write(
            "\n".join([*refused, "raise PROTOCOL in robustbench_ms/corruptions/table.py first\n"])
        )
        return 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(_written(entries), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
