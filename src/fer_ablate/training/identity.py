"""Identifies a run by its key: the settings as they are resolved on this machine, the images, the code, the starting weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fer_ablate.config.behaviour import code_digest
from fer_ablate.config.choices import Norm
from fer_ablate.config.key import relevant, run_key, with_values
from fer_ablate.config.schema import Config
from fer_ablate.models.checks import STAGES
from fer_ablate.training.devices import number_format, uses_gpu
from fer_ablate.training.start import Start, output_change

OUTPUT_LAYER = "init_from.output_layer"
"""Stands among the settings of a run that begins with weights for as many classes in another order, or for others."""


@dataclass(frozen=True)
class RunIdentity:
    """Key of a run and its parts.

    Args:
        key: see `config.key`.
        settings: dotted key -> value of every setting that can change the result, resolved for this machine.
        data_digest: digest of the images.
        code_digest: of the code, as `config.behaviour` takes it.
        start: identity of the weights that it begins with; None: they are drawn from the seed.
    """

    key: str
    settings: dict[str, Any]
    data_digest: str
    code_digest: str
    start: str | None = None


def run_identity(config: Config, data_digest: str, start: Start | None = None, classes: Sequence[str] = ()) -> RunIdentity:
    """Identify a run before it is trained.

    Args:
        config: free of faults.
        data_digest: digest of the images.
        start: the weights that `init_from` names; None: they are drawn from the seed.
        classes: names of the classes of the images, in their order.
    """
    settings, code = relevant(config, machine_settings(config)), code_digest(config.plugins)
    if start is not None and (change := output_change(start.classes, classes)):
        settings[OUTPUT_LAYER] = change
    identity = start.identity if start is not None else None
    return RunIdentity(run_key(settings, data_digest, code, identity), settings, data_digest, code, identity)


def identity_of_repeat(first: RunIdentity, repeat: Mapping[str, Any], start: str | None = None) -> RunIdentity:
    """Identify a run whose config differs from that of another one in seed and fold alone, without looking at the config again.

    Args:
        first: identity of the other one.
        repeat: `seed`, and `data.fold` if there are folds -> value.
        start: as in `run_identity`.
    """
    settings = with_values(first.settings, repeat)
    key = run_key(settings, first.data_digest, first.code_digest, start)
    return replace(first, key=key, settings=settings, start=start)


def machine_settings(config: Config) -> dict[str, Any]:
    """Resolve the settings that change a result and depend on the machine.

    These are the number format, and on CPUs the number of processes if the network has batch normalisation: each process then
    uses the statistics of its own share of a batch. On GPUs the statistics of all processes are joined.
    """
    trainer = config.trainer
    found: dict[str, Any] = {"trainer.precision": number_format(trainer).value}
    if trainer.devices > 1 and not uses_gpu(trainer) and may_normalise_batches(config):
        found["trainer.devices"] = trainer.devices
    return found


def may_normalise_batches(config: Config) -> bool:
    """Whether the network has batch normalisation, as far as the config shows; one of the user's own is taken to have it."""
    model = config.model
    parts = [*(stage.norm for stage in model.stages), *(layer.norm for layer in model.hidden)]
    return model.name != STAGES or any((part or model.norm) is Norm.batch for part in [None, *parts])
