"""The rows of a study, written out or in a short notation, their faults, and the runs (seeds and folds) of a row."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.errors import HydraException

from fer_ablate.config.averaged_rows import average_faults
from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.by_class import by_class_faults
from fer_ablate.config.choices import AverageOver
from fer_ablate.config.columns import column_problem, number_problem
from fer_ablate.config.excluded_rows import exclusion_faults, is_excluded
from fer_ablate.config.overrides import Override, assignment, parsed_overrides, spelled
from fer_ablate.config.schema import Config, RowConfig, StudyConfig
from fer_ablate.errors import Fault, choices

FOLD_KEYS = ("data.folds", "data.fold")
"""Keys that `study.folds` sets for every run."""

FOLDS_REMEDY = "Give the study folds: 10, which trains every row on each of ten folds."

EXPERIMENT_KEY = "tracking.experiment"
"""Key of the experiment that the runs of a study are recorded in, by default one with the name of the study."""

NOT_FOR_ROWS = {
    "seed": "Seeds belong in study.seeds.",
    "name": "A row is named by its label.",
    "runs_dir": "Type it with the command: one study has one folder.",
    EXPERIMENT_KEY: "Write it in study.base: one study is one experiment.",
    "study": "Write it beside the rows.",
    "search": "A search sets it itself.",
    "hydra": "Type it with the command.",
}
"""Key that no row may set, or the first part of it -> remedy."""

BASELINE = "baseline"
"""Label of the row that changes nothing, if the study names none."""


@dataclass(frozen=True)
class Row:
    """A named row.

    Args:
        label: unique in its study.
        overrides: all of them, those of the study first.
        start_from: label of the row whose weights it starts with.
        published: column -> printed number, or a mapping of `value` and `note`.
        by_class: printed classification report, see `by_class.report_columns`.
        auxiliary: trained only because another row starts from it or averages it; not part of any table.
        average_of: labels of the rows whose networks it averages; such a row is not trained.
        average_over: whether each seed has an average of its own, or all seeds have one together.
    """

    label: str
    overrides: tuple[str, ...]
    start_from: str | None = None
    published: Mapping[str, Any] = field(default_factory=dict)
    auxiliary: bool = False
    by_class: Mapping[str, Any] = field(default_factory=dict)
    average_of: tuple[str, ...] = ()
    average_over: AverageOver = AverageOver.rows

    def repeats(self, seeds: Sequence[int], folds: int | None) -> "tuple[Repeat, ...]":
        """The results of the row: one for each seed, or one for all of them together; and with folds one for each of them."""
        together = self.average_of and self.average_over is AverageOver.seeds
        return repeats(seeds[:1] if together else seeds, folds)


@dataclass(frozen=True)
class Repeat:
    """Seed and fold, in which the runs of one row differ.

    Args:
        seed: of the run.
        fold: the tested one, from 0; None without folds.
    """

    seed: int
    fold: int | None = None

    def __str__(self) -> str:
        """`seed 0`, or `seed 0, fold 3`."""
        return f"seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")

    @property
    def short(self) -> str:
        """`0`, or `0/3`."""
        return str(self.seed) + ("" if self.fold is None else f"/{self.fold}")

    @property
    def place(self) -> tuple[int, int]:
        """Sort key: by seed, then by fold."""
        return self.seed, -1 if self.fold is None else self.fold


def repeat_of(config: Config) -> Repeat:
    """Seed and fold of a config."""
    return Repeat(config.seed, config.data.fold if config.data.folds is not None else None)


def repeats(seeds: Sequence[int], folds: int | None) -> tuple[Repeat, ...]:
    """The runs of a row. All folds of a seed come before the next seed, so that one cross-validation is complete early."""
    return tuple(Repeat(seed, fold) for seed in seeds for fold in (range(folds) if folds is not None else (None,)))


def rows_of(study: StudyConfig) -> list[Row]:
    """Every row of a study without faults, the written ones first, without those that `exclude` leaves out.

    >>> [row.label for row in rows_of(StudyConfig(one_factor={"optimizer.lr": [0.1, 0.01]}))]
    ['baseline', 'lr=0.1', 'lr=0.01']
    """
    written = [
        Row(
            label=row.label,
            overrides=() if row.average_of else (*study.base, *row.overrides),
            start_from=row.start_from,
            published={**study.published.get(row.label, {}), **row.published},
            auxiliary=row.auxiliary,
            by_class=row.by_class,
            average_of=tuple(row.average_of),
            average_over=row.average_over,
        )
        for row in [*_implied_baseline(study), *study.rows]
    ]
    short = [
        Row(label, (*study.base, *overrides), None, study.published.get(label, {})) for label, overrides in _short_rows(study)
    ]
    return [row for row in (*written, *short) if not is_excluded(row.overrides, study.exclude)]


def baseline_of(study: StudyConfig) -> str:
    """Label of the row that the others are compared with."""
    return study.baseline or rows_of(study)[0].label


def study_file_faults(study: StudyConfig) -> list[Fault]:
    """Faults of a study by itself; those of the configs of its rows are found when these are composed."""
    faults = bound_faults(study, "study")
    if hindering := [*_notation_faults(study), *_override_faults(study), *exclusion_faults(study.exclude)]:
        return [*faults, *hindering]
    rows = rows_of(study)
    labels = [row.label for row in rows]
    if not rows:
        left = "exclude leaves out all of them." if study.exclude else "there are no rows."
        return [Fault("study.rows", left, "Give rows, one_factor, zipped or crossed in the study's file.")]
    faults += [
        Fault("study.rows", f"{count} rows are called '{label}'.", "Give each a label of its own.")
        for label, count in Counter(labels).items()
        if count > 1
    ]
    if study.baseline is not None and study.baseline not in labels:
        faults.append(Fault("study.baseline", f"there is no row '{study.baseline}'.", choices(study.baseline, labels)))
    faults += [
        Fault("study.rows", f"there is no row '{label}'.", choices(label, labels))
        for label in study.published
        if label not in labels
    ]
    faults += [*_start_faults(rows), *average_faults(study, labels), *added_seeds_faults(study)]
    return [*faults, *_auxiliary_faults(rows, baseline_of(study)), *_published_faults(rows)]


def trained_labels(rows: Sequence[Row]) -> list[str]:
    """Labels of the rows that are trained, rather than averaged from others."""
    return [row.label for row in rows if not row.average_of]


def waves(rows: Sequence[Row]) -> list[list[Row]]:
    """Group rows so that each comes in a later group than the row it starts from."""
    left, done, order = list(rows), set[str](), []
    present = {row.label for row in rows}
    while left:
        ready = [row for row in left if row.start_from is None or row.start_from in done or row.start_from not in present]
        order.append(ready)
        done |= {row.label for row in ready}
        left = [row for row in left if row not in ready]
    return order


def _implied_baseline(study: StudyConfig) -> Iterator[RowConfig]:
    """One factor at a time is compared with the row that changes none, so this row is added if it is not written."""
    label = study.baseline or BASELINE
    if study.one_factor and label not in [row.label for row in study.rows]:
        yield RowConfig(label=label)


def _short_rows(study: StudyConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = _names([*study.one_factor, *study.zipped, *study.crossed])
    combinations: list[list[tuple[str, Any]]] = [[(key, value)] for key, values in study.one_factor.items() for value in values]
    if study.zipped:
        combinations += [list(zip(study.zipped, values, strict=True)) for values in zip(*study.zipped.values(), strict=True)]
    if study.crossed:
        combinations += [list(zip(study.crossed, values, strict=True)) for values in itertools.product(*study.crossed.values())]
    for pairs in combinations:
        label = " ".join(f"{names[key]}={spelled(value).strip(chr(39))}" for key, value in pairs)
        yield label, tuple(assignment(key, value) for key, value in pairs)


def _names(keys: Sequence[str]) -> dict[str, str]:
    """Every key in short, see `Override.short`, or the whole key where two are the same in short."""
    short = {key: Override("", key, None).short for key in keys}
    counts = Counter(short.values())
    return {key: key if counts[name] > 1 else name for key, name in short.items()}


def _notation_faults(study: StudyConfig) -> list[Fault]:
    faults = []
    for name in ("one_factor", "zipped", "crossed"):
        for key, values in getattr(study, name).items():
            if remedy := _row_remedy(key):
                faults.append(Fault(f"study.{name}.{key}", "is not for rows to set.", remedy))
            if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                faults.append(Fault(f"study.{name}.{key}", f"{values!r} is not a list of values.", "Give, say, [0.1, 0.01]."))
    faults += [
        Fault(f"study.published.{label}", f"{given!r} is no mapping of columns to numbers.", "Write {test/acc: 65.35}.")
        for label, given in study.published.items()
        if not isinstance(given, Mapping)
    ]
    faults += [
        Fault(f"study.rows '{row.label}'", "average_of: it is no list of labels.", "Name rows: average_of: [a, b].")
        for row in study.rows
        if not all(isinstance(label, str) for label in row.average_of)
    ]
    lengths = {key: len(values) for key, values in study.zipped.items() if isinstance(values, Sequence)}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        faults.append(Fault("study.zipped", f"the lists differ in length: {listed}.", "Row k takes the k-th value of each."))
    return faults


def _override_faults(study: StudyConfig) -> list[Fault]:
    """Faults of overrides that cannot be part of a row."""
    faults = []
    for label, overrides in [("study.base", study.base), *((f"study.rows '{row.label}'", row.overrides) for row in study.rows)]:
        for text in overrides:
            try:
                (parsed,) = parsed_overrides([text])
            except HydraException:
                faults.append(Fault(label, f"'{text}' is not an override.", "Write key=value as on the command line."))
                continue
            if parsed.is_sweep_override():
                faults.append(Fault(label, f"'{text}' is several values.", "A row is one run; use one_factor or crossed."))
                continue
            # What all rows have in common may name their folder and experiment; and folds, unless the study sets them.
            common = ("runs_dir", EXPERIMENT_KEY, *(FOLD_KEYS if study.folds is None else ())) if label == "study.base" else ()
            if parsed.key_or_group not in common and (remedy := _row_remedy(parsed.key_or_group)):
                faults.append(Fault(label, f"'{text}' is not for rows to set.", remedy))
    return faults


def _row_remedy(key: str) -> str:
    """What to do instead of setting a key in a row; empty for a key that rows may set."""
    bare = key.lstrip("+~")
    if bare in FOLD_KEYS:
        return FOLDS_REMEDY
    return NOT_FOR_ROWS.get(bare, NOT_FOR_ROWS.get(bare.partition(".")[0].partition("/")[0], ""))


def _start_faults(rows: Sequence[Row]) -> list[Fault]:
    starts = {row.label: row.start_from for row in rows}
    faults = [
        Fault(f"study.rows '{label}'", f"start_from: there is no row '{start}'.", choices(start, starts))
        for label, start in starts.items()
        if start is not None and start not in starts
    ]
    for label in starts if not faults else ():
        seen, at = [label], starts[label]
        while at is not None and at not in seen:
            seen.append(at)
            at = starts[at]
        if at == label:
            faults.append(Fault(f"study.rows '{label}'", f"starts from itself: {' <- '.join([*seen, at])}.", "Break the circle."))
    return faults


def added_seeds_faults(study: StudyConfig) -> Iterator[Fault]:
    """What cannot go together with seeds that are added until rows are decided."""
    if study.seeds_until is None:
        return
    key = "study.seeds_until"
    if len(study.seeds) < 2:
        yield Fault("study.seeds", "one seed shows no spread to decide by.", "Begin with several: seeds: [0, 1, 2].")
    if study.max_seeds < len(study.seeds):
        yield Fault("study.max_seeds", f"{study.max_seeds} is fewer than the first {len(study.seeds)}.", "Raise it.")
    if study.folds is not None:
        yield Fault(key, "the seeds of a fold share its images, so more seeds decide nothing.", "Leave it out, or folds.")
    if any(row.average_of for row in study.rows):
        yield Fault(key, "rows that average others have no seeds of their own.", "Leave it out, or average_of.")


def _auxiliary_faults(rows: Sequence[Row], baseline: str) -> list[Fault]:
    needed = {row.start_from for row in rows} | {label for row in rows for label in row.average_of}
    faults = []
    for row in rows:
        if row.auxiliary and row.label == baseline:
            faults.append(Fault("study.baseline", f"'{baseline}' is auxiliary and part of no table.", "Name another row."))
        if row.auxiliary and row.label not in needed and not row.average_of:
            problem = "is auxiliary, but no row starts from it or averages it."
            faults.append(Fault(f"study.rows '{row.label}'", problem, "Drop one of the two."))
    return faults


def _published_faults(rows: Sequence[Row]) -> list[Fault]:
    faults = []
    for row in rows:
        key = f"study.rows '{row.label}'"
        for column, given in row.published.items():
            number = given.get("value", given) if isinstance(given, Mapping) else given
            if problem := column_problem(column):
                faults.append(Fault(key, f"published {problem}", "Name the split and the metric as in study.columns."))
            if problem := number_problem(column.partition("/")[2], number):
                faults.append(Fault(key, f"published {column}: {problem}", "Write 65.35, or {value: 65.35, note: ...}."))
        faults += by_class_faults(row.label, row.by_class)
    return faults
