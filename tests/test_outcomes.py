"""Parts of a data set's outcomes, put together again in its order."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_ms.tasks.outcomes import Items, Outcomes, merged


def part(rows, boxes):
    """A part whose sample i has boxes[i] boxes, numbered by the data set's row."""
    owner = np.repeat(np.arange(len(rows)), boxes)
    number = np.array([rows[o] * 10 + k for o in range(len(rows)) for k in range(boxes[o])], dtype=np.int64)
    return Outcomes({"value": np.array(rows) * 2}, {"boxes": Items(owner, {"number": number})}), np.array(
        rows
    )


def test_samples_and_items_come_back_in_order():
    found = merged([part([4, 0], [2, 1]), part([3, 1, 2], [0, 3, 1])])

    assert found.samples["value"].tolist() == [0, 2, 4, 6, 8]
    assert found.items["boxes"].owner.tolist() == [0, 1, 1, 1, 2, 4, 4]
    assert found.items["boxes"].columns["number"].tolist() == [0, 10, 11, 12, 20, 40, 41]


def test_a_row_that_is_missing_or_there_twice_is_refused():
    for rows in ([[0, 1], [1]], [[0], [2]]):
        with pytest.raises(ValueError, match="each once"):
            merged([part(r, [1] * len(r)) for r in rows])
