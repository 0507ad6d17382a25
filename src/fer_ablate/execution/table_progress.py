"""How far a published table is: its finished runs, looked up by key where the images are there, and by name elsewhere."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.overrides import is_of_study
from fer_ablate.config.study_rows import repeats, trained_labels
from fer_ablate.errors import FaultyConfigError, UserError, first_line
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.faults import content_faults
from fer_ablate.study.plan import make_plan
from fer_ablate.study.spec import StudySpec, last_of_each_key, study_spec
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import Scan, scan

DATA_KEYS = ("data.path", "data.ferplus_path")
"""Faults of these keys mean only that this machine has no such files."""

NEEDS_DATA = "needs its images"

NOT_TRAINED = "an average"
"""What is said of a row that averages others, in place of its finished runs."""


@dataclass(frozen=True)
class TableProgress:
    """How far a table is.

    Args:
        study: rows and seeds.
        counts: label -> state -> number of runs, of the rows that the table shows.
        problem: why the runs were not looked up by their keys, and are counted by their names instead; empty if they were.
    """

    study: StudySpec
    counts: dict[str, Counter[RunState]] = field(default_factory=dict)
    problem: str = ""

    @property
    def labels(self) -> list[str]:
        """Labels of the rows that the table shows."""
        return [row.label for row in self.study.rows if not row.auxiliary]

    @property
    def repeats(self) -> int:
        """Runs of each row: one for each seed, and with folds for each of them."""
        # Without seeds, each row is trained once with that of its config.
        return len(self.study.seeds or (0,)) * (self.study.folds or 1)

    def left(self, labels: Sequence[str]) -> dict[str, int]:
        """Label -> number of runs that are not finished here."""
        return {label: self.repeats - self.counts.get(label, Counter())[RunState.finished] for label in labels}

    def in_words(self, labels: Sequence[str]) -> str:
        """Finished and other runs of these rows, such as `3 of 8, 2 stale`."""
        trained = [label for label in labels if label in trained_labels(self.study.rows)]
        if labels and not trained:
            return NOT_TRAINED
        total = Counter[RunState]()
        for label in trained:
            total += self.counts.get(label, Counter())
        unfinished = (RunState.stale, RunState.failed, RunState.running)
        counts = [f"{total[state]} {state.value}" for state in unfinished if total[state]]
        return ", ".join([f"{total[RunState.finished]} of {len(trained) * self.repeats}", *counts])


def runs_on_disk(words: Sequence[str], config_dir: Path | None) -> Scan:
    """All runs in the `runs_dir` of these words, scanned once for all tables.

    Raises:
        FaultyConfigError: the words have faults.
    """
    found = diagnose(words, config_dir)
    if found.faults or found.tree is None:
        raise FaultyConfigError(found.faults)
    return scan(Path(to_config(found.tree).runs_dir))


def table_progress(
    study: StudySpec, words: Sequence[str], runs: Scan, config_dir: Path | None, report_progress: Callable[[float], None]
) -> TableProgress:
    """Look up the runs of a table.

    Composing every row takes a while, so it is done only if there is a finished run of the same document.

    Args:
        study: rows and seeds.
        words: overrides of the command line.
        runs: from `runs_on_disk`.
        config_dir: what was given as `--config-dir`.
        report_progress: called with the finished fraction.
    """
    document = study.name.split("/")[0]
    if not any(record.finished and record.brief.experiment.split("/")[0] == document for record in runs.records):
        with suppress(UserError):  # which plan shows
            study = study_spec([f"study={study.name}", *words], config_dir)
        return TableProgress(study, problem=_missing_data(study, words, config_dir))
    try:
        spec = study_spec([f"study={study.name}", *words], config_dir)
        plan = make_plan(spec, compose_cells(spec, config_dir, report_progress), runs)
    except UserError as error:  # as a rule the images are missing, without which there are no keys
        return TableProgress(study, _counts_by_name(study, runs), _in_short(error))
    counts: dict[str, Counter[RunState]] = {}
    for planned in plan.runs:
        counts.setdefault(planned.cell.row.label, Counter())[planned.state] += 1
    return TableProgress(spec, counts)


def _missing_data(study: StudySpec, words: Sequence[str], config_dir: Path | None) -> str:
    """Faults of the first row that show without its images."""
    first = next(row for row in study.rows if not row.average_of)
    of_runs = [word for word in words if not is_of_study(word)]
    found = diagnose(last_of_each_key((*first.overrides, *of_runs)), config_dir)
    faults = [*found.faults, *content_faults(found, of_runs)]
    return _in_short(FaultyConfigError(faults)) if faults else ""


def _counts_by_name(study: StudySpec, runs: Scan) -> dict[str, Counter[RunState]]:
    """Finished runs with the name of the study, the row, the seed and the fold, whatever their config was."""
    briefs = (record.brief for record in runs.records if record.finished)
    names = {(brief.experiment, brief.name, brief.repeat) for brief in briefs}
    repeated = repeats(study.seeds or (), study.folds)
    return {
        row.label: Counter({RunState.finished: sum((study.name, row.label, repeat) in names for repeat in repeated)})
        for row in study.rows
    }


def _in_short(error: UserError) -> str:
    if isinstance(error, FaultyConfigError):
        if all(fault.key.split(" ")[-1] in DATA_KEYS for fault in error.faults):
            return NEEDS_DATA
        return f"{len(error.faults)} faults; plan shows them"
    return first_line(error)
