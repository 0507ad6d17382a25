"""Everything that can be said against a config before its images are read."""

from collections.abc import Sequence

from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.binding import plugin_faults
from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import Diagnosis
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault
from fer_ablate.tracking import opening
from fer_ablate.training.checks import check


def config_faults(config: Config, typed: Sequence[str]) -> list[Fault]:
    """All faults of one config; `typed` are the overrides that came from the keyboard, not from a file."""
    if config.study is not None:
        return [Fault("study", "a study is several runs.", "Add -m to train it, or type plan or table before it.")]
    # Those of the plugins alone come first: the other checks import what is allowed to run.
    return plugin_faults(config, typed) or [*check(config), *opening.check(config.tracking)]


def content_faults(diagnosis: Diagnosis, typed: Sequence[str] | None = None) -> list[Fault]:
    """Faults of what the sound overrides compose; `typed` as above, None for all of them."""
    if diagnosis.tree is None:
        return []
    try:
        config = to_config(diagnosis.tree)
    except OmegaConfBaseException as error:
        return [Fault("", str(error).splitlines()[0], "Give it on the command line, or see --cfg job.")]
    return config_faults(config, diagnosis.sound if typed is None else typed)
