"""How an engine is spelled, planned and printed; nothing is started."""

from __future__ import annotations

import builtins

import pytest

import robustbench_ms as rbms
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.executors import ray, submitting
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.engines import Engine, minutes
from robustbench_ms.specs.settings import Settings
from tests.test_workers import of_module


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("rya", "--on: no engine named 'rya'; did you mean 'ray'"),
        ("", "--on: no engine named ''; known: ray, slurm"),
        ("ray:", "'' is no OPTION=VALUE"),
        ("ray:cpus", "'cpus' is no OPTION=VALUE"),
        ("ray:cpu=4", "--on ray: no option named 'cpu'; did you mean 'cpus'"),
        ("ray:cpus=0", "--on ray: cpus must be a number of 1 or more, not '0'"),
        ("ray:cpus=2,cpus=3", "--on ray: cpus stands twice"),
        ("ray:partition=gpu", "--on ray: no option named 'partition'"),
        ("slurm:worker=8", "no option named 'worker'; did you mean 'workers'"),
        ("slurm:gpus=4", "a worker uses one GPU, not gpus=4; ask for more workers"),
        ("slurm:time=1h", "time is minutes, HH:MM:SS or D-HH:MM:SS, not '1h'"),
        ("slurm:time=00:00:00", "leaves no time to work"),
        ("slurm:cluster=lokal", "cluster is slurm or local, not 'lokal'"),
    ],
)
def test_a_spelling_that_means_nothing_is_told(spelling, words):
    with pytest.raises(UserError) as found:
        Engine.read(spelling)
    assert words in str(found.value)


def test_a_spelling_is_kept():
    for spelling in ("ray", "ray:cpus=4", "slurm:partition=gpu,time=01:00:00,workers=8"):
        assert str(Engine.read(spelling)) == spelling
    assert (
        Engine.read("slurm:python=apptainer exec x.sif python").options["python"]
        == "apptainer exec x.sif python"
    )


@pytest.mark.parametrize(
    ("time", "wanted"),
    [
        ("5", 5), ("5:00", 5), ("5:01", 6), ("01:00:00", 60), ("00:00:30", 1), ("1-00", 1440), ("2-01:30", 2970),
        ("1-00:00:01", 1441),
    ],
)  # fmt: skip
def test_time_is_whole_minutes_rounded_up(time, wanted):
    assert minutes(time) == wanted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"executor": "devices", "on": Engine("ray")},
            "executor devices and on ray both say who starts the workers",
        ),
        (
            {"workers": 2, "on": Engine.read("ray:workers=3")},
            "2 workers and ray:workers=3 are not the same number",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        Settings(**options)


def test_python_spells_it_alike(tiny):
    with pytest.raises(UserError, match="no engine named 'slrum'; did you mean 'slurm'"):
        rbms.run(tiny, "tests.fakes:build", on="slrum")


@pytest.mark.parametrize(("package", "on", "home"), [("ray", "ray", ray), ("submitit", "slurm", submitting)])
def test_a_package_that_is_not_installed_names_the_extra(tiny, places, monkeypatch, package, on, home):
    honest = builtins.__import__

    def without(name, *rest, **named):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return honest(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        UserError, match=rf'--on {on} needs the package .{package}.: pip install "robustbench-ms\[{on}\]"'
    ):
        list(run(read_suite(tiny), [of_module("build")], places, Settings(on=Engine(on))))


def test_plan_tells_jobs_workers_and_what_a_worker_must_have(rbms, tiny, tmp_path):
    told = rbms(
        "plan", tiny, "-m", "tests.fakes:build", "-m", "timm:resnet18", "--data", tmp_path / "data",
        "--on", "slurm:workers=8",
    )  # fmt: skip
    assert told.code == 0
    assert "On slurm:workers=8: 5 jobs, a condition for all models each, for 8 workers." in told.out
    assert (
        f"the data set arrays (images.npy, labels.npy in {tmp_path / 'data'}, or its RBMS_DATA)" in told.out
    )
    assert "the module tests.fakes" in told.out
    assert "timm" not in told.out.partition("On slurm")[2]
    assert f"the folder {tmp_path / 'cache'}, which it shares with this machine" in told.out
    ray = rbms("plan", tiny, "-m", "tests.fakes:build", "--on", "ray:cpus=4", "--json").json()["on"]
    assert ray["jobs"] == 5
    assert ray["workers"] == "a worker for each GPU of the cluster, or for each 4 cores"
    assert not any("shares" in need for need in ray["needs"])


def test_the_script_of_a_job(rbms, tiny, tmp_path, snapshot):
    before = snapshot(tmp_path)
    asked = ("run", tiny, "-m", "tests.fakes:build", "--dry-run", "--on")

    options = "partition=gpu,gpus=1,cpus=4,time=01:00:00,workers=8,mem=16G,python=apptainer exec x.sif python"
    told = rbms(*asked, f"slurm:{options}")

    lines = told.out.splitlines()
    assert lines[0] == "#!/bin/bash"
    (name,) = [line for line in lines if "--job-name" in line]
    token = name.removeprefix("#SBATCH --job-name=rbms-").removesuffix("-0-0")
    folder = tmp_path / "cache" / "runs" / f"slurm-{token}" / "jobs"
    flags = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert flags >= {
        "partition=gpu", "gpus-per-node=1", "cpus-per-task=4", "time=60", "mem=16G", "nodes=1", "ntasks-per-node=1",
        f"output={folder}/%j_0_log.out", "open-mode=append",
    }  # fmt: skip
    (command,) = [line for line in lines if line.startswith("srun")]
    assert "--cpus-per-task=4" in command
    assert command.endswith(f"apptainer exec x.sif python -u -m submitit.core._submit {folder}")
    assert snapshot(tmp_path) == before
    # Another model is another run; another number of workers is the same one.
    assert rbms(*asked, "slurm:workers=2").out.count(token) == 0  # cpus are the threads
    assert rbms(*asked, "slurm:cpus=4").out.count(token) > 0


def test_a_dry_run_of_something_else_is_refused(rbms, tiny):
    told = rbms("run", tiny, "-m", "tests.fakes:build", "--dry-run", "--on", "ray")
    assert told.code == 2
    assert "--dry-run prints the script of a job of Slurm; it goes with --on slurm" in told.err
