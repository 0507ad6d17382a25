"""Which devices and number formats a run may use on this machine, and what of the section `trainer` it cannot have.

Decided without torch: planning a study asks for the number format of each run, which is part of its key.
"""

from fer_ablate import machine
from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.choices import Precision
from fer_ablate.config.schema import TrainerConfig
from fer_ablate.errors import Fault

AMPERE = (8, 0)
"""Lowest compute capability of NVIDIA cards with fast bf16 products."""


def hardware_faults(config: TrainerConfig) -> list[Fault]:
    """List the faults of the section `trainer`, among them devices and number formats that this machine does not have."""
    faults = bound_faults(config, "trainer")
    gpus = 0 if config.accelerator == "cpu" else len(machine.cuda_gpus())
    if config.accelerator == "gpu" and not gpus:
        faults.append(
            Fault(
                "trainer.accelerator",
                "this machine has no usable CUDA GPU.",
                "Use trainer=cpu, or install a CUDA build of torch.",
            )
        )
    if gpus and config.devices > gpus:
        faults.append(Fault("trainer.devices", f"{config.devices}, but this machine has {gpus} GPUs.", "Lower it."))
    if config.precision is Precision.fp16 and not gpus:
        faults.append(Fault("trainer.precision", "fp16 trains on GPUs only.", "Use bf16, fp32 or auto."))
    return faults


def uses_gpu(config: TrainerConfig) -> bool:
    """Whether a run is trained on GPUs: where there is one, unless CPUs were asked for."""
    return config.accelerator != "cpu" and bool(machine.cuda_gpus())


def number_format(config: TrainerConfig, local_rank: int = 0) -> Precision:
    """The number format of a run's matrix products; `auto` is bf16 where it is fast.

    Args:
        config: section `trainer` without faults, see `hardware_faults`.
        local_rank: number of the process among those that share the run, which is that of its GPU.
    """
    if config.precision is not Precision.auto:
        return config.precision
    fast = machine.cuda_gpus()[local_rank].capability >= AMPERE if uses_gpu(config) else machine.cpu_has_bf16()
    return Precision.bf16 if fast else Precision.fp32
