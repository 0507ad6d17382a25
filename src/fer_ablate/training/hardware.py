"""Which device and number format a run gets, and what the machine is called."""

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

from fer_ablate.config.choices import Precision
from fer_ablate.config.schema import TrainerConfig
from fer_ablate.errors import Fault, choices

ACCELERATORS = ("auto", "cpu", "gpu")
STRATEGIES = ("auto", "ddp")
AMPERE = (8, 0)
"""Compute capability from which on NVIDIA cards multiply bf16 fast."""

GRANTS = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
"""Environment variables that tell how many cores a process was given; the first one that is set counts.

joblib and ray set the first one in their workers. Workers that took all cores of the machine each would be many times slower.
"""

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Where Linux resets and tells the largest memory of this process."""

REPORTED = ("fer-ablate", "torch", "pytorch-lightning", "torchmetrics", "kornia", "numpy", "hydra-core")


@dataclass(frozen=True)
class Hardware:
    """Where a run happens.

    Args:
        device: what this process computes on.
        devices: number of processes that share a run, one device each.
        precision: Lightning's name of the number format, `bf16-mixed`, `16-mixed` or `32-true`.
    """

    device: torch.device
    devices: int
    precision: str

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """Type that matrix products run in; None: that of the weights."""
        return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.precision)


def check(config: TrainerConfig) -> list[Fault]:
    """Whether this machine has what the config asks for."""
    faults = []
    if config.accelerator not in ACCELERATORS:
        faults.append(
            Fault("trainer.accelerator", f"'{config.accelerator}' is not known.", choices(config.accelerator, ACCELERATORS))
        )
    elif config.accelerator == "gpu" and not torch.cuda.is_available():
        faults.append(
            Fault(
                "trainer.accelerator",
                "this machine has no usable CUDA GPU.",
                "Use trainer=cpu, or install a CUDA build of torch.",
            )
        )
    if config.strategy not in STRATEGIES:
        faults.append(Fault("trainer.strategy", f"'{config.strategy}' is not known.", choices(config.strategy, STRATEGIES)))
    if config.devices < 1:
        faults.append(Fault("trainer.devices", f"{config.devices} devices.", "Ask for at least one."))
    elif _on_gpu(config) and config.devices > torch.cuda.device_count():
        faults.append(
            Fault("trainer.devices", f"{config.devices} GPUs asked for, {torch.cuda.device_count()} found.", "Lower it.")
        )
    if config.precision is Precision.fp16 and not _on_gpu(config):
        faults.append(Fault("trainer.precision", "fp16 trains on GPUs only.", "Use bf16, fp32 or auto."))
    return faults


def choose(config: TrainerConfig, local_rank: int = 0) -> Hardware:
    """Resolve `auto`; the config must have passed `check`."""
    gpu = _on_gpu(config)
    device = torch.device("cuda", local_rank) if gpu else torch.device("cpu")
    names = {Precision.bf16: "bf16-mixed", Precision.fp16: "16-mixed", Precision.fp32: "32-true"}
    precision = config.precision
    if precision is Precision.auto:
        precision = Precision.bf16 if fast_bf16(device) else Precision.fp32
    return Hardware(device, config.devices, names[precision])


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 products run on units of their own (Ampere and later; AMX or AVX512-BF16) instead of being emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))


def use_threads(config: TrainerConfig) -> None:
    """Give this process its share of the cores; more threads than cores make them wait for each other."""
    torch.set_num_threads(config.num_threads or max(1, granted_cores() // config.devices))


def granted_cores() -> int:
    """Cores for all processes of a run: what a launcher or SLURM granted, else what the system lets this process use."""
    for name in GRANTS:
        first = os.environ.get(name, "").partition(",")[0].strip()  # OpenMP allows a list, one number per nested level
        if first.isdigit() and int(first) > 0:
            return int(first)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forget_peak_memory(device: torch.device) -> None:
    """Begin to measure anew, as far as the system allows: a process may do many runs, and each is to be told its own."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # Linux only, and not in every container
        CLEAR_REFS.write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Most memory held since `forget_peak_memory`, in MiB: of the card for a GPU, of this process for a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if STATUS.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.M)
        if found:
            return int(found[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def environment(hardware: Hardware) -> dict[str, str]:
    """What a reader of the result needs to know about where it came from."""
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
