"""Identifies a run by its key: the settings as they are resolved on this machine, the images, the code, the starting weights."""

from dataclasses import dataclass
from typing import Any

from fer_ablate.config.behaviour import code_digest
from fer_ablate.config.choices import Norm
from fer_ablate.config.key import NUMBER_FORMATS, relevant, run_key
from fer_ablate.config.schema import Config
from fer_ablate.models.checks import STAGES
from fer_ablate.training.hardware import choose_hardware


@dataclass(frozen=True)
class RunIdentity:
    """Key of a run and its parts.

    Args:
        key: see `config.key`.
        settings: dotted key -> value of every setting that can change the result, resolved for this machine.
        data_digest: digest of the images.
        code_digest: of the code, as `config.behaviour` takes it.
    """

    key: str
    settings: dict[str, Any]
    data_digest: str
    code_digest: str


def run_identity(config: Config, data_digest: str, start: str | None = None) -> RunIdentity:
    """Identify a run before it is trained.

    Args:
        config: free of faults.
        data_digest: digest of the images.
        start: identity of the weights that `init_from` names; None: they are drawn from the seed.
    """
    settings, code = relevant(config, machine_settings(config)), code_digest(config.plugins)
    return RunIdentity(run_key(settings, data_digest, code, start), settings, data_digest, code)


def machine_settings(config: Config) -> dict[str, Any]:
    """Resolve the settings that change a result and depend on the machine.

    These are the number format, and on CPUs the number of processes if the network has batch normalisation: each process then
    uses the statistics of its own share of a batch. On GPUs the statistics of all processes are joined.
    """
    hardware = choose_hardware(config.trainer)
    formats = {name: short for short, name in NUMBER_FORMATS.items()}
    found: dict[str, Any] = {"trainer.precision": formats[hardware.precision]}
    if hardware.devices > 1 and hardware.device.type == "cpu" and may_normalise_batches(config):
        found["trainer.devices"] = hardware.devices
    return found


def may_normalise_batches(config: Config) -> bool:
    """Whether the network has batch normalisation, as far as the config shows; one of the user's own is taken to have it."""
    model = config.model
    parts = [*(stage.norm for stage in model.stages), *(layer.norm for layer in model.hidden)]
    return model.name != STAGES or any((part or model.norm) is Norm.batch for part in [None, *parts])
