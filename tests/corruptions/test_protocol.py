"""No output changes under its protocol number."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_ms.corruptions.table import NAMES, PROFILES, PROTOCOL, SEVERITIES
from robustbench_ms.records.record import read_record
from tests.corruptions.protocol import describe, differs, stored


@pytest.mark.parametrize("name", NAMES)
def test_a_number_keeps_its_meaning(name):
    for profile in PROFILES:
        for severity in SEVERITIES:
            before, now = stored()[name][profile][severity - 1], describe(name, profile, severity)
            assert before["number"] == PROTOCOL[name], (
                f"{name} has number {PROTOCOL[name]}, protocol.json {before['number']}: "
                "run python -m tests.corruptions.protocol"
            )
            moved = differs(before, now)
            assert not moved, f"{name} {profile} {severity} changed under number {PROTOCOL[name]}: {moved}"


def test_every_corruption_is_kept_and_no_other():
    assert list(stored()) == list(NAMES)
    assert all(tuple(profiles) == PROFILES for profiles in stored().values())
    assert all(len(rows) == len(SEVERITIES) for profiles in stored().values() for rows in profiles.values())


def test_what_is_finer_than_one_level_in_thirty_values_is_seen():
    """The tolerances are tight enough to notice a wrong rounding, and a swapped severity."""
    entries = stored()["gaussian_blur"]["imagenet"]
    raised = {**entries[0], "mean": entries[0]["mean"] + 0.03}
    assert "mean" in differs(entries[0], raised)
    assert differs(entries[0], entries[1])
    assert not differs(entries[0], entries[0])


def test_what_is_committed_is_of_todays_numbers():
    found = set()
    for path in (Path(__file__).parents[2] / "results").glob("*/*.json"):
        conditions = [cell.condition for cell in read_record(path).measurements]
        found |= {(c["corruption"], c["corruption_protocol"]) for c in conditions if "corruption" in c}
    assert found == PROTOCOL.items()
