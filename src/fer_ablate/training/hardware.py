"""Device, threads and memory of a run in terms of torch, and a description of the machine for its result."""

import platform
import re
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from fer_ablate.config.key import NUMBER_FORMATS
from fer_ablate.config.schema import TrainerConfig
from fer_ablate.machine import granted_cores
from fer_ablate.training.devices import number_format, uses_gpu

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


def choose_hardware(config: TrainerConfig, local_rank: int = 0) -> Hardware:
    """Choose device and number format, in place of `auto` those of the machine.

    Args:
        config: section `trainer` without faults, see `devices.hardware_faults`.
        local_rank: number of this process among those that share the run.
    """
    device = torch.device("cuda", local_rank) if uses_gpu(config) else torch.device("cpu")
    return Hardware(device, config.devices, NUMBER_FORMATS[number_format(config, local_rank).value])


def use_threads(config: TrainerConfig) -> None:
    """Set the number of threads to this process' share of the cores; with more threads than cores they wait for each other."""
    torch.set_num_threads(config.num_threads or max(1, granted_cores() // config.devices))


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


def _processor() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())
