"""The rows of an ablation path: which are due, decided by finished runs alone, and what the path leaves.

An interrupted path goes on where it was: the same finished runs choose the same steps again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import OmegaConf

from fer_ablate.cli import console
from fer_ablate.config.compose import composer, file_flags, flat
from fer_ablate.config.conf_files import CONFIG_NAME, conf_dir
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.overrides import assignment, key_of, spelled, value_of
from fer_ablate.config.schema import RowConfig, StudyConfig
from fer_ablate.config.study_rows import Row
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.judgement.judged_table import JudgedTable
from fer_ablate.judgement.path import AblationPath, Candidate, Decided, best_change, judged_path
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.study.cells import Cell, compose_cells
from fer_ablate.study.path_changes import Change, changes_between, joined, told_apart, with_values, words_between
from fer_ablate.study.plan import Plan, make_plan
from fer_ablate.study.spec import StudySpec, last_of_each_key
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import PATH_MARK, Scan, folder_name, scan


@dataclass(frozen=True)
class Ends:
    """Where a path begins and ends.

    Args:
        name: of the study or the search.
        study: of which seeds, folds, columns and margin are taken.
        seeds: of every row.
        typed: overrides of the command line that hold for every run.
        start: row at the beginning.
        end: row at the end.
        decides: column of val that chooses the steps.
        higher_is_better: whether more of it is better.
        experiment: in whose folder the runs are.
        config_dir: what was given as `--config-dir`.
        needs: key -> another key without which it has no meaning.
        source: plan of the study, whose rows the path may share runs with; None for a search.
    """

    name: str
    study: StudyConfig
    seeds: tuple[int, ...]
    typed: tuple[str, ...]
    start: Row
    end: Row
    decides: str
    higher_is_better: bool
    experiment: str
    config_dir: Path | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    source: Plan | None = None

    def changes(self) -> list[Change]:
        """What leads from the beginning to the end.

        Raises:
            UserError: nothing does.
        """

        def check(words: Sequence[str]) -> Sequence[Any]:
            return diagnose(last_of_each_key(words), self.config_dir).faults

        found = changes_between(self.start.overrides, self.end.overrides, check, self.needs)
        if not found:
            raise UserError(
                f"'{self.end.label}' has the overrides of '{self.start.label}', so there is no path. Name another: to="
            )
        return told_apart(with_values(found, self._values(self.start), self._values(self.end)))

    def _values(self, row: Row) -> dict[str, str]:
        """Key -> value of every setting of a row, set or by default; of a group its choice, as far as the settings show it."""
        tree = diagnose(last_of_each_key(row.overrides), self.config_dir).tree
        assert tree is not None, "the rows of a plan have no faults"
        leaves = {key: spelled(value) for key, value in flat(OmegaConf.to_container(tree, enum_to_str=True)).items()}
        typed = {key_of(word): value_of(word) for word in row.overrides}
        # An experiment, or a config of the user's own, chooses other files of groups, and not all of these have a name inside.
        listed = {} if "experiment" in typed or len(file_flags(self.config_dir)) > 2 else _default_choices()
        groups = {key: leaves.get(f"{key}.name", listed.get(key, "the default")) for key in map(str, tree)}
        return groups | leaves | typed

    @property
    def repeats(self) -> int:
        """Runs of a row."""
        return len(self.seeds) * (self.study.folds or 1)

    def row(self, label: str, words: Sequence[str], auxiliary: bool = False) -> Row:
        """A row with these overrides, what was typed last."""
        return Row(label, (*(word for word in words if word not in self.typed), *self.typed), auxiliary=auxiliary)

    def spec(self, name: str, rows: Sequence[Row]) -> StudySpec:
        """A study of these rows, the first of which is the baseline."""
        # In the folder of the source, whose finished rows may be rows of this study as well.
        known = any(key_of(word) == "tracking.experiment" for word in self.typed)
        place = () if known else (assignment("tracking.experiment", self.experiment),)
        rows = tuple(replace(row, overrides=(*row.overrides, *place)) for row in rows)
        typed = (*self.typed, *place)
        own = [[one for one in row.overrides if one not in typed] for row in rows]
        base = [words[0] for words in takewhile(lambda words: len(set(words)) == 1, zip(*own, strict=False))]
        study = StudyConfig(
            source=self.study.source,
            base=base,
            baseline=rows[0].label,
            rows=[RowConfig(label=row.label, overrides=one[len(base) :]) for row, one in zip(rows, own, strict=True)],
            seeds=list(self.seeds),
            folds=self.study.folds,
            columns=list(dict.fromkeys((*self.study.columns, self.decides))),
            protocol=self.study.protocol,
            margin=self.study.margin,
            mixed_protocols=self.study.mixed_protocols,
        )
        return StudySpec(name, study, True, rows, self.seeds, rows[0].label, typed, None)

    def compose(self, rows: Sequence[Row]) -> list[Cell]:
        """The runs of rows, checked."""
        return compose_cells(self.spec("", rows), self.config_dir)


class ForwardPath:
    """A path from one row to another, by the step that scores best on val.

    Args:
        ends: where it begins and ends.
    """

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.name = folder_name(f"{ends.name}{PATH_MARK}{ends.end.label}")
        self.changes = ends.changes()
        self.decided: list[Decided] = []
        self.notes: list[str] = []
        self.left = len(self.changes)
        """Changes that are not made yet."""
        self._start = ends.row(ends.start.label, ends.start.overrides)
        self._cells: dict[str, list[Cell]] = {ends.start.label: ends.compose([self._start])}
        self._faults: dict[str, str] = {}

    def plan(self) -> Plan:
        """The rows of all steps that are decided, and those to be compared at the next one.

        Finished runs alone decide, so the same call gives more rows when there are more of these.
        """
        with composer(self.ends.config_dir):  # one for all steps, so that each file is read once
            return self._plan(scan(Path(self._cells[self._start.label][0].config.runs_dir)))

    def _plan(self, found: Scan) -> Plan:
        self.decided, self.notes = [], []
        taken: list[Change] = []
        rows, tried, left = [self._start], list[Row](), list(self.changes)
        while left:
            options = self._options(taken, left, rows[-1])
            if not options:  # what is left has no effect
                left = []
                break
            values = {change: self._value(row, found) for change, row in options.items()}
            known = {change: value for change, value in values.items() if value is not None}
            if len(known) < len(values):
                tried = [replace(row, auxiliary=True) for row in options.values()]
                break
            best = best_change(known, self.ends.higher_is_better)
            self.decided.append(Decided(options[best].label, best.label, self._candidates(taken, left, rows[-1], known)))
            rows.append(options[best])
            taken.append(best)
            left = [change for change in left if not set(change.keys) <= set(best.keys)]
        self.left = len(left)
        spec = self.ends.spec(self.name, [*rows, *tried])
        return make_plan(spec, [cell for row in spec.rows for cell in self._cells[row.label]], found)

    def path(self, table: JudgedTable, rows: Sequence[RowRuns]) -> AblationPath:
        """The path as it is decided so far, judged."""
        notes = list(dict.fromkeys(self.notes))
        if self.left:
            notes.append(f"{console.counted(self.left, 'change')} not made yet: runs are missing.")
        return judged_path(table, rows, self.decided, self.ends.end.label, self.ends.decides, notes)

    def _options(self, taken: Sequence[Change], left: Sequence[Change], now: Row) -> dict[Change, Row]:
        """What can be changed next -> the row with it; all that is left in one step if no single change can be made alone."""
        rows = {change: self._row([*taken, change]) for change in left}
        self._compose(list(rows.values()))
        problems = {change: problem for change, row in rows.items() if (problem := self._problem(row, now))}
        if len(problems) < len(left):
            self._tried_without(problems, now)
            return {change: row for change, row in rows.items() if change not in problems}
        names = " and ".join(change.label for change in left)
        together = joined(left)
        row = self._row([*taken, together])
        self._compose([row])
        if self._problem(row, now):
            self.notes.append(f"{names}: no effect on a run.")
            return {}
        self.notes.append(f"{names}: made in one step, since none of them can be made alone.")
        return {together: row}

    def _tried_without(self, problems: Mapping[Change, str], now: Row) -> None:
        for change, problem in problems.items():
            self.notes.append(f"{change.label} was not tried after '{now.label}': {problem}")

    def _row(self, taken: Sequence[Change]) -> Row:
        label = " ".join(f"+ {change.label}" for change in taken)
        return self.ends.row(label, words_between(self.ends.start.overrides, self.ends.end.overrides, taken))

    def _compose(self, rows: Sequence[Row]) -> None:
        """Compose the rows that are not known yet; what is wrong with one is kept as its problem."""
        new = [row for row in rows if row.label not in self._cells and row.label not in self._faults]
        if not new:
            return
        try:
            cells = self.ends.compose([self._start, *new])
        except UserError as error:
            if len(new) == 1:
                self._faults[new[0].label] = _first_fault(error)
            for row in new if len(new) > 1 else ():  # which of them it is about
                self._compose([row])
        else:
            self._cells |= {row.label: [cell for cell in cells if cell.row.label == row.label] for row in new}

    def _problem(self, row: Row, now: Row) -> str:
        """Why a row cannot come after another one; empty if it can."""
        if row.label in self._faults:
            return self._faults[row.label]
        keys, before = ({cell.key for cell in self._cells[label]} for label in (row.label, now.label))
        return "it changes nothing there." if keys == before else ""

    def _value(self, row: Row, found: Scan) -> float | None:
        """Mean of the deciding column over the runs of a row; None if one is missing.

        Raises:
            UserError: its runs have no such score.
        """
        plan = make_plan(self.ends.spec(self.name, [row]), self._cells[row.label], found)
        if any(planned.state is not RunState.finished for planned in plan.runs):
            return None
        return row_value(plan, row.label, self.ends.decides)

    def _candidates(
        self, taken: Sequence[Change], left: Sequence[Change], now: Row, known: Mapping[Change, float]
    ) -> tuple[Candidate, ...]:
        """What was tried, and what could not be."""
        listed = [*left] if set(known) <= set(left) else [*known]
        rows = {change: self._row([*taken, change]) for change in listed}
        return tuple(Candidate(change.label, known.get(change), self._problem(rows[change], now)) for change in listed)


def row_value(plan: Plan, label: str, column: str) -> float:
    """Mean of a column over the finished runs of a row.

    Raises:
        UserError: a run has no such score.
    """
    split, _, metric = column.partition("/")
    results = [
        planned.folder.result for planned in plan.runs if planned.cell.row.label == label and planned.state is RunState.finished
    ]
    values = [found.value(metric) if (found := result.splits.get(split)) is not None else None for result in results]
    if None in values:
        raise UserError(f"{column}: the runs of '{label}' have no such score, so it cannot choose the steps of a path.")
    return fmean(value for value in values if value is not None)


def reverse_rows(ends: Ends) -> tuple[StudySpec, list[Cell], list[str]]:
    """The study that takes back one change of the full recipe at a time; and what cannot be taken back, a sentence each."""
    changes = ends.changes()
    full = ends.row(ends.end.label, ends.end.overrides)
    rows, notes = [full], []
    cells = ends.compose([full])
    keys = {cell.key for cell in cells}
    for change in changes:
        kept = [one for one in changes if one != change]
        row = ends.row(f"without {change.label}", words_between(ends.start.overrides, ends.end.overrides, kept))
        try:
            found = [cell for cell in ends.compose([full, row]) if cell.row.label == row.label]
        except UserError as error:
            notes.append(f"{change.label} cannot be taken back alone: {_first_fault(error)}")
            continue
        if {cell.key for cell in found} == keys:
            notes.append(f"{change.label} changes nothing in '{full.label}'.")
            continue
        rows.append(row)
        cells += found
    if len(rows) == 1:
        raise UserError(" ".join(["No change can be taken back alone.", *notes]))
    return ends.spec(folder_name(f"{ends.name}-less-one-of-{ends.end.label}"), rows), cells, notes


def _default_choices() -> dict[str, str]:
    """Group -> the file of it that is chosen by default."""
    listed = OmegaConf.load(conf_dir() / f"{CONFIG_NAME}.yaml").defaults
    return {str(group): str(name) for one in listed if not isinstance(one, str) for group, name in one.items()}


def _first_fault(error: UserError) -> str:
    if isinstance(error, FaultyConfigError):
        fault = error.faults[0]
        # Its row is named in the sentence already.
        return f"{fault.key.rpartition('] ')[2]}: {fault.problem}"
    return str(error).splitlines()[0]
