"""What a command line asks for: rows, seeds and folds of a study, of a grid, or of a study crossed with a grid."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.study_rows import FOLD_KEYS, Row, baseline_of, check_study, rows_of
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.study.faults import content_faults

GRID_DIGITS = 8
"""Of the digest that tells one grid from another in file names."""


@dataclass(frozen=True)
class Asked:
    """Rows x seeds, and with `folds` x folds.

    Args:
        name: of the study, or `grid-` and a digest of what was typed.
        study: the study's file with what was typed about it; all defaults for a grid without one.
        from_file: whether there is such a file.
        rows: all of them, whatever `study.rows` chooses.
        seeds: None leaves the seed to the config of each row.
        baseline: label of the row that the others are compared with.
        typed: overrides of the command line that hold for every run.
        factor: key on the horizontal axis of a plot; None if no single one is swept.
    """

    name: str
    study: StudyConfig
    from_file: bool
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] | None
    baseline: str
    typed: tuple[str, ...]
    factor: str | None

    @property
    def folds(self) -> int | None:
        """Folds that every row is trained on for each seed; None: its images are not divided, or its configs say how."""
        return self.study.folds


def asked(overrides: Sequence[str], config_dir: Path | None = None) -> Asked:
    """Read a command line.

    Args:
        overrides: as typed, without flags; several values as in `seed=0,1,2` make several runs.
        config_dir: what was given as `--config-dir`.

    Raises:
        FaultyConfigError: with every fault of the words themselves and of the study's file.
    """
    about_study = [text for text in overrides if _key(text) == "study" or _key(text).startswith("study.")]
    others = [text for text in overrides if text not in about_study and not is_hydra(text)]
    study = _study(about_study, config_dir)
    hydra = [text for text in overrides if is_hydra(text)]
    parsed = _parsed(others, hydra, study.base if study is not None else (), config_dir)
    if study is not None and study.folds is not None:
        _refuse_folds(parsed, study.folds)
    seeds = [one for one in parsed if one.key_or_group == "seed"]
    swept = [one for one in parsed if one.is_sweep_override() and one not in seeds]
    typed = tuple(str(one.input_line) for one in parsed if one not in seeds and one not in swept)
    rows = rows_of(study) if study is not None else [Row("", ())]
    baseline = baseline_of(study) if study is not None else ""
    first, grid = _grid(swept)
    crossed = tuple(
        replace(
            row,
            label=" ".join(part for part in (row.label, label) if part) or "all defaults",
            overrides=(*row.overrides, *words, *typed),
            start_from=" ".join(part for part in (row.start_from, label) if part) if row.start_from else None,
        )
        for row in rows
        for label, words in grid
    )
    return Asked(
        name=_name(about_study, others),
        study=study or StudyConfig(),
        from_file=study is not None,
        rows=crossed,
        seeds=_seeds(seeds, study),
        baseline=" ".join(part for part in (baseline, first) if part) or "all defaults",
        typed=typed,
        factor=_factor(study, rows, swept),
    )


def _key(text: str) -> str:
    return text.lstrip("+~").split("=", 1)[0]


def _study(words: Sequence[str], config_dir: Path | None) -> StudyConfig | None:
    if not words:
        return None
    if not any(word.startswith("study=") for word in words):
        raise FaultyConfigError([Fault("study", "no study is named.", "Give study=quickstart, or another file of conf/study/.")])
    diagnosis = diagnose(words, config_dir)
    if diagnosis.faults or diagnosis.tree is None:
        # Where there is no such study, none of its keys exists either.
        raise FaultyConfigError([fault for fault in diagnosis.faults if fault.key == "study"] or diagnosis.faults)
    if any(one.is_sweep_override() for one in OverridesParser.create().parse_overrides(list(words))):
        raise FaultyConfigError(
            [Fault("study", "several studies or values at once.", "Give one; lists as in study.seeds=[0,1].")]
        )
    study = to_config(diagnosis.tree).study
    if study is None:  # study=null
        return None
    if faults := check_study(study):
        raise FaultyConfigError(faults)
    return study


def is_hydra(text: str) -> bool:
    """Whether an override is meant for Hydra itself, such as `hydra/launcher=joblib` or `+hydra.launcher.x=1`."""
    return _key(text).startswith(("hydra.", "hydra/"))


def _parsed(words: Sequence[str], hydra: Sequence[str], base: Sequence[str], config_dir: Path | None) -> list[Override]:
    typed = {_key(text) for text in words}
    diagnosis = diagnose([*(text for text in base if _key(text) not in typed), *words, *hydra], config_dir)
    if diagnosis.faults:
        raise FaultyConfigError([*diagnosis.faults, *content_faults(diagnosis, words)])
    parsed: list[Override] = OverridesParser.create().parse_overrides(list(words))
    empty = [one for one in parsed if one.is_discrete_sweep() and not list(one.sweep_string_iterator())]
    if empty:
        raise FaultyConfigError([Fault(one.key_or_group, f"{one.input_line} has no values.", "List some.") for one in empty])
    endless = [one for one in parsed if one.is_sweep_override() and not one.is_discrete_sweep()]
    if endless:
        raise FaultyConfigError(
            [
                Fault(one.key_or_group, "an interval has no list of values.", "List values, or search with hydra/sweeper=optuna.")
                for one in endless
            ]
        )
    return parsed


def _refuse_folds(parsed: Sequence[Override], folds: int) -> None:
    faults = [
        Fault(
            one.key_or_group,
            f"{one.input_line}: the study trains each of its {folds} folds.",
            "Give study.folds=5 for another number, study.folds=null for none.",
        )
        for one in parsed
        if one.key_or_group in FOLD_KEYS
    ]
    if faults:
        raise FaultyConfigError(faults)


def _grid(swept: Sequence[Override]) -> tuple[str, list[tuple[str, tuple[str, ...]]]]:
    """Label of the first combination, and every combination as its label and its words; one empty one if nothing is swept."""
    values = [[f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()] for one in swept]
    combinations = [(" ".join(_shown(word) for word in words), words) for words in itertools.product(*values)]
    return combinations[0][0], combinations


def _shown(word: str) -> str:
    """`model.conv_layers=3` -> `conv_layers=3`."""
    key, value = word.split("=", 1)
    return f"{key.rsplit('.', 1)[-1]}={value}"


def _seeds(given: Sequence[Override], study: StudyConfig | None) -> tuple[int, ...] | None:
    if given:
        last = given[-1]
        return tuple(int(str(value)) for value in (last.sweep_iterator() if last.is_sweep_override() else [last.value()]))
    return tuple(study.seeds) if study is not None else None


def _factor(study: StudyConfig | None, rows: Sequence[Row], swept: Sequence[Override]) -> str | None:
    if study is not None and study.factor is not None:
        return study.factor
    keys = {one.key_or_group for one in swept}
    if study is not None:
        keys |= {_key(word) for row in rows for word in row.overrides if word not in study.base}
    return keys.pop() if len(keys) == 1 else None


def _name(about_study: Sequence[str], others: Sequence[str]) -> str:
    for text in about_study:
        if text.startswith("study="):
            return text.split("=", 1)[1]
    digest = hashlib.sha256("\n".join(sorted(others)).encode()).hexdigest()
    return f"grid-{digest[:GRID_DIGITS]}"
