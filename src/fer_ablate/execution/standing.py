"""How far a published table is: its rows' finished runs, by the plan where the images are there, else by their names."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_ablate.config.compose import to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.repeats import repeats
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.faults import content_faults
from fer_ablate.study.plan import State, make_plan
from fer_ablate.study.spec import Asked, asked
from fer_ablate.tracking.disk.scan import RunRecord, scan

DATA_KEYS = ("data.path", "data.ferplus_path")
"""Faults of these say only that this machine has no such files."""

NEEDS_DATA = "needs its images"


@dataclass(frozen=True)
class Standing:
    """How far a table is.

    Args:
        study: rows and seeds.
        counts: label -> state -> runs, of the rows that stand in the table.
        problem: why the runs could not be looked up by their keys; they are then counted by their names. May be empty.
    """

    study: Asked
    counts: dict[str, Counter[State]] = field(default_factory=dict)
    problem: str = ""

    @property
    def labels(self) -> list[str]:
        """Of the rows that stand in the table."""
        return [row.label for row in self.study.rows if not row.auxiliary]

    @property
    def repeats(self) -> int:
        """Runs of each row: one for each seed, and with folds for each of them."""
        return len(self.study.seeds or (0,)) * (self.study.folds or 1)

    def told(self, labels: Sequence[str]) -> str:
        """Such as `3 of 8, 2 stale` over these rows."""
        total = Counter[State]()
        for label in labels:
            total += self.counts.get(label, Counter())
        told = [f"{total[State.cached]} of {len(labels) * self.repeats}"]
        told += [f"{total[state]} {state.value}" for state in (State.stale, State.failed, State.running) if total[state]]
        return ", ".join(told)


def runs_of(words: Sequence[str], config_dir: Path | None) -> list[RunRecord]:
    """Finished runs of the folder that these words name.

    Raises:
        FaultyConfigError: the words have faults.
    """
    found = diagnose(words, config_dir)
    if found.faults or found.tree is None:
        raise FaultyConfigError(found.faults)
    return [record for record in scan(Path(to_config(found.tree).runs_dir)).records if record.finished]


def standing(
    study: Asked, words: Sequence[str], runs: Sequence[RunRecord], config_dir: Path | None, tell: Callable[[float], None]
) -> Standing:
    """Look up the runs of a table.

    Composing every row takes a while, so it is done only where some run of the same document is there.

    Args:
        study: rows and seeds.
        words: overrides of the command line.
        runs: of `runs_of`.
        config_dir: what was given as `--config-dir`.
        tell: told the finished fraction.
    """
    document = study.name.split("/")[0]
    if not any(record.header.experiment.split("/")[0] == document for record in runs):
        return Standing(study, problem=_missing_data(study, words, config_dir))
    try:
        wanted = asked([f"study={study.name}", *words], config_dir)
        plan = make_plan(wanted, compose_cells(wanted, config_dir, tell))
    except UserError as error:
        return Standing(study, _by_name(study, runs), _said(error))
    counts: dict[str, Counter[State]] = {}
    for planned in plan.runs:
        counts.setdefault(planned.cell.row.label, Counter())[planned.state] += 1
    return Standing(wanted, counts)


def _missing_data(study: Asked, words: Sequence[str], config_dir: Path | None) -> str:
    """What is wrong with the first row, as far as its config alone tells."""
    last_of_each = {word.lstrip("+").split("=", 1)[0]: word for word in (*study.rows[0].overrides, *words)}
    found = diagnose(list(last_of_each.values()), config_dir)
    faults = [*found.faults, *content_faults(found, words)]
    return _said(FaultyConfigError(faults)) if faults else ""


def _by_name(study: Asked, runs: Sequence[RunRecord]) -> dict[str, Counter[State]]:
    """What bears the name of the study, the row, the seed and the fold, whatever its config was."""
    names = {(run.header.experiment, run.header.name, run.header.repeat) for run in runs}
    wanted = repeats(study.seeds or (), study.folds)
    return {
        row.label: Counter({State.cached: sum((study.name, row.label, repeat) in names for repeat in wanted)})
        for row in study.rows
    }


def _said(error: UserError) -> str:
    if isinstance(error, FaultyConfigError):
        if all(fault.key.split(" ")[-1] in DATA_KEYS for fault in error.faults):
            return NEEDS_DATA
        return f"{len(error.faults)} faults; plan shows them"
    return next(iter(str(error).splitlines()), "")
