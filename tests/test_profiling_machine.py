"""What is read of the machine beside times: memory, other processes, energy."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from robustbench_ms.profiling import energy, machine, memory

CPU = torch.device("cpu")


def test_peak_memory_is_what_a_call_holds_at_its_worst():
    def hold():
        return [torch.ones(4_000_000) for _ in range(3)]  # 16 MB each

    hold()  # what an earlier call left to the process counts nothing, and no earlier peak does
    torch.ones(50_000_000)
    found = memory.peak_bytes(hold, CPU)
    if found is None:
        pytest.skip("the system keeps no high-water mark")
    assert found == pytest.approx(48e6, rel=0.1)


def test_other_processes_cores(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    ticks = machine.os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 2})
    stat.write_text(
        f"cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 {ticks} {ticks} {ticks} 77 88 {ticks} {ticks} {ticks} 5 5\n"
        f"cpu1 99 99 99 99 99 99 99 99 0 0\ncpu2 {ticks} 0 0 0 0 0 0 0 0 0\nintr 1\n"
    )
    assert machine._busy(stat) == 7.0
    assert machine._busy(tmp_path / "none") is None

    told = iter([10.0, 14.0])
    monkeypatch.setattr(machine, "_busy", lambda: next(told))
    own = iter([1.0, 2.0])
    monkeypatch.setattr(machine, "_own", lambda: next(own))
    walls = iter([0.0, 2.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(walls))
    with machine.Others() as others:
        pass
    assert others.cores == 1.5


class Nvml(types.ModuleType):
    """NVML as nvidia-ml-py has it, of a card that uses 100 W."""

    class NVMLError(Exception):
        pass

    def __init__(self, fails=False):
        super().__init__("pynvml")
        self.fails, self.asked = fails, 0

    def nvmlInit(self):  # noqa: N802
        if self.fails:
            raise self.NVMLError

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        assert handle == "GPU-1"
        self.asked += 1
        return 200_000 * self.asked


@pytest.mark.parametrize(("fails", "joules"), [(False, 100.0), (True, None)])
def test_energy(monkeypatch, fails, joules):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(fails))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: types.SimpleNamespace(uuid="1"))
    walls = iter([0.0, 0.5, 1.5, 2.5])
    monkeypatch.setattr(energy.time, "monotonic", lambda: next(walls))

    assert energy.joules_per_call(lambda: None, torch.device("cuda")) == joules  # 200 J in two calls
    assert energy.joules_per_call(lambda: None, CPU) is None
