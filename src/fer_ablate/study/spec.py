"""What a command line asks for: rows, seeds and folds of a study, of a grid, or of a study crossed with a grid."""

import hashlib
import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.compose import to_config
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.excluded_rows import is_excluded, without_effect
from fer_ablate.config.overrides import (
    MOST_COMBINATIONS,
    Override,
    ParsedOverride,
    assignment,
    is_of_study,
    key_of,
    parsed_overrides,
    value_of,
)
from fer_ablate.config.schema import StudyConfig, StudyKeys, StudySwitches
from fer_ablate.config.study_rows import FOLD_KEYS, Row, added_seeds_faults, baseline_of, rows_of, study_file_faults
from fer_ablate.config.yaml_files import read_yaml
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.study.chosen_rows import CHOSEN, is_list, no_list, selection_faults
from fer_ablate.study.faults import content_faults
from fer_ablate.study.file_faults import written_faults
from fer_ablate.study.row_texts import with_texts_of_rows

GRID_DIGITS = 8
"""Digits of the digest that distinguishes grids in file names."""

SWITCHES = tuple(one.name for one in fields(StudySwitches))

ADDING = ("max_seeds", "budget_hours")
"""Keys that have an effect beside `seeds_until` alone."""

Part = TypeVar("Part", StudyConfig, StudySwitches)


@dataclass(frozen=True)
class StudySpec:
    """Rows x seeds, and with `folds` x folds; and what the command does with them.

    Args:
        name: name of the study, or `grid-` and a digest of what was typed.
        study: the study's file with what was typed about it; all defaults for a grid without one.
        from_file: whether there is such a file.
        rows: all of them, whatever `switches.select` chooses.
        seeds: None leaves the seed to the config of each row. With `looks`, all that may be added.
        baseline: label of the row that the others are compared with.
        typed: overrides of the command line that hold for every run.
        factor: key on the horizontal axis of a plot; None if no single one is swept.
        switches: what this command does with the study; `select` has the labels of `rows`.
        left_out: rows that `exclude` leaves out.
        swept: keys that the command line gives several values.
        looks: numbers of seeds after which rows are looked at, while seeds are added; empty: all seeds are trained.
    """

    name: str
    study: StudyConfig
    from_file: bool
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] | None
    baseline: str
    typed: tuple[str, ...]
    factor: str | None
    switches: StudySwitches = field(default_factory=StudySwitches)
    left_out: int = 0
    looks: tuple[int, ...] = ()
    swept: tuple[str, ...] = ()

    @property
    def folds(self) -> int | None:
        """Folds that every row is trained on for each seed; None: its images are not divided, or its configs say how."""
        return self.study.folds


def study_spec(overrides: Sequence[str], config_dir: Path | None = None) -> StudySpec:
    """Read a command line.

    Args:
        overrides: as typed, without flags; several values as in `seed=0,1,2` make several runs.
        config_dir: what was given as `--config-dir`.

    Raises:
        FaultyConfigError: with every fault of the words themselves and of the study's file.
    """
    about_study = [text for text in overrides if is_of_study(text)]
    others = [text for text in overrides if text not in about_study and not is_hydra(text)]
    name = _name(about_study, others)
    keys = _study_keys(about_study, name, config_dir, any(key_of(text) == "seed" for text in others))
    # From here on what the study is and what this command does with it go separate ways.
    study = _part(StudyConfig, keys) if keys is not None else None
    hydra = [text for text in overrides if is_hydra(text)]
    parsed = _parsed(others, hydra, study.base if study is not None else (), config_dir)
    if study is not None and study.folds is not None:
        _refuse_folds(parsed, study.folds)
    seeds = [one for one in parsed if one.key_or_group == "seed"]
    if any(one.is_delete() for one in seeds):
        raise FaultyConfigError([Fault("seed", "every run has one.", "Leave ~seed out, or give another, as in seed=1.")])
    swept = [one for one in parsed if one.is_sweep_override() and one not in seeds]
    if any(one.key_or_group == "name" for one in swept):
        raise FaultyConfigError([Fault("name", "several names.", "Leave it out: a row is named by what it sets.")])
    ordered = [one for one in parsed if one not in seeds]
    typed = tuple(str(one.input_line) for one in ordered if one not in swept)
    exclude = study.exclude if study is not None else []
    # All of them, since what was typed may take the place of what `exclude` is about.
    rows = rows_of(replace(study, exclude=[])) if study is not None else [Row("", ())]
    baseline = baseline_of(study) if study is not None else ""
    first_seeds = _seeds(seeds, study)
    if seeds and study is not None:
        _refuse_seeds(replace(study, seeds=list(first_seeds or ())))
    looks = look_seeds(len(first_seeds), study.max_seeds) if study is not None and study.seeds_until and first_seeds else ()
    first, grid = _grid(ordered)
    crossed = tuple(
        replace(
            row,
            label=_with(row.label, label) or "all defaults",
            # The last one of a key counts, so what was typed wins over the row's own.
            overrides=(*row.overrides, *words),
            start_from=_with(row.start_from, label) if row.start_from else None,
            average_of=tuple(_with(one, label) for one in row.average_of),
        )
        for row in rows
        for label, words in grid
    )
    kept = tuple(row for row in crossed if not is_excluded(row.overrides, exclude))
    switches = _part(StudySwitches, keys) if keys is not None else StudySwitches()
    # Rows are chosen by their labels in the file; with a grid, that means all of its combinations.
    switches.select = [_with(one, label) for one in switches.select for label, _ in grid]
    if exclude:
        _check_exclusions(exclude, [row.overrides for row in (*rows, *crossed)], kept, _with(baseline, first))
    return StudySpec(
        name=name,
        study=study or StudyConfig(),
        from_file=study is not None,
        rows=kept,
        seeds=further_seeds(first_seeds, study.max_seeds) if study is not None and looks else first_seeds,
        looks=looks,
        baseline=_with(baseline, first) or "all defaults",
        typed=typed,
        factor=_factor(study, rows, swept),
        switches=switches,
        left_out=len(crossed) - len(kept),
        swept=tuple(one.key_or_group for one in swept),
    )


def _check_exclusions(exclude: Sequence[Any], every: Sequence[Sequence[str]], kept: Sequence[Row], baseline: str) -> None:
    """Refuse exclusions that leave out nothing, or something that the study needs.

    Args:
        exclude: of the study.
        every: overrides of all rows.
        kept: rows that are left.
        baseline: label of the row that the others are compared with.

    Raises:
        FaultyConfigError: with every such exclusion.
    """
    faults = without_effect(exclude, every)
    labels = {row.label for row in kept}
    if baseline not in labels:
        faults.append(Fault("study.exclude", f"'{baseline}', the baseline, is left out.", "Name another one as baseline."))
    for row in kept:
        needed = [label for label in (row.start_from, *row.average_of) if label is not None and label not in labels]
        faults += [Fault("study.exclude", f"'{label}' is left out, which '{row.label}' needs.") for label in needed]
    if faults:
        raise FaultyConfigError(faults)


def _refuse_seeds(study: StudyConfig) -> None:
    """Refuse typed seeds that a study of added seeds cannot begin with."""
    if faults := list(added_seeds_faults(study)):
        raise FaultyConfigError(faults)


def look_seeds(first: int, most: int) -> tuple[int, ...]:
    """Numbers of seeds after which a study looks at its table, each about half as many again as the one before.

    >>> look_seeds(3, 20)
    (3, 5, 8, 12, 18, 20)
    """
    looks = [first]
    while looks[-1] < most:
        looks.append(min(most, max(looks[-1] + 1, (3 * looks[-1] + 1) // 2)))
    return tuple(looks)


def further_seeds(first: Sequence[int] | None, most: int) -> tuple[int, ...]:
    """These seeds, and the next higher ones until there are as many as may be added."""
    given = tuple(first or ())
    return (*given, *range(max(given) + 1, max(given) + 1 + most - len(given)))


def study_file(name: str, config_dir: Path | None = None) -> Path:
    """The file of a study; one in the folder of `--config-dir` goes before one that comes with the package."""
    folders = (*([config_dir] if config_dir is not None else []), conf_dir())
    files = [folder / "study" / f"{name}.yaml" for folder in folders]
    return next((file for file in files if file.is_file()), files[-1])


def switch_faults(file: Path) -> list[Fault]:
    """Switches of a command that stand in a study's file, which describes a document and holds for every command."""
    try:
        content = OmegaConf.to_container(read_yaml(file))
    except (UserError, OmegaConfBaseException):
        return []  # whoever reads the file for its rows says what is wrong with it
    return [_switch_fault(str(file), name, content[name]) for name in SWITCHES if isinstance(content, dict) and name in content]


def is_hydra(text: str) -> bool:
    """Whether an override is meant for Hydra itself, such as `hydra/launcher=joblib` or `+hydra.launcher.x=1`."""
    return key_of(text) == "hydra" or key_of(text).startswith(("hydra.", "hydra/"))


def last_of_each_key(overrides: Iterable[str]) -> list[str]:
    """The last override of each key: Hydra refuses two choices of one group, and what was typed comes last."""
    return list({key_of(text): text for text in overrides}.values())


def _study_keys(words: Sequence[str], name: str, config_dir: Path | None, other_seeds: bool = False) -> StudyKeys | None:
    """The study that words name; `other_seeds`: whether seeds are typed in place of its own, which are then left unchecked."""
    if not words:
        return None
    if not any(word.startswith("study=") for word in words):
        raise FaultyConfigError([Fault("study", "no study is named.", "Give study=quickstart, or another file of conf/study/.")])
    if faults := written_faults(study_file(name, config_dir)):
        raise FaultyConfigError(faults)
    chosen = [word for word in words if key_of(word) == CHOSEN]
    if unlisted := [value_of(word) for word in chosen if not is_list(word)]:
        keys = _study_keys([word for word in words if word not in chosen], name, config_dir, other_seeds)
        raise FaultyConfigError([no_list(typed, rows_of(keys) if keys is not None else []) for typed in unlisted])
    diagnosis = diagnose(words, config_dir)
    if diagnosis.faults or diagnosis.tree is None:
        # Where there is no such study, none of its keys exists either.
        raise FaultyConfigError([fault for fault in diagnosis.faults if fault.key == "study"] or diagnosis.faults)
    if any(one.is_sweep_override() for one in parsed_overrides(words)):
        raise FaultyConfigError(
            [Fault("study", "several studies or values at once.", "Give one; lists as in study.seeds=[0,1].")]
        )
    keys = to_config(with_texts_of_rows(diagnosis.tree)).study
    if keys is None:  # study=null
        return None
    of_seeds = list(added_seeds_faults(keys)) if other_seeds else []
    faults = [fault for fault in study_file_faults(keys) if fault not in of_seeds]
    faults += _misplaced_switches(keys, words, study_file(name, config_dir))
    faults += _unheeded(keys, {key_of(word).removeprefix("study.") for word in words})
    if faults := faults or list(selection_faults(keys, value_of(chosen[-1]) if chosen else "")):
        raise FaultyConfigError(faults)
    return keys


def _unheeded(keys: StudyKeys, typed: Collection[str]) -> list[Fault]:
    """Keys that say how seeds are added in a study that adds none, unless somebody switched that off for one command."""
    if keys.seeds_until is not None:
        return []
    default = StudyConfig()
    given = [name for name in ADDING if name in typed or getattr(keys, name) != getattr(default, name)]
    remedy = "Give study.seeds_until=decided, or leave it out."
    return [
        Fault(f"study.{name}", "has no effect: no seeds are added without study.seeds_until.", remedy)
        for name in given
        if name in typed or "seeds_until" not in typed
    ]


def _misplaced_switches(keys: StudyKeys, words: Sequence[str], file: Path) -> list[Fault]:
    """Switches in the file, or in one that it includes: these show by a value that nobody typed."""
    faults = switch_faults(file)
    typed = {key_of(word).removeprefix("study.") for word in words} | {fault.key.removeprefix("study.") for fault in faults}
    given = {name: getattr(keys, name) for name in SWITCHES if name not in typed}
    default = StudySwitches()
    included = [name for name, value in given.items() if value != getattr(default, name)]
    return [*faults, *(_switch_fault(f"a file that {file} includes", name, given[name]) for name in included)]


def _switch_fault(place: str, name: str, value: Any) -> Fault:
    typed = assignment("study.rows" if name == "select" else f"study.{name}", value.name if isinstance(value, Enum) else value)
    problem = f"{place} sets it, but it is a switch of a single command, not part of a study."
    return Fault(f"study.{name}", problem, f"Remove it there, and type {typed} on the command line.")


def _part(kind: type[Part], keys: StudyKeys) -> Part:
    """The keys of one of the two schemas that a command line mixes."""
    return kind(**{one.name: getattr(keys, one.name) for one in fields(kind)})


def _parsed(words: Sequence[str], hydra: Sequence[str], base: Sequence[str], config_dir: Path | None) -> list[ParsedOverride]:
    typed = {key_of(text) for text in words}
    # Composed with the base of the study, where a typed key may exist only because of it; a typed word replaces its own.
    diagnosis = diagnose([*(text for text in base if key_of(text) not in typed), *words, *hydra], config_dir)
    if diagnosis.faults:
        raise FaultyConfigError([*diagnosis.faults, *content_faults(diagnosis, words)])
    parsed = parsed_overrides(words)
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
    if repeated := [fault for one in parsed if one.is_sweep_override() for fault in _repeated_values(one)]:
        raise FaultyConfigError(repeated)
    return parsed


def _repeated_values(one: ParsedOverride) -> list[Fault]:
    """The fault of values that are listed twice: a network that counts as two would show a spread of zero."""
    values = list(one.sweep_string_iterator())
    # Seeds become numbers, so 1 and 01 are the same one.
    different = set(map(int, values) if one.key_or_group == "seed" else values)
    if len(different) == len(values):
        return []
    problem = f"{','.join(values)} is not a list of one or more different values."
    return [Fault(one.key_or_group, problem, "List each value once.")]


def _refuse_folds(parsed: Sequence[ParsedOverride], folds: int) -> None:
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


def _with(label: str, combination: str) -> str:
    """Label of a row that is crossed with a combination of a grid; either may be empty."""
    return " ".join(part for part in (label, combination) if part)


def _grid(words: Sequence[ParsedOverride]) -> tuple[str, list[tuple[str, tuple[str, ...]]]]:
    """Label of the first combination; and every combination as its label and its words, in the order of what was typed.

    The label has the keys with several values alone. The last of them changes fastest, as with Hydra's basic sweeper.
    """
    values = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [str(one.input_line)]
        for one in words
    ]
    if (runs := math.prod(map(len, values))) > MOST_COMBINATIONS:
        remedy = "List fewer, or search with hydra/sweeper=optuna."
        raise FaultyConfigError([Fault("", f"{runs:,} combinations of values, more than a grid can be.", remedy)])
    swept = [number for number, one in enumerate(words) if one.is_sweep_override()]
    combinations = [
        (" ".join(Override.parse(texts[number]).short for number in swept), texts) for texts in itertools.product(*values)
    ]
    return combinations[0][0], combinations


def _seeds(given: Sequence[ParsedOverride], study: StudyConfig | None) -> tuple[int, ...] | None:
    if given:
        last = given[-1]
        return tuple(int(str(value)) for value in (last.sweep_iterator() if last.is_sweep_override() else [last.value()]))
    return tuple(study.seeds) if study is not None else None


def _factor(study: StudyConfig | None, rows: Sequence[Row], swept: Sequence[ParsedOverride]) -> str | None:
    if study is not None and study.factor is not None:
        return study.factor
    keys = {one.key_or_group for one in swept}
    if study is not None:
        # The base is the same in every row, so its words sweep nothing.
        keys |= {key_of(word) for row in rows for word in row.overrides if word not in study.base}
    return keys.pop() if len(keys) == 1 else None


def _name(about_study: Sequence[str], others: Sequence[str]) -> str:
    for text in about_study:
        if text.startswith("study="):
            return value_of(text)
    # Sorted, since the same words in another order are the same grid.
    digest = hashlib.sha256("\n".join(sorted(others)).encode()).hexdigest()
    return f"grid-{digest[:GRID_DIGITS]}"
