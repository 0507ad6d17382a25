"""Everything that can be said against a config before its images are read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.binding import plugin_faults
from fer_ablate.config.choices import Roles
from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import Diagnosis
from fer_ablate.config.schema import Config, StudyConfig
from fer_ablate.data.load import known_size
from fer_ablate.errors import Fault, choices
from fer_ablate.labels import METRIC_NAMES, SIDE
from fer_ablate.tracking.mlflow import connection
from fer_ablate.training.assembly import protocol
from fer_ablate.training.checks import check


def config_faults(config: Config, typed: Sequence[str]) -> list[Fault]:
    """All faults of one config; `typed` are the overrides that came from the keyboard, not from a file."""
    if config.study is not None:
        return [Fault("study", "a study is several runs.", "Add -m to train it, or type plan or table before it.")]
    # Those of the plugins alone come first: the other checks import what is allowed to run.
    return plugin_faults(config, typed) or [*check(config), *connection.check(config.tracking)]


def content_faults(diagnosis: Diagnosis, typed: Sequence[str] | None = None) -> list[Fault]:
    """Faults of what the sound overrides compose; `typed` as above, None for all of them."""
    if diagnosis.tree is None:
        return []
    try:
        config = to_config(diagnosis.tree)
    except OmegaConfBaseException as error:
        return [Fault("", str(error).splitlines()[0], "Give it on the command line, or see --cfg job.")]
    return config_faults(config, diagnosis.sound if typed is None else typed)


def study_faults(config: Config, study: StudyConfig) -> list[Fault]:
    """What a study says of all its rows and this one, free of faults in itself, does not keep."""
    if study.folds is not None:
        config = replace(config, data=replace(config.data, folds=study.folds))
    return [*_protocol_faults(config, study.protocol), *_column_faults(config, study.columns)]


def _protocol_faults(config: Config, wanted: Mapping[str, str]) -> list[Fault]:
    """A study says how it tests, so that neither a row nor the command line can change it unnoticed."""
    size = known_size(config.data)
    actual = protocol(config, size or (SIDE, SIDE))
    # Parts that only the images decide.
    later = {"roles"} if config.data.roles is Roles.auto else set()
    later |= {"crop"} if size is None else set()
    later |= {"folds"} if config.data.group == "auto" else set()
    faults = [
        Fault("study.protocol", f"'{name}' is not part of one.", choices(name, actual)) for name in wanted if name not in actual
    ]
    faults += [
        Fault("study.protocol", f"{name} is {actual[name]}, the study wants {value}.", "Change the row, or the study's protocol.")
        for name, value in wanted.items()
        if name in actual.keys() - later and actual[name] != str(value)
    ]
    return faults


def _column_faults(config: Config, columns: Sequence[str]) -> list[Fault]:
    """Columns that no run of this config would have anything for, which must not come out after hours of training."""
    splits = {column: column.partition("/")[0] for column in columns}
    faults = []
    pooled = [column for column, split in splits.items() if split.endswith("_pooled")]
    if pooled and not config.evaluation.pool_epochs:
        faults.append(Fault("study.columns", f"{', '.join(pooled)} would not be measured.", "Set evaluation.pool_epochs=true."))
    official = [column for column, split in splits.items() if split in METRIC_NAMES.values()]
    if official and config.data.folds is not None:
        problem = f"{', '.join(official)} would not be measured: folds unite the official splits."
        faults.append(Fault("study.columns", problem, "Each image is tested in one fold: take test/acc."))
    return faults
