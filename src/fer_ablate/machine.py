"""What this machine has: cores, memory, GPUs, number formats. Found with the standard library, so that nothing waits for torch.

It is no part of the code that a key is made from (`config.behaviour`): all that it decides about a result is the number format,
and that stands in the key itself.
"""

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

GRANTS = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
"""Environment variables with the number of cores that a process may use; the first one that is set is used.

joblib and ray set the first one in their workers, which would be many times slower if each used all cores of the machine.
"""

BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "amx_tile"})
"""Flags of x86 cores with fast bf16 products."""

CPU_INFO, MEMORY_INFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
CONTROL_GROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Where Linux keeps the limits of containers and jobs, and which of them hold for this process."""

MIB = 2**20

DRIVER = "libcuda.so.1"
"""Library of NVIDIA's driver."""

CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""Numbers of CUDA's device attributes `COMPUTE_CAPABILITY_MAJOR` and `..._MINOR`."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that CUDA programs can use.

    Args:
        index: its number for CUDA, which counts only the devices in CUDA_VISIBLE_DEVICES.
        name: as the vendor calls it.
        capability: CUDA's compute capability, major and minor number.
        memory_mb: total memory in MiB.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory_mb: int


def granted_cores() -> int:
    """Number of cores for this process: as set by a launcher or SLURM, else as allowed by the system and its container."""
    for name in GRANTS:
        first = os.environ.get(name, "").partition(",")[0].strip()  # OpenMP allows a list, one number per nested level
        if first.isdecimal() and int(first) > 0:
            return int(first)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Rounded down: a thread too many waits for its share of the time, and all others of a matrix product wait for it.
    return max(1, int(min([cores, *_quotas()])))


def free_memory_mb() -> float:
    """Memory in MiB that new processes can use without swapping, within the limits of the container.

    Infinite where the system does not say, as on macOS.
    """
    available = re.search(r"^MemAvailable:\s+(\d+) kB", _text(MEMORY_INFO), re.M)
    limits = [int(available[1]) / 1024] if available else []
    return max(0.0, min([*limits, *_free_in_groups()], default=float("inf")))


@cache
def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 numbers in hardware (AMX or AVX512-BF16), rather than emulate it."""
    if CPU_INFO.is_file():
        with CPU_INFO.open(encoding="utf-8", errors="replace") as lines:
            # The first core speaks for all. The file is not read to its end, since it grows with the number of cores.
            flags = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
        return not BF16_FLAGS.isdisjoint(flags.split())
    import torch  # no such file, as on macOS

    return any(torch.cpu.get_capabilities().get(flag) for flag in BF16_FLAGS)


def cuda_gpus() -> list[Gpu]:
    """The GPUs that the installed torch can use; none without a driver, or where torch is a build for CPUs.

    The driver reads CUDA_VISIBLE_DEVICES once in the life of a process, at the first call of this or of anything else in CUDA.
    """
    cuda, rocm = torch_builds()
    if rocm:
        return _gpus_of_torch()  # AMD's driver has another interface
    return _gpus_of_driver(int(cuda.partition(".")[0])) if cuda else []


@cache
def torch_builds() -> tuple[str, str]:
    """Versions of CUDA and of ROCm that the installed torch was built for; empty where it was not, or is not installed."""
    # `import torch` takes seconds, its file of versions none.
    spec = find_spec("torch")
    files = [Path(folder) / "version.py" for folder in spec.submodule_search_locations or ()] if spec else []
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(next(map(_text, files), ""))):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: str(node.value.value or "") for target in targets if isinstance(target, ast.Name)}
    return found.get("cuda", ""), found.get("hip", "")


def _gpus_of_driver(major: int) -> list[Gpu]:
    """The GPUs that NVIDIA's driver knows, if it is new enough for programs of this major version of CUDA."""
    import ctypes  # most machines that plan a study have no driver to call

    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return []
    version, count = ctypes.c_int(), ctypes.c_int()
    # Each function returns 0 if all went well; without a card, or in a container that was given none, `cuInit` does not.
    if driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version)) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    if version.value // 1000 < major:
        return []
    return [_gpu(driver, index) for index in range(count.value)]


def _gpu(driver: "ctypes.CDLL", index: int) -> Gpu:
    import ctypes

    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    capability = (ctypes.c_int * 2)()
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    for place, attribute in enumerate((CAPABILITY_MAJOR, CAPABILITY_MINOR)):
        driver.cuDeviceGetAttribute(ctypes.byref(capability, place * ctypes.sizeof(ctypes.c_int)), attribute, device)
    return Gpu(index, name.value.decode(errors="replace"), (capability[0], capability[1]), memory.value // MIB)


def _gpus_of_torch() -> list[Gpu]:
    import torch

    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [Gpu(index, one.name, (one.major, one.minor), one.total_memory // MIB) for index, one in enumerate(found)]


def _quotas() -> Iterator[float]:
    """Limits of the container and of the job on the time of all cores together, as numbers of cores."""
    for group in _groups("cpu"):
        quota, _, period = _text(group / "cpu.max").strip().partition(" ")  # version 2: `max 100000` or `150000 100000`
        if not quota:
            quota, period = (_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))  # version 1
        if quota.isdigit() and period.isdigit() and int(period):  # no limit is `max` in version 2, -1 in version 1
            yield int(quota) / int(period)


def _free_in_groups() -> Iterator[float]:
    """What is left of each limit on memory, in MiB."""
    for group in _groups("memory"):
        for limit, used, reclaimable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.high", "memory.current", "inactive_file"),  # above it, everything becomes slow
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _text(group / limit).strip(), _text(group / used).strip()
            if most.isdigit() and now.isdigit():
                # Files that were read and are not in use count as used, but give way as soon as memory is needed.
                cached = re.search(rf"^{reclaimable} (\d+)", _text(group / "memory.stat"), re.M)
                yield (int(most) - int(now) + (int(cached[1]) if cached else 0)) / MIB


def _groups(controller: str) -> Iterator[Path]:
    """Folders with the settings of the control groups that this process is in; the limits of all of them hold."""
    for line in _text(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 has one hierarchy for all controllers, version 1 one for each.
        root = CONTROL_GROUPS / controller if controllers else CONTROL_GROUPS
        folder = root / path.lstrip("/")
        # Inside a container the path may be that of the host, of which only the root is visible.
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _text(file: Path) -> str:
    """Content of a file of the system; empty where it is missing or must not be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
