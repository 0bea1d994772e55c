"""What stands around a stranger's code: state that is put back, errors that stay its own, output, time."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import ImageFile

from robustbench_ms.errors import DeviceLost, Misbehaved, UserError
from robustbench_ms.subjects import watching
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.seals import DataChanged, Seals, checksums
from robustbench_ms.subjects.watching import TooLong, Watch

CHANGES = {
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "numpy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
    "deterministic mode": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "matmul precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "precision by torch's newer names": (
        lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
        lambda: (torch.backends.cuda.matmul.fp32_precision, torch.backends.cuda.matmul.allow_tf32),
    ),
    "precision on a CPU": (
        lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
        lambda: torch.backends.mkldnn.matmul.fp32_precision,
    ),
    "autocast": (
        lambda: torch.set_autocast_enabled("cpu", True),
        lambda: torch.is_autocast_enabled("cpu"),
    ),
    "deterministic convolutions": (
        lambda: setattr(torch.backends.cudnn, "deterministic", True),
        lambda: torch.backends.cudnn.deterministic,
    ),
    "denormals": (lambda: torch.set_flush_denormal(True), lambda: torch.tensor([1e-40]) * 0.5),
    "working folder": (lambda: os.chdir("/"), os.getcwd),
    "a new variable": (lambda: os.environ.update(A_STRANGER="1"), lambda: os.environ.get("A_STRANGER")),
    "a lost variable": (lambda: os.environ.pop("RBMS_CACHE"), lambda: os.environ.get("RBMS_CACHE")),
    "a signal's handler": (
        lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        lambda: signal.getsignal(signal.SIGTERM),
    ),
    "cut pictures": (
        lambda: setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True),
        lambda: ImageFile.LOAD_TRUNCATED_IMAGES,
    ),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "filters of warnings": (lambda: warnings.simplefilter("error"), lambda: list(warnings.filters)),
    "standard output": (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_model_changes_is_put_back(what):
    change, read = CHANGES[what]
    before = read()

    with Guard("net"):
        change()

    assert read() == before


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (BaseException("odd"), "BaseException: odd"),
        (GeneratorExit(), "GeneratorExit: "),
        (ValueError("boom\nsecond line"), "ValueError: boom"),
        (ValueError("\x1b[31mred"), "ValueError:  [31mred"),
        (TooLong("it took too long"), "it took too long"),
    ],
)
def test_whatever_is_raised_is_the_models_own(error, words):
    with pytest.raises(Misbehaved) as raised, Guard("net"):
        raise error

    assert str(raised.value) == words


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("mend it"), DeviceLost("gone")])
def test_these_pass(error):
    with pytest.raises(type(error)) as raised, Guard("net"):
        raise error

    assert raised.value is error


def test_a_lost_device_is_no_fault_of_the_model():
    with pytest.raises(DeviceLost), Guard("net"):
        raise torch.AcceleratorError("CUDA error: an illegal memory access")


def test_what_is_printed_goes_to_standard_error_and_nobody_closes_it(capsys):
    with Guard("net"):
        print("hello")  # noqa: T201
        sys.stdout.close()
        print("again")  # noqa: T201
    print("ours")  # noqa: T201

    assert capsys.readouterr() == ("ours\n", "hello\nagain\n")


def test_what_a_model_asks_of_standard_output_is_answered(capfd):
    with Guard("net"):
        assert sys.stdout.encoding == sys.stderr.encoding
        os.write(sys.stdout.fileno(), b"hello")
        sys.stdout.writelines(["a", "gain"])

    assert capfd.readouterr() == ("", "helloagain")


def test_threads_that_are_left_are_counted_but_for_daemons(monkeypatch):
    monkeypatch.setattr(Guard, "left", {})
    end = threading.Event()
    for daemon in (True, False, False):
        with Guard("net"):
            threading.Thread(target=end.wait, daemon=daemon).start()
    end.set()

    assert Guard.left == {"net": 2}


def test_a_batch_that_takes_long_is_named_while_it_runs(monkeypatch, caplog):
    monkeypatch.setattr(watching, "LATE", 0.05)
    watch = Watch()

    with caplog.at_level(logging.WARNING, "robustbench_ms"), watch.over("net", "clean"):
        until = time.monotonic() + 20
        while not caplog.messages and time.monotonic() < until:
            time.sleep(0.01)

    assert caplog.messages[0].startswith("model net: a batch of clean has taken 0 s so far")


def test_a_model_is_interrupted_and_the_signals_handler_is_put_back():
    watch, before = Watch(), signal.getsignal(signal.SIGALRM)
    watch.limit = 0.1

    with pytest.raises(TooLong, match=r"it took longer than 0\.1 s for a batch"), watch.over("net", "clean"):
        time.sleep(60)

    assert signal.getsignal(signal.SIGALRM) == before
    with watch.over("net", "clean"):  # the next one has its own time
        pass


def test_what_does_not_come_back_ends_the_process_and_names_the_model(caplog):
    ended, failed = threading.Event(), []
    watch = Watch(end=lambda code: (failed.append(code), ended.set()))
    watch.limit, watch.failed = 0.1, lambda *told: failed.append(told)

    with watch.over("net", "clean"):
        while not ended.is_set():
            try:
                ended.wait(20)
            except TooLong:
                failed.append("interrupted")

    assert failed == [
        "interrupted",
        ("net", "clean", "it took longer than 0.1 s for a batch (timeout) and could not be interrupted"),
        3,
    ]
    assert "model net: a batch of clean" in caplog.text


def test_in_another_thread_a_model_is_named_and_not_stopped(caplog):
    watch = Watch(end=lambda code: pytest.fail("it was ended"))
    watch.limit = 0.05
    done = []

    def ask():
        with watch.over("net", "clean"):
            time.sleep(0.4)
        done.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

    assert done
    assert "it runs in a thread, and is not stopped" in caplog.text


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (4, 3, 5, 7)])
def test_a_seal_finds_one_changed_byte_and_two_samples_that_changed_places(shape):
    random = torch.Generator().manual_seed(0)
    samples = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    seals = Seals(torch.device("cpu"))
    seals.begin(samples)
    assert not seals.broken("net", samples.clone())
    edited = samples.clone()
    edited[2, 1, 3, 3] ^= 1

    assert seals.broken("net", edited)
    assert (checksums(edited) != checksums(samples)).tolist() == [False, False, True, False]
    assert seals.broken("net", samples[[0, 2, 1, 3]])
    assert seals.broken("net", samples[:, [2, 1, 0]])
    assert seals.broken("net", samples.flip(2))
    with pytest.raises(DataChanged, match="model net changes the data"):
        seals.whole("net", edited)


@pytest.mark.parametrize("shape", [(2, 3, 50), (2, 1, 5, 5, 5)])
def test_a_seal_finds_a_change_of_a_float_by_its_last_bit(shape):
    samples = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    edited = samples.clone()
    edited[1, 0, 1] = torch.nextafter(edited[1, 0, 1], torch.ones(()))

    assert (checksums(edited) != checksums(samples)).tolist() == [False, True]


def test_where_no_batch_is_waited_for_the_one_that_changed_it_is_found_at_the_end(monkeypatch):
    samples = torch.zeros((2, 3, 8, 8), dtype=torch.uint8)
    seals = Seals(torch.device("cuda"))  # the name alone: all tensors are here
    seals.begin(samples)
    seals.broken("first", samples)
    samples[0] = 1
    seals.broken("second", samples)
    seals.broken("third", samples)

    assert seals.late() == ["second"]
