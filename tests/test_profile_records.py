"""Profiles in files: whole, told apart from records, and read by one reader."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.records.profile import (
    Profile,
    Row,
    profiles_of,
    read_profile,
    slug,
    write_profile,
)
from robustbench_ms.records.reader import read
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.reports.profiles import profiles_csv, profiles_json, profiles_markdown
from robustbench_ms.reports.profiles_page import over, plain_among, profiles_page
from tests.records import ENVIRONMENT
from tests.test_record import KEPT

DEVICE = "Make X9, 2 cores"
QUIET = {"warm_up": {"calls": 10, "steady": True}, "others": 0.02, "memory": 2_500_000}


def row(batch=1, seconds=0.01, blocks=10, calls=40, **fields):
    """A row whose calls take `seconds`, a little more from one to the next, and resnet18's a fifth."""
    one = [[seconds * (1 + 0.0001 * i) for i in range(calls)] for _ in range(blocks)]
    times = {"host": one, "yardstick": [[0.2 * s for s in block] for block in one]}
    return Row(batch, "fp32", False, 2, False, times=times, facts=dict(QUIET), **fields)


def profile(*rows, name="net", **fields):
    costs = {
        "parameters": 1_500_000,
        "macs_run": 2_000_000_000,
        "activations": 3_000_000,
        "input": [3, 32, 32],
    }
    card = {"name": name, "build": "tests.fakes:build", "args": {}, "input": {}, **fields}
    return Profile(DEVICE, card, costs, (ENVIRONMENT,), rows or (row(),))


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "results" / "profiles" / slug(DEVICE) / "net.json"
    write_profile(profile(row(), row(8, 0.04, started="2026-01-01T00:00:00Z")), path)
    return path


def edited(path, change):
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def test_it_is_read_as_it_was_written_a_line_a_row(kept):
    found = read_profile(kept)

    assert found.rows[1] == row(8, 0.04, started="2026-01-01T00:00:00Z")
    assert replace(found, path=None) == profile(*found.rows)
    assert sum('{"batch": ' in line for line in kept.read_text().splitlines()) == 2
    assert [one.path for one in profiles_of(kept.parents[2], "net")] == [kept]


def test_one_reader_knows_both_kinds(kept):
    assert isinstance(read(kept), Profile)
    assert isinstance(read(KEPT / "format-2.json"), Record)
    with pytest.raises(BadFile, match=r"a profile, and no record of cells"):
        read_record(kept)
    edited(kept, lambda told: told.update(kind="dream"))
    with pytest.raises(BadFile, match=r"of kind 'dream'"):
        read(kept)
    with pytest.raises(BadFile, match="No such file"):
        read(kept.with_name("none.json"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.update(format=2), "a profile of format 2, newer than this version reads"),
        (
            lambda t: t["rows"][0]["times"]["host"][0].__setitem__(0, 0.02),
            "damaged or edited.*rbms profile net",
        ),
        (lambda t: t.pop("digest"), "not a whole profile: KeyError: 'digest'"),
        (lambda t: t.pop("kind"), "not a profile"),
    ],
)
def test_what_is_not_as_it_was_written_is_named(kept, change, told):
    edited(kept, change)

    with pytest.raises(BadFile, match=told):
        read_profile(kept)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (replace(row(), environment=1), "a row's environment"),
        (replace(row(), batch=0), "a batch of 1 or more"),
        (replace(row(), times={**row().times, "host": [[0.0]] * 10}), "no seconds above 0"),
        (replace(row(), times={**row().times, "yardstick": []}), "as many of the yardstick"),
        (replace(row(), times={}), "as many of the yardstick"),
    ],
)
def test_rows_that_no_writer_writes_are_refused(kept, wrong, told):
    write_profile(profile(wrong), kept)

    with pytest.raises(BadFile, match=told):
        read_profile(kept)


def test_a_row_stands_in_it_once(kept):
    write_profile(profile(row(), row()), kept)

    with pytest.raises(BadFile, match="a row stands in it twice"):
        read_profile(kept)


def test_another_devices_profile_under_this_ones_name_is_refused(kept):
    other = kept.parents[1] / "other-device" / "net.json"
    other.parent.mkdir()
    shutil.copy(kept, other)

    with pytest.raises(BadFile, match=r"a profile of Make X9, 2 cores, .* its folder is make-x9-2-cores"):
        read_profile(other)


def test_another_grid_adds_rows_and_the_same_key_replaces_its_own():
    again, more = replace(row(8, 0.05), started="now"), row(64, 0.3)
    joined, replaced = profile(again, more).joined(profile(row(), row(8, 0.04)))

    assert [(r.batch, r.started) for r in joined.rows] == [(1, ""), (8, "now"), (64, "")]
    assert [r.batch for r in replaced] == [8]


def test_rows_keep_the_environment_that_they_were_made_in():
    old = replace(profile(row()), environments=(replace(ENVIRONMENT, torch="2.0"),))
    joined, _ = profile(row(8)).joined(old)

    assert [joined.environments[r.environment].torch for r in joined.rows] == ["2.0", "2.11"]


def test_rows_of_another_network_of_that_name_go():
    joined, replaced = profile(row(8), args={"width": 2}).joined(profile(row(), row(8)))

    assert [r.batch for r in joined.rows] == [8]
    assert len(replaced) == 2


def test_percentiles_are_absent_with_the_calls_that_they_need():
    few = row(calls=5)

    assert few.latency(0.5) is not None
    assert few.latency(0.99) is None
    assert row(blocks=9, calls=100).latency(0.5) is None  # calls enough, and too few blocks
    text = profiles_markdown([(profile(few), few)])
    assert "p99 needs 368 calls, all need 10 blocks" in text
    assert "n = 50 calls in 10 blocks" in text
    assert "takes calls as independent" in text
    assert "CV" in text


def test_times_beside_a_busy_machine_are_marked():
    busy = replace(row(), facts={**QUIET, "others": 0.5})

    assert row().doubts == ()
    assert "other processes used 0.50 cores" in busy.doubts[0]
    text = profiles_markdown([(profile(busy), busy)])
    assert "| net*" in text
    assert "* net, batch 1, fp32: other processes used 0.50 cores" in text


def test_blocks_that_vary_and_a_call_that_never_became_steady_are_doubts():
    host = [[0.01 * (1 + 0.2 * (i % 2))] * 40 for i in range(10)]
    unsteady = replace(row(), times={"host": host, "yardstick": [[0.01] * 40] * 10})
    cold = replace(row(), facts={"warm_up": {"calls": 4, "steady": False}})

    assert "its blocks vary by 9.6%" in unsteady.doubts[0]
    assert "not steady after 4 calls" in cold.doubts[0]


def test_the_table_and_plain_data_say_the_same():
    one = row(8, 0.04)
    failed = Row(64, "fp32", False, 2, False, error="it takes 8 images at most")
    rows = [(profile(), one), (profile(), failed)]
    text, (told, none) = profiles_markdown(rows), profiles_json(rows)

    assert told["images_per_second"] == pytest.approx(8 / 0.04, rel=0.01)
    assert told["over_yardstick"]["mean"] == pytest.approx(0.2)
    assert "| 0.200 (0.200-0.200)" in text
    cells = [cell.strip() for cell in text.splitlines()[2].split("|")]
    assert cells[-5:-1] == ["2.5", "1.500", "2.000", "3.000"]
    assert none["error"] == "it takes 8 images at most"
    assert "net, batch 64, fp32: it takes 8 images at most" in text


def test_accuracy_below_99_percent_is_marked():
    def with_accuracy(value):
        told = {"suite": "quick", "metric": "accuracy", "value": value, "fp32": 0.9}
        return replace(row(), precision="bf16", facts={**QUIET, "kept": told})

    kept, lost = with_accuracy(0.895), with_accuracy(0.88)
    text = profiles_markdown([(profile(), kept), (profile(), lost)])
    assert not kept.loses
    assert lost.loses
    assert "99.44% |" in text
    assert "97.78% (!)" in text
    assert "MLPerf" in text


def test_the_time_of_compiling_stands_apart():
    compiled = replace(row(), compile=True, facts={**QUIET, "compiling": 41.5})
    text = profiles_markdown([(profile(), compiled)])

    assert "compiling, s" in text
    assert "| fp32 compiled |" in text
    assert " 41.5 |" in text
    assert "compiling" not in profiles_markdown([(profile(), row())])


def test_csv_has_timms_columns():
    training = replace(row(8, 0.04), train=True)
    head, one, other = profiles_csv([(profile(), row(8, 0.04)), (profile(), training)]).splitlines()

    names = (
        "model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size,infer_gmacs,infer_macts"
    )
    assert head.startswith(names)
    told = dict(zip(head.split(","), one.split(","), strict=False))
    assert told["infer_samples_per_sec"] == "199.61"
    assert told["infer_step_time"] == "40.078"
    assert (told["infer_gmacs"], told["infer_macts"], told["param_count"]) == ("2.00", "3.00", "1.50")
    told = dict(zip(head.split(","), other.split(","), strict=False))
    assert (told["infer_samples_per_sec"], told["train_step_time"]) == ("", "40.078")


def test_check_reads_profiles(rbms, kept):
    assert f"{kept}: 2 rows, all well" in rbms("check", kept).out
    assert rbms("check", kept.parents[1]).out.startswith(str(kept))
    edited(kept, lambda told: told["card"].update(name="other"))
    found = rbms("check", kept.parent)
    assert found.code == 1
    assert "damaged or edited" in found.out


def test_profiles_is_no_name_for_a_suite(write_suite):
    with pytest.raises(UserError, match="'profiles' is no name for a suite"):
        read_suite(write_suite("profiles"))


def test_a_leaderboard_finds_a_cards_speed_on_each_device(kept):
    bf16 = replace(row(), precision="bf16")
    other = replace(profile(bf16, row(seconds=0.02), replace(row(), compile=True)), device="Other")
    write_profile(other, kept.parents[1] / "other" / "net.json")
    found = list(profiles_of(kept.parents[2], "net"))

    assert {one.device: round(one.plain().images_per_second) for one in found} == {DEVICE: 100, "Other": 50}
    assert [one.plain(64) for one in found] == [None, None]


def test_time_over_the_plain_network():
    plain = row()
    same_turns = replace(
        row(seconds=0.015), times={**row(seconds=0.015).times, "yardstick": plain.times["yardstick"]}
    )
    other_turns = row(seconds=0.01)  # whose resnet18 took as long, relative to it
    slow = replace(plain, times={"host": other_turns.times["host"], "yardstick": [[0.001] * 40] * 10})

    assert over(same_turns, plain) == pytest.approx((1.5, 1.5, 1.5))
    assert over(slow, plain) == pytest.approx((2.0,) * 3, rel=0.01)


def test_the_page_of_committed_profiles(rbms, tmp_path):
    args = {"depth": 20, "classes": 10}
    nets = [
        profile(row(), name="net", args=args),
        profile(row(), name="wide", args={**args, "width": 2}),
        profile(row(), name="net-ema", args={**args, "attention": "ema", "factor": 8}),
        profile(replace(row(), facts={**QUIET, "others": 1.0}), name="busy", args={"classes": 1}),
    ]
    assert plain_among(nets[2], nets).name == "net"
    assert plain_among(nets[0], nets) is None
    strided = replace(nets[2], card={**nets[2].card, "memory_format": "channels_last"})
    assert plain_among(strided, nets) is None
    for one in nets:
        write_profile(one, tmp_path / "profiles" / slug(DEVICE) / f"{one.name}.json")
    page = tmp_path / "README.md"

    assert rbms("profile", "--page", page, "--results", tmp_path).code == 0
    text = page.read_text()
    assert text == profiles_page(profiles_of(tmp_path))
    assert "| net-ema | " in text
    assert "1.000 (1.000-1.000) | net " in text
    assert "other processes used 1.00 cores" in text
    none = rbms("profile", "--page", page, "--results", tmp_path / "none")
    assert (none.code, "no profiles in" in none.err) == (2, True)
