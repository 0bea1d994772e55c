"""The page of profiles: a part a device and setting, every time with its interval, what is unsteady marked."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from robustbench_ms.records.profile import profiles_of, slug, write_profile
from robustbench_ms.site import build
from robustbench_ms.site.build import build_site
from robustbench_ms.site.profiled import HEAD, profiled
from tests.records import ENVIRONMENT
from tests.sites import HOSTILE, results
from tests.test_profile_records import DEVICE, profile, row

OTHER = "Other Z1"


@pytest.fixture(autouse=True)
def no_examples(monkeypatch):
    """The corruptions are not compiled for these pages."""
    monkeypatch.setattr(build, "examples", lambda names, progress: {})


@pytest.fixture
def folder(tmp_path):
    """Records, and profiles on two devices, in two precisions, of which one row is busy and one failed."""
    place = results(tmp_path / "results", 2, lacking=False)
    busy = replace(row(8, 0.04), facts={"others": 0.9, "warm_up": {"calls": 10, "steady": True}})
    few = replace(row(4, 0.02), times={name: blocks[:2] for name, blocks in row(4, 0.02).times.items()})
    half = replace(row(1, 0.006), precision="bf16")
    slower = {
        name: [[t * (1 + 0.001 * i) for t in block] for i, block in enumerate(blocks)]
        for name, blocks in row().times.items()
    }
    made = [
        profile(replace(row(), times=slower), busy, few, half, replace(row(16), times={}, error=HOSTILE)),
        profile(row(1, 0.02), name=HOSTILE),
        replace(profile(row(1, 0.001), name="fast"), device=OTHER),
    ]
    for i, one in enumerate(made):
        write_profile(one, place / "profiles" / slug(one.device) / f"net-{i}.json")
    return place


def parts_in(site):
    text = (site / "profiles.html").read_text()
    (told,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    return text, [one["pictures"]["timed"] for one in json.loads(told)["tables"]]


def test_devices_and_precisions_are_never_mixed(folder, tmp_path):
    build_site([folder], tmp_path / "site")
    text, parts = parts_in(tmp_path / "site")
    assert re.findall(r"<h2[^>]*>([^<]*)<", text) == [
        f"{DEVICE}, bf16, 2 threads", f"{DEVICE}, fp32, 2 threads", f"{OTHER}, fp32, 2 threads",
    ]  # fmt: skip
    assert [[one["batch"] for one in part] for part in parts] == [[1], [1, 1, 4, 8], [1]]
    assert 'href="profiles.html"' in (tmp_path / "site" / "index.html").read_text()
    assert 'href="profiles.html"' in (tmp_path / "site" / "suite-made.html").read_text()


def test_times_have_their_intervals_and_unsteady_ones_are_marked(folder, tmp_path):
    build_site([folder], tmp_path / "site")
    text, (_, points, _) = parts_in(tmp_path / "site")
    (mine,) = [one for one in profiles_of(folder, "net-0") if one.device == DEVICE]
    for batch in (1, 8):
        wanted = mine.row((batch, "fp32", False, 2, False)).latency(0.5)
        (point,) = [one for one in points if one["model"] == "net" and one["batch"] == batch]
        assert point["median"] == pytest.approx([1e3 * end for end in wanted])
        assert bool(point["unsteady"]) == (batch == 8)
    (low, high) = points[0]["images"][1:]
    assert low < points[0]["images"][0] < high
    (few,) = [one for one in points if one["batch"] == 4]
    assert few["median"] is None  # two blocks say nothing certain
    assert text.count('aria-label="Unsteady: other processes used') == 1
    assert "all take 10 blocks" in text


def test_what_others_wrote_is_text(folder, tmp_path):
    build_site([folder], tmp_path / "site")
    text, _ = parts_in(tmp_path / "site")
    assert "<img src=x" not in text
    assert "\u202e" not in text
    assert "Not timed: net, batch 16: &lt;img src=x" in text


def test_versions_of_torch_and_threads_stand_apart():
    newer = replace(ENVIRONMENT, torch="9.9")
    one, other = profile(row()), replace(profile(row()), environments=(newer,))
    threads = profile(replace(row(), threads=1))
    found = profiled([one, other, threads])
    assert [(part["setting"], part["torch"]) for part in found] == [
        ("fp32, 1 thread", "2.11"), ("fp32, 2 threads", "2.11"), ("fp32, 2 threads", "9.9"),
    ]  # fmt: skip
    assert all(len(line["texts"]) == len(HEAD) - 1 for part in found for line in part["lines"])


def test_a_site_without_profiles_has_no_such_page(tmp_path):
    build_site([results(tmp_path / "results", 1, lacking=False)], tmp_path / "site")
    assert not (tmp_path / "site" / "profiles.html").exists()
    assert "profiles.html" not in (tmp_path / "site" / "index.html").read_text()
