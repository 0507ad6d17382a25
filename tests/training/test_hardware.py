"""Number of threads of a run on a machine that it shares with others."""

import os
from dataclasses import replace

import pytest
import torch

from fer_ablate.training import hardware
from fer_ablate.training.hardware import GRANTS, use_threads

CORES = len(os.sched_getaffinity(0))


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
    assert threads() == CORES
    assert threads(devices=CORES) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"OMP_NUM_THREADS": "3"}, 3, id="a worker of joblib or ray takes what it was given"),
        pytest.param({"SLURM_CPUS_PER_TASK": "5"}, 5, id="a SLURM job takes its cores"),
        pytest.param({"OMP_NUM_THREADS": "3", "SLURM_CPUS_PER_TASK": "5"}, 3, id="a worker inside a SLURM job"),
        pytest.param({"OMP_NUM_THREADS": "3,2"}, 3, id="nested levels"),
        pytest.param({"OMP_NUM_THREADS": "", "SLURM_CPUS_PER_TASK": "0"}, CORES, id="nothing that counts"),
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
