"""Whether the epochs of a run depend on how many there will be; where they do not, a longer run can continue a shorter one."""

from fer_ablate.config.binding import is_own, load_plugin
from fer_ablate.config.schema import Config
from fer_ablate.models.checks import CHANNELS_OF
from fer_ablate.optim.schedules import length_dependence

LIGHTNING = ("pytorch_lightning", "lightning")
"""Packages of the class that a network with a training of its own is derived from."""


def why_length_matters(config: Config) -> str:
    """Why the first epochs of a run may depend on its number of epochs; empty if they do not.

    Images and random numbers are drawn from the seed and the number of the epoch, and a stop or a plateau follows what was
    measured so far. So it is left to the schedule, and to parts of the user's own that see Lightning's trainer.

    Args:
        config: free of faults.
    """
    if reason := length_dependence(config.scheduler, config.plugins):
        return reason
    if config.trainer.callbacks:
        return "trainer.callbacks may depend on the number of epochs"
    name = config.model.name
    if not is_own(name) or name.partition(".")[0] in CHANNELS_OF:
        return ""
    network = load_plugin(name, config.plugins, "model.name")
    # What a function builds is not known before it is called.
    if not isinstance(network, type):
        return f"model.name={name} is a function, whose network may depend on the number of epochs"
    if any(base.__module__.partition(".")[0] in LIGHTNING for base in network.__mro__):
        return f"model.name={name} is a LightningModule, which may depend on the number of epochs"
    return ""
