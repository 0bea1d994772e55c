"""rbms profile: what it prints, and what it refuses."""

from __future__ import annotations

import pytest

from robustbench_ms.profiling import run
from tests.fakes import Coarse
from tests.profiled import hurry


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    hurry(monkeypatch)


def test_the_command(rbms, places):
    options = ("--batch", "1,2", "--blocks", "2", "--results", places.results)
    found = rbms("profile", "tests.fakes:build", *options)

    assert found.code == 0, found.err
    assert "build, batch 2, fp32: " in found.err
    assert "nothing of it holds on another device" in found.out
    assert found.out.splitlines()[-1].endswith("build.json")
    told = rbms("profile", "tests.fakes:build", *options, "--json").json()
    assert [row["batch"] for row in told["rows"]] == [1, 2]
    assert told["rows"][0]["over_yardstick"] is None  # two blocks give no interval
    text = rbms("profile", "tests.fakes:build", *options, "--format", "csv").out
    assert text.startswith("model,infer_samples_per_sec")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--trace", "t.json"), "--trace is of modules"),
        (("--batch", "1,two"), "--batch: whole numbers are wanted, as 1,8,64, not 'two'"),
        (("--batch", "0"), "a batch has 1 image or more, not 0"),
        (("--precision", "fp23"), "no precision named 'fp23'; did you mean 'fp32'"),
        (("--format", "cvs"), "no format named 'cvs'; did you mean 'csv'"),
    ],
)
def test_the_commands_mistakes(rbms, words, told):
    found = rbms("profile", "tests.fakes:build", *words)

    assert found.code == 2
    assert told in found.err


def test_a_model_that_fails_ends_in_exit_1(rbms, places, monkeypatch):
    monkeypatch.setattr(run, "reason", lambda _: "it will not")
    monkeypatch.setattr(Coarse, "forward", lambda *_: 1 / 0)
    monkeypatch.setattr(run, "yardstick", None)
    found = rbms("profile", "tests.fakes:build", "--results", places.results)

    assert found.code == 1
    assert "build, batch 1, fp32: it will not" in found.out


def test_the_command_needs_a_model(rbms):
    found = rbms("profile")

    assert (found.code, "no model given; name one, as rbms profile resnet20" in found.err) == (2, True)
