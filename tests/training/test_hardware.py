"""Devices, number formats and threads of a run on a machine that it shares with others."""

from dataclasses import replace

import pytest
import torch

from fer_ablate import machine
from fer_ablate.config.choices import Precision
from fer_ablate.machine import GRANTS
from fer_ablate.training import hardware
from fer_ablate.training.devices import hardware_faults, number_format
from fer_ablate.training.hardware import use_threads


@pytest.fixture
def threads(config_of, monkeypatch):
    """Threads that a process of a run gets, given these variables of the environment."""

    def count(given=None, devices=1, num_threads=None):
        for name in GRANTS:
            monkeypatch.delenv(name, raising=False)
        for name, value in (given or {}).items():
            monkeypatch.setenv(name, value)
        use_threads(replace(config_of().trainer, devices=devices, num_threads=num_threads))
        return torch.get_num_threads()

    before = torch.get_num_threads()
    yield count
    torch.set_num_threads(before)


def test_a_run_alone_takes_all_cores(threads):
    assert threads() == machine.granted_cores() >= 1
    assert threads(devices=machine.granted_cores()) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"OMP_NUM_THREADS": "3"}, 3, id="a worker of joblib or ray takes what it was given"),
        pytest.param({"SLURM_CPUS_PER_TASK": "5"}, 5, id="a SLURM job takes its cores"),
        pytest.param({"OMP_NUM_THREADS": "3", "SLURM_CPUS_PER_TASK": "5"}, 3, id="a worker inside a SLURM job"),
        pytest.param({"OMP_NUM_THREADS": "3,2"}, 3, id="nested levels"),
    ],
)
def test_others_say_how_many(given, expected, threads):
    assert threads(given) == expected


def test_processes_of_a_run_share_its_cores(threads):
    assert threads({"OMP_NUM_THREADS": "6"}, devices=2) == 3
    assert threads({"OMP_NUM_THREADS": "1"}, devices=2) == 1


def test_what_is_typed_comes_first(threads):
    assert threads({"OMP_NUM_THREADS": "3"}, devices=2, num_threads=4) == 4


@pytest.mark.skipif(not hardware.CLEAR_REFS.exists(), reason="only Linux can forget the largest memory of a process")
def test_each_run_has_its_own_peak_memory():
    device = torch.device("cpu")
    large = torch.ones(50_000_000)  # 191 MiB
    before = hardware.peak_memory_mb(device)
    del large
    hardware.reset_peak_memory(device)
    assert hardware.peak_memory_mb(device) < before - 150


def a_card(index, capability):
    return machine.Gpu(index, "a card", capability, 16_000)


@pytest.mark.parametrize(
    ("cards", "given", "expected"),
    [
        pytest.param([(9, 0)], Precision.auto, Precision.bf16, id="a card with fast bf16"),
        pytest.param([(7, 5)], Precision.auto, Precision.fp32, id="a card that emulates it"),
        pytest.param([(7, 5)], Precision.bf16, Precision.bf16, id="what is typed comes first"),
        pytest.param([(9, 0), (7, 5)], Precision.auto, Precision.fp32, id="the card of the second process"),
    ],
)
def test_the_number_format_is_that_of_the_card(cards, given, expected, config_of, monkeypatch):
    monkeypatch.setattr(machine, "cuda_gpus", lambda: [a_card(*one) for one in enumerate(cards)])
    trainer = replace(config_of().trainer, accelerator="auto", precision=given)
    assert number_format(trainer, local_rank=len(cards) - 1) is expected


def test_a_cpu_multiplies_in_its_own_format(config_of):
    trainer = replace(config_of().trainer, accelerator="cpu", precision=Precision.auto)
    assert number_format(trainer) is (Precision.bf16 if machine.cpu_has_bf16() else Precision.fp32)
    assert hardware.choose_hardware(trainer).precision == ("bf16-mixed" if machine.cpu_has_bf16() else "32-true")


@pytest.mark.parametrize(
    ("cards", "given", "expected"),
    [
        pytest.param(0, {"accelerator": "gpu"}, ["trainer.accelerator"], id="no card"),
        pytest.param(0, {"precision": Precision.fp16}, ["trainer.precision"], id="fp16 on a CPU"),
        pytest.param(2, {"accelerator": "auto", "devices": 3}, ["trainer.devices"], id="more than there are"),
        pytest.param(
            2, {"accelerator": "gpu", "devices": 2, "strategy": "ddp", "precision": Precision.fp16}, [], id="as there are"
        ),
    ],
)
def test_a_machine_has_only_its_own_devices(cards, given, expected, config_of, monkeypatch):
    monkeypatch.setattr(machine, "cuda_gpus", lambda: [a_card(index, (8, 0)) for index in range(cards)])
    assert [fault.key for fault in hardware_faults(replace(config_of().trainer, **given))] == expected
