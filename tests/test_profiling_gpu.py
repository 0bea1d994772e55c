"""Profiling on a CUDA device: events, the allocator's peak, channels_last, bf16, a run's time split."""

from __future__ import annotations

import pytest
import torch

import robustbench_ms as rbms
from robustbench_ms.catalog.find import find_card
from robustbench_ms.evaluation.split import PARTS
from robustbench_ms.profiling import loop, subject
from robustbench_ms.profiling.layers import layers
from robustbench_ms.profiling.memory import peak_bytes
from robustbench_ms.profiling.run import ProfileDone, Timed, profile
from robustbench_ms.profiling.subject import Setting
from robustbench_ms.records.profile import read_profile
from robustbench_ms.specs.card import Card, Input

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda")
NET = Card("net", "timm:resnet18", input=Input(size=64), untrained=True)


def rows(cards, settings, places, blocks=2):
    events = list(profile(cards, settings, places, device="cuda", blocks=blocks))
    return [e.row for e in events if isinstance(e, Timed)], [e for e in events if isinstance(e, ProfileDone)]


def test_a_calls_device_time_is_the_events_and_no_more_than_the_hosts():
    x = torch.randn(4096, 4096, device=CUDA)
    watch = loop.Stopwatch(CUDA)
    watch(lambda: x @ x)
    host, device = watch(lambda: x @ x)

    # A product of such matrices is 137 GFLOP: it cannot be over before the synchronise.
    assert 1e-4 < device <= host


def test_peak_memory_is_the_allocators():
    def hold():
        kept = torch.empty(32 * 2**20, dtype=torch.uint8, device=CUDA)
        return [kept, torch.empty_like(kept)]

    hold()
    assert peak_bytes(hold, CUDA) == 64 * 2**20


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_profile_on_the_device(places, memory_format, precision):
    card = Card("net", NET.build, input=NET.input, untrained=True, memory_format=memory_format)
    (row,), (done,) = rows([card], [Setting(4, precision)], places)

    assert row.error is None
    assert row.threads is None
    assert set(row.times) == {"host", "yardstick", "device", "end_to_end"}
    assert row.facts["memory"] > 4 * 3 * 64 * 64 * 4
    found = read_profile(done.path)
    assert found.device == torch.cuda.get_device_name()
    assert found.card["memory_format"] == memory_format


def test_channels_last_reaches_the_network(places):
    card = Card("net", NET.build, input=NET.input, untrained=True, memory_format="channels_last")
    loaded = subject.load(card, CUDA, places)
    seen = []
    hook = loaded.model.module.conv1.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    loaded.call(Setting(2))()
    hook.remove()

    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert loaded.model.module.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_bf16_is_what_the_convolutions_answer_with(places):
    loaded = subject.load(NET, CUDA, places).in_setting(Setting(2, "bf16"))
    seen = []
    hook = loaded.model.module.conv1.register_forward_hook(lambda _, __, y: seen.append(y.dtype))
    loaded.call(Setting(2, "bf16"))()
    hook.remove()

    assert seen == [torch.bfloat16]


def test_training_on_the_device(places):
    (row,), _ = rows([NET], [Setting(4, train=True)], places)

    assert row.error is None
    assert len(row.times["device"]) == 2


def test_memory_that_is_too_small_halves_the_batch(places):
    torch.cuda.set_per_process_memory_fraction(0.02)
    try:
        (row,), _ = rows([NET], [Setting(2**15)], places)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert row.error is None
    assert row.facts["asked"] == 2**15
    assert row.batch < 2**15


def test_modules_have_the_time_of_their_kernels():
    loaded = subject.load(find_card("digits-resnet8-ema"), CUDA, None)
    found = layers(loaded, Setting(64))

    assert 0 < found.attention < 1
    assert sum(layer.seconds for layer in found.layers) <= 1.01 * found.seconds


def test_a_runs_time_split_is_that_of_events(tmp_path):
    (record,) = rbms.run(
        "quick", ["digits-resnet8@0"], device="cuda", limit=64, results=tmp_path / "r", cache=tmp_path / "c"
    )

    assert all(tuple(m.seconds) == PARTS for m in record.measurements)
    assert sum(m.seconds["model"] for m in record.measurements) > 0
