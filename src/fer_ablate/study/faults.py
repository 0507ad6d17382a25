"""All faults of a config that show before its images are read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fer_ablate.config.binding import plugin_faults
from fer_ablate.config.by_class import is_average, report_columns
from fer_ablate.config.choices import Roles
from fer_ablate.config.columns import column_problem
from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import Diagnosis
from fer_ablate.config.schema import Config, StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.data.load import known_size
from fer_ablate.errors import Fault, FaultyConfigError, choices
from fer_ablate.labels import EMOTIONS_8, METRIC_NAMES, SIDE
from fer_ablate.metrics import CLASS_SCORES
from fer_ablate.tracking.mlflow.connection import tracking_faults
from fer_ablate.training.checks import run_faults
from fer_ablate.training.protocol import protocol

COUNTED = ("train", "train_pooled", "test_pooled")
"""Splits whose predictions are only counted, class by class, and not kept."""


def config_faults(config: Config, typed: Sequence[str]) -> list[Fault]:
    """All faults of one config; `typed` are the overrides of the command line, as opposed to those of a file."""
    if config.study is not None:
        return [Fault("study", "a study is several runs.", "Add -m to train it, or type plan or table before it.")]
    # Plugins first, and alone: the other checks import what they are allowed to run.
    return plugin_faults(config, typed) or [*run_faults(config), *tracking_faults(config.tracking)]


def content_faults(diagnosis: Diagnosis, typed: Sequence[str] | None = None) -> list[Fault]:
    """Faults of the config that the faultless overrides compose; `typed` as in `config_faults`, None for all of them."""
    if diagnosis.tree is None:
        return []
    try:
        config = to_config(diagnosis.tree)
    except FaultyConfigError as error:
        return list(error.faults)
    return config_faults(config, diagnosis.sound if typed is None else typed)


def study_faults(config: Config, study: StudyConfig) -> list[Fault]:
    """Faults of a config, faultless by itself, as a row of a study: protocol and columns that it does not fit."""
    if study.folds is not None:
        config = replace(config, data=replace(config.data, folds=study.folds))
    return [*_protocol_faults(config, study.protocol), *_column_faults(config, study.columns)]


def class_faults(study: StudyConfig, rows: Sequence[Row], classes: Mapping[str, Sequence[str]]) -> list[Fault]:
    """Columns and published numbers of classes that the images do not have, so that no run could ever be scored on them.

    Args:
        study: the study.
        rows: of the study.
        classes: label -> names of the classes of the images, of every row that is trained.
    """
    own = {row.label: classes[row.average_of[0] if row.average_of else row.label] for row in rows}
    # On several data sets a column may be about a class that some of them lack.
    every = list(dict.fromkeys(name for row in rows if not row.auxiliary for name in own[row.label]))
    faults = [_no_class("study.columns", column, every) for column in study.columns if _class_of(column, every)]
    for row in rows:
        printed = dict.fromkeys((*row.published, *report_columns(row.by_class)))
        # The scores of a printed class share one fault.
        # An emotion that a document has and these images lack is no mistake: a note below the table says so.
        lacking = {name: column for column in reversed(printed) if (name := _class_of(column, (*own[row.label], *EMOTIONS_8)))}
        faults += [_no_class(f"study.rows '{row.label}'", f"published {column}", own[row.label]) for column in lacking.values()]
    return faults


def _class_of(column: str, classes: Sequence[str]) -> str:
    """The class that a column is about, if it is none of these; empty otherwise."""
    score, _, name = column.partition("/")[2].partition("/")
    return name if score in CLASS_SCORES and name not in classes and not is_average(name) else ""


def _no_class(key: str, column: str, classes: Sequence[str]) -> Fault:
    name = column.split("/", 2)[2]
    return Fault(key, f"{column}: there is no class '{name}'.", choices(name, classes))


def known_protocol(config: Config) -> tuple[dict[str, str], set[str]]:
    """The evaluation protocol of a config, and the parts of it that are known only with the images."""
    size = known_size(config.data)
    # Folds are drawn whatever `data.roles` says, and runs store that.
    actual = protocol(config, size or (SIDE, SIDE), Roles.drawn if config.data.folds is not None else None)
    later = {"roles"} if config.data.roles is Roles.auto and config.data.folds is None else set()
    later |= {"crop"} if size is None else set()
    later |= {"folds"} if config.data.group == "auto" else set()
    return actual, later


def _protocol_faults(config: Config, stated: Mapping[str, str]) -> list[Fault]:
    """Differences from the protocol that the study states, so that neither a row nor a command changes it unnoticed."""
    actual, later = known_protocol(config)
    faults = [
        Fault("study.protocol", f"'{name}' is not part of one.", choices(name, actual)) for name in stated if name not in actual
    ]
    faults += [
        Fault(
            "study.protocol", f"{name} is {actual[name]}, the study states {value}.", "Change the row, or the study's protocol."
        )
        for name, value in stated.items()
        if name in actual.keys() - later and actual[name] != str(value)
    ]
    return faults


def _column_faults(config: Config, columns: Sequence[str]) -> list[Fault]:
    """Columns that no run of this config can fill, which must not show only after hours of training."""
    splits = {column: column.partition("/")[0] for column in columns}
    own = config.evaluation.metrics
    faults = [
        Fault("study.columns", problem, f"Metrics of your own are evaluation.metrics; here {', '.join(own) or 'there are none'}.")
        for column in columns
        if (problem := column_problem(column, own))
    ]
    during = [column for column, split in splits.items() if split in COUNTED and column.partition("/")[2] in own]
    if during:
        problem = f"{', '.join(during)} would not be measured: metrics of your own are measured when a run is tested."
        faults.append(Fault("study.columns", problem, "Take val/, test/ or, with evaluation.train=true, train_eval/."))
    pooled = [column for column, split in splits.items() if split.endswith("_pooled")]
    if pooled and not config.evaluation.pool_epochs:
        faults.append(Fault("study.columns", f"{', '.join(pooled)} would not be measured.", "Set evaluation.pool_epochs=true."))
    train = [column for column, split in splits.items() if split == "train_eval"]
    if train and not config.evaluation.train:
        faults.append(Fault("study.columns", f"{', '.join(train)} would not be measured.", "Set evaluation.train=true."))
    official = [column for column, split in splits.items() if split in METRIC_NAMES.values()]
    if official and config.data.folds is not None:
        problem = f"{', '.join(official)} would not be measured: folds unite the official splits."
        faults.append(Fault("study.columns", problem, "Each image is tested in one fold: take test/acc."))
    return faults
