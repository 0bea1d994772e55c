"""The command line: what each verb says, in words and as JSON, and what it says of mistakes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustbench_ms.catalog.find import card_names, suite_names
from robustbench_ms.cli import _leave, main
from robustbench_ms.corruptions.cpu.compile import _pool
from robustbench_ms.corruptions.table import COMMON, EXTRA
from robustbench_ms.records.record import read_record
from tests import fakes

ROOT = Path(__file__).parent.parent

LIGHT = """
import sys
from robustbench_ms.cli import main
for argv in (["list"], ["list", "--json"], ["show", "quick"], ["show", "resnet20", "--json"], ["plan", "quick"],
             ["plan", "cifar10-c", "-m", "resnet20", "-m", "digits-resnet8", "--limit", "7", "--json"], ["--help"]):
    sys.argv = ["rbms", *argv]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, (argv, stop.code)
    heavy = {"torch", "torchvision", "timm", "numba", "cv2", "scipy", "sklearn", "numpy"} & set(sys.modules)
    assert not heavy, (argv, heavy)
"""


def test_listing_showing_and_planning_import_nothing_heavy(tmp_path):
    subprocess.run([sys.executable, "-c", LIGHT], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_list(rbms):
    told = rbms("list").out
    found = rbms("list", "--json").json()

    assert [s["name"] for s in found["suites"]] == suite_names()
    assert [m["name"] for m in found["models"]] == card_names()
    assert found["corruptions"] == {"common": list(COMMON), "extra": list(EXTRA)}
    assert {s["name"]: s["cells"] for s in found["suites"]}["cifar10-c"] == 76
    for name in [*suite_names(), *card_names(), *COMMON, *EXTRA]:
        assert name in told


def test_plan_says_what_a_run_costs_and_what_is_measured(rbms, tmp_path):
    from safetensors.torch import load_file

    from robustbench_ms.catalog.find import find_card

    found = rbms("plan", "cifar10-c", "-m", "resnet20", "-m", "resnet32", "--json").json()
    assert (found["cells"], found["images_per_cell"]) == (152, 10_000)
    assert found["conditions"][:2] == ["clean", "corruption=gaussian_noise,severity=1"]
    assert found["measured"] == {"resnet20": [], "resnet32": []}
    assert "152 cells, 1,520,000 answers" in rbms("plan", "cifar10-c", "-m", "resnet20", "-m", "resnet32").out
    assert "76 conditions of 10,000 images" in rbms("plan", "cifar10-c").out
    assert "100 images" in rbms("plan", "cifar10-c", "--limit", "100").out
    # Replicates are cells of their own; what is measured is known by the digest of the file of weights.
    suite = tmp_path / "one.toml"
    suite.write_text('dataset = "digits"\nlimit = 20\n')
    assert rbms("run", suite, "-m", "digits-resnet8@1").code == 0
    found = rbms("plan", suite, "-m", "digits-resnet8", "-m", "tests.fakes:build", "--json").json()
    assert found["measured"] == {
        "digits-resnet8@0": [],
        "digits-resnet8@1": ["clean"],
        "digits-resnet8@2": [],
        "tests.fakes:build": None,
    }
    assert found["cells"] == 4
    # What the cache holds beside the records is told by its cells' headers.
    nothing = ("--results", tmp_path / "nothing")
    assert found["probably_finished"]["digits-resnet8@1"] == ["clean"]
    text = rbms("plan", suite, "-m", "digits-resnet8").out
    assert "digits-resnet8@1: 1 of 1 cells in results/one-limit20, by the" in text
    text = rbms("plan", suite, "-m", "digits-resnet8", *nothing).out
    assert (
        "digits-resnet8@1: 0 of 1 cells in nothing/one-limit20, 1 more probably finished in the cache, by"
        in text
    )
    assert "digits-resnet8@2: 0 of 1 cells in nothing/one-limit20, by the" in text
    for other in (["--limit", 19], ["--cache", tmp_path / "nothing"]):
        found = rbms("plan", suite, "-m", "digits-resnet8@1", *other, "--json").json()
        assert found["probably_finished"] == {"digits-resnet8@1": []}
    # Other weights under the same name are not what was measured.
    card = find_card("digits-resnet8@1")
    other = tmp_path / "digits-resnet8@1.toml"
    save_file(load_file(card.folder / "weights" / "digits-resnet8-0.safetensors"), tmp_path / "w.safetensors")
    other.write_text(
        f'build = "{card.build}"\n[args]\ndepth = 8\nwidth = 12\nclasses = 10\n'
        f'[weights]\nfile = "w.safetensors"\nsha256 = "{"0" * 64}"\n'
    )
    assert rbms("plan", suite, "-m", other, "--json").json()["measured"] == {"digits-resnet8@1": []}


def test_run_as_json_and_in_words(rbms, tiny, tmp_path):
    found = rbms("run", tiny, "-m", "tests.fakes:build", "--json").json()

    (record,) = found["records"]
    assert record == {"path": str(tmp_path / "results/tiny/tests.fakes-build.json"), "written": True}
    assert found["stopped"] == []
    ((row,),) = [table["rows"] for table in found["tables"]]
    values = read_record(Path(record["path"])).cell("clean").values["accuracy"]
    assert row["values"]["clean_accuracy"]["mean"] == values["mean"]
    assert row["rank"] == 1
    again = rbms("run", tiny, "-m", "tests.fakes:build")
    assert again.code == 0
    assert "5 of 5 cells are finished already" in again.err
    assert "tests.fakes-build.json (unchanged)" in again.out
    assert f"{values['mean']:.2%}"[:-1] in again.out
    assert (
        "nobody said what it wants to be shown; RGB in 0..1, mean 0 0 0, std 1 1 1, canvas size" in again.err
    )


# a model of one's own, in one line


def test_ones_own_weights_and_input(rbms, tiny, tmp_path):
    path = fakes.weights_of(fakes.Coarse(3), tmp_path)
    options = ["--mean", "0.1,0.2,0.3", "--std", "0.5 0.6 0.7"]

    found = rbms(
        "run", tiny, "-m", "tests.fakes:build", "--weights", path, *options, "--name", "mine", "--json"
    )

    assert found.code == 0
    record = read_record(tmp_path / "results" / "tiny" / "mine.json")
    assert record.card["input"]["mean"] == [0.1, 0.2, 0.3]
    assert record.card["input"]["std"] == [0.5, 0.6, 0.7]
    assert not record.card["input"]["assumed"]
    assert record.card["weights"]["file"] == "w.safetensors"
    import numpy as np

    images = torch.from_numpy(np.load(tiny.parent / "images.npy")).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    with torch.inference_mode():
        answers = fakes.Coarse(3)((images - mean) / std).argmax(1).numpy()
    assert np.array_equal(record.samples().row("clean"), answers == np.load(tiny.parent / "labels.npy"))


def test_a_function_in_the_working_folder(rbms, tiny, tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text(
        "from tests.fakes import build\n\ndef make():\n    return build(seed=4)\n"
    )
    monkeypatch.chdir(tmp_path)

    found = rbms("run", tiny, "-m", "own_nets:make")

    assert found.code == 0
    assert "results/tiny/own_nets-make.json" in found.out


def test_a_card_in_a_file(rbms, tiny, tmp_path):
    fakes.weights_of(fakes.Coarse(3), tmp_path)
    card = tmp_path / "mine.toml"
    card.write_text(
        'build = "tests.fakes:build"\n[args]\nclasses = 10\n[input]\nmean = [0.4]\nstd = [0.2]\n'
        '[weights]\nfile = "w.safetensors"\n'
    )

    assert rbms("run", tiny, "-m", card).code == 0
    record = read_record(tmp_path / "results" / "tiny" / "mine.json")
    assert record.card["args"] == {"classes": 10}
    assert record.card["input"]["mean"] == [0.4]


def test_a_model_of_timm_with_ones_own_weights(rbms, tiny, tmp_path):
    import timm

    path = fakes.weights_of(timm.create_model("test_resnet", num_classes=10), tmp_path)

    found = rbms("run", tiny, "-m", "timm:test_resnet", "--weights", path, "--limit", "8", "--json")

    assert found.code == 0
    record = read_record(tmp_path / "results" / "tiny-limit8" / "timm-test_resnet.json")
    known = timm.create_model("test_resnet").pretrained_cfg
    assert record.card["input"]["size"] == known["input_size"][-1]
    assert record.card["input"]["mean"] == list(known["mean"])
    assert record.card["input"]["crop"] == known["crop_pct"]
    # A size alone leaves the rest as the library knows it.
    assert (
        rbms("run", tiny, "-m", "timm:test_resnet", "--weights", path, "--size", "32", "--limit", "8").code
        == 0
    )
    small = read_record(tmp_path / "results" / "tiny-limit8" / "timm-test_resnet.json").card["input"]
    # But for its crop, as the pictures have that size.
    assert small == {**record.card["input"], "size": 32, "fit": "resize", "crop": 1.0}


def test_a_model_of_torchvision_with_ones_own_weights(rbms, tiny, tmp_path):
    from torchvision import models

    path = fakes.weights_of(models.squeezenet1_1(num_classes=10), tmp_path)

    found = rbms(
        "run",
        tiny,
        "-m",
        "torchvision:squeezenet1_1",
        "--weights",
        path,
        "--limit",
        "4",
        "--size",
        "64",
        "--json",
    )

    assert found.code == 0
    record = read_record(tmp_path / "results" / "tiny-limit4" / "torchvision-squeezenet1_1.json")
    assert record.card["input"]["mean"] == [0.485, 0.456, 0.406]
    assert record.card["input"]["size"] == 64
    assert record.card["input"]["fit"] == "crop"


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("timm:resnet81", "did you mean 'resnet"),
        ("torchvision:resnet81", "did you mean 'resnet"),
        ("torchvision:fasterrcnn_resnet50_fpn", "does detection, and suite tiny asks for classification"),
        ("onnx:lost.onnx", "lost.onnx are not in"),
        ("resnet2O", "did you mean 'resnet20'"),
        ("tests.fakes:biuld", "tests.fakes has no 'biuld'; did you mean 'build'"),
        ("tests.faces:build", "no module named 'tests.faces'"),
        ("nowhere:build", "no module named 'nowhere'"),
        ("tests.fakes:returns_text", "returned str, which cannot be called"),
        ("nowhere.toml", "nowhere.toml: No such file"),
        ("digits-resnet8@9", "no weights of seed '9'"),
        ("resnet20@0", "no weights of seed '0'"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_the_likely_one(rbms, tiny, tmp_path, spelling, words):
    found = rbms("run", tiny, "-m", spelling)

    assert found.code == 2
    assert words in found.err
    assert len(found.err) < 1500
    planned = rbms("plan", tiny, "-m", spelling)
    if (
        spelling.endswith(("81", "2O", "@9", "@0", ".toml")) or "nowhere" in spelling
    ):  # what is known before it is built
        assert (planned.code, planned.err) == (found.code, found.err)
    assert not list((tmp_path / "results").rglob("*.*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "no model given; name one with -m"),
        (["-m", "tests.fakes:build", "-m", "tests.fakes:build"], "two models are named 'tests.fakes:build'"),
        (
            ["-m", "tests.fakes:build", "-m", "tests.fakes:other", "--weights", "w"],
            "--weights speak of one model, and 2",
        ),
        (
            ["-m", "tests.fakes:build", "--weights", "absent.safetensors"],
            "--weights: no file absent.safetensors",
        ),
        (["-m", "tests.fakes:build", "--mean", "0.5"], "--mean and --std go together"),
        (["-m", "tests.fakes:build", "--mean", "a,b,c", "--std", "1"], "--mean: one or three numbers"),
        (["-m", "tests.fakes:build", "--mean", "1,2", "--std", "1"], "--mean: one or three numbers"),
        (["-m", "tests.fakes:build", "--mean", "nan", "--std", "1"], "--mean: one or three numbers"),
        (["-m", "tests.fakes:build", "--mean", "0", "--std", "0"], "--std: numbers above 0"),
        (["-m", "tests.fakes:build", "--size", "0"], "--size: a side in pixels"),
        (["-m", "tests.fakes:build", "--limit", "0"], "--limit must be 1 or more"),
        (["-m", "tests.fakes:build", "--name", "..."], "a record without a name"),
        (["-m", "tests.fakes:build", "--batch-size", "0"], "greater than or equal to 1"),
        (["-m", "tests.fakes:build", "--bach-size", "8"], "--batch-size"),
    ],
)
def test_a_mistake_in_the_options_is_told(rbms, tiny, tmp_path, options, words):
    found = rbms("run", tiny, *options)

    assert found.code == 2
    assert words in found.err
    assert not list((tmp_path / "results").rglob("*.*"))


def test_a_suite_that_is_not_there_is_named_with_the_likely_one(rbms):
    for verb in (["run"], ["plan"]):
        found = rbms(*verb, "cifar10c", "-m", "resnet20")
        assert found.code == 2
        assert "no suite named 'cifar10c'; did you mean 'cifar10-c'?" in found.err
    assert "did you mean 'resnet20'" in rbms("show", "resnet2").err


def test_a_record_that_cannot_be_written_is_one_sentence_and_its_cells_are_kept(rbms, tiny, tmp_path):
    path = tmp_path / "results" / "tiny" / "tests.fakes-build.json"
    path.mkdir(parents=True)

    found = rbms("run", tiny, "-m", "tests.fakes:build")

    assert found.code == 2
    assert found.err.splitlines()[-1] == (
        f"rbms: the record {path} could not be written (Is a directory); what stood there is left, and the same "
        "command goes on from the finished cells"
    )
    assert f"{path}: Is a directory" in rbms("check", path.parent).out
    path.rmdir()
    assert "5 of 5 cells are finished already" in rbms("run", tiny, "-m", "tests.fakes:build").err


def test_an_interrupt_says_that_the_run_goes_on(rbms, tiny, tmp_path):
    found = rbms("run", tiny, "-m", "tests.fakes:interrupted")

    assert found.code == 130
    assert found.err.splitlines()[-1] == "rbms: stopped; the same command goes on where it was"
    assert len(list((tmp_path / "cache" / "cells").glob("*.npz"))) == 1


def test_a_defect_of_ours_keeps_its_traceback(rbms, tiny, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("robustbench_ms.evaluation.jobs.conditions", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        rbms("run", tiny, "-m", "tests.fakes:build")


def test_a_process_is_ended_for_threads_of_others_alone(monkeypatch):
    ended, hold = [], threading.Event()
    monkeypatch.setattr("os._exit", ended.append)
    before = set(threading.enumerate())
    _pool(7).submit(int).result()

    _leave(0, before)
    assert set(threading.enumerate()) - before
    assert not ended

    theirs = threading.Thread(target=hold.wait)
    theirs.start()
    _leave(3, before)
    hold.set()
    theirs.join()
    assert ended == [3]


@pytest.mark.parametrize(
    ("verb", "given", "kept"),
    [
        ("run", {}, "10000"),
        ("train", {}, "10000"),
        ("profile", {}, None),
        ("gate", {}, None),
        ("run", {"OMP_WAIT_POLICY": "active"}, None),
        ("run", {"GOMP_SPINCOUNT": "7"}, "7"),
    ],
)
def test_threads_that_wait_soon_sleep_where_no_time_is_measured(monkeypatch, verb, given, kept):
    environ, seen = dict(given), []
    monkeypatch.setattr("os.environ", environ)
    monkeypatch.setattr("sys.argv", ["rbms", verb])
    monkeypatch.setattr("robustbench_ms.cli._main", lambda: seen.append(environ.get("GOMP_SPINCOUNT")))

    main()

    assert seen == [kept]
