"""A record as a table of pandas (`pip install pandas`; robustbench_ms does not need it): a row a cell.

python record_in_pandas.py results/quick/digits-resnet8@0.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import robustbench_ms as rbms


def table(path: Path) -> pd.DataFrame:
    """A row a finished cell: what it was shown, n, and each metric's mean."""
    record = rbms.read_record(path)
    rows = []
    for cell in record.measurements:
        shown = dict(pair.split("=") for pair in cell.key.split(",") if "=" in pair)
        rows.append(shown | {"n": cell.n} | {name: value["mean"] for name, value in cell.values.items()})  # noqa: PD011 - no table's
    return pd.DataFrame(rows)


if __name__ == "__main__":
    cells = table(Path(sys.argv[1]))
    print(cells.groupby("corruption")["accuracy"].mean().sort_values().round(3).to_string())
