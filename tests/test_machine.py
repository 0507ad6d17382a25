"""What the machine has, compared with what torch says, and the limits of containers."""

import os

import pytest
import torch

from fer_ablate import machine

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """Writes control groups into a folder of its own: files by path, and the lines of /proc/self/cgroup."""
    for name in machine.GRANTS:
        monkeypatch.delenv(name, raising=False)

    def write(files, membership):
        for name, text in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (tmp_path / "membership").write_text(membership)
        (tmp_path / "meminfo").write_text("MemTotal:  16777216 kB\nMemAvailable:    8388608 kB\n")
        monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
        monkeypatch.setattr(machine, "MEMORY_INFO", tmp_path / "meminfo")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    return write


def test_torch_sees_the_same_number_formats():
    capabilities = torch.cpu.get_capabilities()
    assert machine.cpu_has_bf16() == any(bool(capabilities.get(flag)) for flag in machine.BF16_FLAGS)


def test_torch_sees_the_same_cards():
    # Without a GPU both are empty; with one this compares what the driver and what torch say of it.
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    expected = [(one.name, (one.major, one.minor), one.total_memory // 2**20) for one in found]
    assert [(gpu.name, gpu.capability, gpu.memory_mb) for gpu in machine.cuda_gpus()] == expected


def test_torch_was_built_as_its_file_says():
    assert machine.torch_builds() == (torch.version.cuda or "", torch.version.hip or "")


def test_flags_of_the_first_core_decide(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPU_INFO", file)
    for flags, expected in (("fpu avx2 avx512f", False), ("fpu avx512_bf16 sse", True), ("amx_tile", True)):
        file.write_text(f"processor\t: 0\nmodel name\t: one\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: avx512_bf16\n")
        assert machine.cpu_has_bf16.__wrapped__() is expected
    file.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")  # an ARM core, whose products torch does not count as fast
    assert machine.cpu_has_bf16.__wrapped__() is False


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        pytest.param({"cpu.max": "max 100000\n"}, "0::/\n", 8, id="no limit"),
        pytest.param({"cpu.max": "350000 100000\n"}, "0::/\n", 3, id="rounded down"),
        pytest.param({"cpu.max": "50000 100000\n"}, "0::/\n", 1, id="half a core"),
        pytest.param({"cpu.max": "900000 100000\n"}, "0::/\n", 8, id="more than there is"),
        pytest.param(
            {"job/cpu.max": "400000 100000\n", "job/step/cpu.max": "max 100000\n"}, "0::/job/step\n", 4, id="of a group above"
        ),
        pytest.param({"cpu.max": "200000 100000\n"}, "0::/docker/0123\n", 2, id="the host's path inside a container"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            "4:memory:/\n3:cpu,cpuacct:/\n0::/\n",
            2,
            id="version 1",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu:/\n", 8, id="version 1 without limit"
        ),
        pytest.param({}, "", 8, id="no control groups"),
    ],
)
def test_a_quota_limits_the_cores(files, membership, cores, limits):
    limits(files, membership)
    assert machine.granted_cores() == cores


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"SLURM_CPUS_PER_TASK": "5"}, 5),
        ({"OMP_NUM_THREADS": "3,2", "SLURM_CPUS_PER_TASK": "5"}, 3),
        ({"OMP_NUM_THREADS": "²"}, 2),
        ({"OMP_NUM_THREADS": "", "SLURM_CPUS_PER_TASK": "0"}, 2),
    ],
)
def test_a_grant_comes_before_the_quota(given, expected, limits, monkeypatch):
    limits({"cpu.max": "200000 100000\n"}, "0::/\n")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert machine.granted_cores() == expected


GIB = 2**30


@pytest.mark.parametrize(
    ("files", "membership", "gib"),
    [
        pytest.param({"memory.max": "max\n", "memory.current": f"{GIB}\n"}, "0::/\n", 8, id="no limit"),
        pytest.param({"memory.max": f"{4 * GIB}\n", "memory.current": f"{GIB}\n"}, "0::/\n", 3, id="what is left"),
        pytest.param(
            {
                "memory.max": f"{4 * GIB}\n",
                "memory.current": f"{3 * GIB}\n",
                "memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\nactive_file 7\n",
            },
            "0::/\n",
            3,
            id="files that were read give way",
        ),
        pytest.param({"memory.high": f"{2 * GIB}\n", "memory.current": f"{GIB}\n"}, "0::/\n", 1, id="slow above"),
        pytest.param({"memory.max": f"{GIB}\n", "memory.current": f"{2 * GIB}\n"}, "0::/\n", 0, id="over the limit"),
        pytest.param(
            {"memory/job/memory.limit_in_bytes": f"{2 * GIB}\n", "memory/job/memory.usage_in_bytes": f"{GIB}\n"},
            "4:memory:/job\n0::/\n",
            1,
            id="version 1",
        ),
    ],
)
def test_free_memory_is_what_the_container_leaves(files, membership, gib, limits):
    limits(files, membership)
    assert machine.free_memory_mb() == gib * 1024


def test_free_memory_is_below_that_of_the_machine():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    assert 0 < machine.free_memory_mb() < total
