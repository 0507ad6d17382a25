"""Chooses device, number format and threads of a run, and describes the machine."""

import os
import platform
import re
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.choices import Precision
from fer_ablate.config.key import NUMBER_FORMATS
from fer_ablate.config.schema import TrainerConfig
from fer_ablate.errors import Fault

AMPERE = (8, 0)
"""Lowest compute capability of NVIDIA cards with fast bf16 products."""

GRANTS = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
"""Environment variables with the number of cores that a process may use; the first one that is set is used.

joblib and ray set the first one in their workers, which would be many times slower if each used all cores of the machine.
"""

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Files with which Linux resets and reports the peak memory of this process."""

REPORTED = ("fer-ablate", "torch", "pytorch-lightning", "torchmetrics", "kornia", "numpy", "hydra-core")
"""Packages whose versions are stored with every result."""


@dataclass(frozen=True)
class Hardware:
    """Device and number format of a run.

    Args:
        device: device of this process.
        devices: number of processes that share the run, with one device each.
        precision: Lightning's name of the number format, `bf16-mixed`, `16-mixed` or `32-true`.
    """

    device: torch.device
    devices: int
    precision: str

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """Number format of matrix products; None: that of the weights."""
        return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)


def hardware_faults(config: TrainerConfig) -> list[Fault]:
    """List the faults of the section `trainer`, among them devices and number formats that this machine does not have."""
    faults = bound_faults(config, "trainer")
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        faults.append(
            Fault(
                "trainer.accelerator",
                "this machine has no usable CUDA GPU.",
                "Use trainer=cpu, or install a CUDA build of torch.",
            )
        )
    if _on_gpu(config) and config.devices > torch.cuda.device_count():
        faults.append(
            Fault("trainer.devices", f"{config.devices}, but this machine has {torch.cuda.device_count()} GPUs.", "Lower it.")
        )
    if config.precision is Precision.fp16 and not _on_gpu(config):
        faults.append(Fault("trainer.precision", "fp16 trains on GPUs only.", "Use bf16, fp32 or auto."))
    return faults


def choose_hardware(config: TrainerConfig, local_rank: int = 0) -> Hardware:
    """Choose device and number format, in place of `auto` those of the machine.

    Args:
        config: section `trainer` without faults, see `hardware_faults`.
        local_rank: number of this process among those that share the run.
    """
    gpu = _on_gpu(config)
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    precision = config.precision
    if precision is Precision.auto:
        precision = Precision.bf16 if fast_bf16(device) else Precision.fp32
    return Hardware(device, config.devices, NUMBER_FORMATS[precision.value])


def fast_bf16(device: torch.device) -> bool:
    """Whether a device has hardware for bf16 products (Ampere and later; AMX or AVX512-BF16) and does not emulate them."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))


def use_threads(config: TrainerConfig) -> None:
    """Set the number of threads to this process' share of the cores; with more threads than cores they wait for each other."""
    torch.set_num_threads(config.num_threads or max(1, granted_cores() // config.devices))


def granted_cores() -> int:
    """Return the number of cores for all processes of a run: as set by a launcher or SLURM, else as allowed by the system."""
    for name in GRANTS:
        first = os.environ.get(name, "").partition(",")[0].strip()  # OpenMP allows a list, one number per nested level
        if first.isdigit() and int(first) > 0:
            return int(first)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of the peak memory, if the system allows it: one process may do many runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # Linux only, and not in every container
        CLEAR_REFS.write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory since `reset_peak_memory` in MiB: of the card for a GPU, of this process for a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Preferred to `ru_maxrss`, which cannot be reset and would include earlier runs of this process.
    if STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.M)
        if found:
            return int(found[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def environment(hardware: Hardware) -> dict[str, str]:
    """Describe machine, number format, threads and versions, to be stored with a result."""
    name = torch.cuda.get_device_name(hardware.device) if hardware.device.type == "cuda" else _processor()
    versions = {package: version(package) for package in REPORTED}
    return {
        "device": str(hardware.device.type),
        "devices": str(hardware.devices),
        "hardware": name,
        "threads": str(torch.get_num_threads()),
        "precision": hardware.precision,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **versions,
    }


def _on_gpu(config: TrainerConfig) -> bool:
    return config.accelerator != "cpu" and torch.cuda.is_available()


def _processor() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())
