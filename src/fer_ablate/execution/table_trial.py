"""A trial of a study: one epoch of every row on few images, which shows whether it runs and estimates the whole cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.command_line import study_arguments
from fer_ablate.config.compose import flat, plain
from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.overrides import assignment, key_of
from fer_ablate.config.schema import BalanceConfig, Config
from fer_ablate.config.study_rows import trained_labels
from fer_ablate.data.load import load_faces
from fer_ablate.execution.planning import plan_with_bar
from fer_ablate.report.quantities import ABSENT, duration, one_line
from fer_ablate.report.results.costs import RowTrial, cost_in_words, costs, merged_trials, read_trials, write_trials
from fer_ablate.report.results.export import trials_file
from fer_ablate.shell import joined
from fer_ablate.study.cells import Cell
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.role_set import role_set

SEED = "seed=0"
SET_BY_TRIAL = (
    "seed",
    "runs_dir",
    "tracking",
    "data.train_fraction",
    "trainer.max_epochs",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
)
"""Keys that a trial sets itself, whatever was typed."""

NO_CHANGE_OF_ROWS = ("study.rows", "trainer", *IRRELEVANT)
"""Keys that choose rows and machines but do not change what a row trains; they are not kept with the measurement."""


@dataclass(frozen=True)
class TableTrialSpec:
    """A requested trial.

    Args:
        study: `document/table`.
        overrides: overrides as typed; they hold for the estimated trainings too.
        config_dir: what was given as `--config-dir`.
        images: number of images that a row trains on, before classes are balanced.
        folder: folder of the documentation, which keeps the measured costs.
    """

    study: str
    overrides: tuple[str, ...]
    config_dir: Path | None
    images: int
    folder: Path


@dataclass(frozen=True)
class FullRow:
    """A row as the study trains it, for comparison with its trial.

    Args:
        cell: with seed 0, of the first fold if there are any.
        images: size of the train role, with the copies that balance classes.
        originals: the same without these copies.
    """

    cell: Cell
    images: int
    originals: int


def try_table(spec: TableTrialSpec, train: Callable[[Sequence[str]], int]) -> int:
    """Train every row for one epoch, and keep and print what that measured.

    Args:
        spec: the trial.
        train: runs the verb `train` with its arguments; gives an exit code.

    Returns:
        1 if a row failed, else 0.
    """
    others = [text for text in spec.overrides if key_of(text) not in ("seed", "tracking")]
    plan, cells, _ = plan_with_bar(study_arguments(spec.study, [SEED, *others, "tracking=none"], spec.config_dir))
    labels = {planned.cell.row.label for planned in plan.runs}
    with console.bar("counting the images") as progress:
        rows = _full_rows([cell for cell in cells if cell.row.label in labels and cell.repeat.fold in (None, 0)], progress)
    # One fold costs as much as another, so a study over folds is tried on the first.
    one_fold = ["study.folds=null", f"data.folds={plan.spec.folds}", "data.fold=0"] if plan.spec.folds is not None else []
    overrides = [*_trial_overrides(rows, others, spec.images), *one_fold]
    arguments = study_arguments(spec.study, overrides, spec.config_dir)
    console.command(["-m", *arguments])
    code = train(["-m", *arguments])
    # Planned a second time, which finds the runs that were just trained.
    trained, _, _ = plan_with_bar(arguments)
    typed = joined(text for text in others if key_of(text) not in NO_CHANGE_OF_ROWS)
    trials = [_row_trial(spec.study, planned, rows[planned.cell.row.label], typed) for planned in trained.runs]
    kept = merged_trials(read_trials(spec.folder), trials)
    write_trials(spec.folder, kept)
    all_labels, folds = trained_labels(plan.spec.rows), plan.spec.folds or 1
    lines = [cost_in_words(cost, dict.fromkeys(all_labels, folds)) for cost in costs(kept, spec.study)]
    _show(trials, lines, trials_file(spec.folder))
    return code or int(any(trial.estimated_seconds is None for trial in trials))


def _full_rows(cells: Sequence[Cell], progress: Callable[[float], None]) -> dict[str, FullRow]:
    """The rows by label; images are counted once for all rows with the same data."""
    sizes: dict[str, tuple[int, int]] = {}
    found = {}
    for number, cell in enumerate(cells, start=1):
        name = str(flat(plain(cell.config)["data"]))
        if name not in sizes:
            bare = replace(cell.config, data=replace(cell.config.data, balance=BalanceConfig()))
            sizes[name] = _images(cell.config), _images(bare)
        found[cell.row.label] = FullRow(cell, *sizes[name])
        progress(number / len(cells))
    return found


def _images(config: Config) -> int:
    return len(role_set(config, load_faces(config.data, plugins=config.plugins)).roles["train"])


def _trial_overrides(rows: dict[str, FullRow], others: Sequence[str], images: int) -> list[str]:
    """Overrides of the trial: what was typed, and what makes every row short."""
    configs = [row.cell.config for row in rows.values()]
    # One command trains all rows, so the smallest fraction holds for all: no row gets more images than this number.
    fraction = min(row.cell.config.data.train_fraction * images / row.originals for row in rows.values())
    overrides = [text for text in others if key_of(text) not in SET_BY_TRIAL]
    overrides += [SEED, "trainer.max_epochs=1", f"data.train_fraction={min(fraction, 1.0):.6g}"]
    overrides += ["trainer.limit_val_batches=2", "trainer.limit_test_batches=2"]
    if any(config.scheduler.get("warmup_epochs", 0) >= 1 for config in configs):
        overrides.append("++scheduler.warmup_epochs=0")  # an epoch of warm-up would be the whole trial
    return [*overrides, assignment("runs_dir", str(Path(configs[0].runs_dir) / "trials")), "tracking=none"]


def _row_trial(study: str, planned: PlannedRun, full: FullRow, typed: str) -> RowTrial:
    """The measurement of a row's trial, or the reason why it failed."""
    cell, folder = planned.cell, planned.folder
    failed = planned.state is not RunState.finished
    if failed:
        # A failed run has no result that names its machine; it failed on this one.
        from fer_ablate.training.hardware import choose_hardware, environment

        machine = environment(choose_hardware(cell.config.trainer))
        if cell.config.trainer.num_threads:
            machine["threads"] = str(cell.config.trainer.num_threads)
        failure = folder.failure
    else:
        machine, failure = folder.result.environment, None
    return RowTrial(
        study=study,
        row=cell.row.label,
        full_images=full.images,
        epochs=full.cell.config.trainer.max_epochs,
        device=machine.get("device", ""),
        hardware=machine.get("hardware", ""),
        precision=machine.get("precision", ""),
        threads=machine.get("threads", ""),
        date=f"{datetime.now(UTC):%Y-%m-%d}" if failed else folder.result.finished_at[:10],
        code_digest=cell.identity.code_digest,
        images=None if failed else int(folder.header.dataset["train"]),
        seconds_per_epoch=None if failed else folder.result.seconds_per_epoch,
        problem="" if not failed else one_line(failure.in_short) if failure is not None else "not trained",
        typed=typed,
    )


def _show(trials: Sequence[RowTrial], costs_of_study: Sequence[str], file: Path) -> None:
    """Print the trials, the estimated cost of the study, and the file that keeps them."""
    rows = [
        [
            trial.row,
            ABSENT if trial.images is None else str(trial.images),
            ABSENT if trial.seconds_per_epoch is None else f"{trial.seconds_per_epoch:.1f} s",
            str(trial.full_images),
            str(trial.epochs),
            "failed" if trial.estimated_seconds is None else duration(trial.estimated_seconds),
        ]
        for trial in trials
    ]
    console.console.print()
    console.table("", ["row", "images", "one epoch", "all images", "epochs", "estimated, one seed"], rows)
    console.console.print()
    console.facts([("cost", "; ".join(costs_of_study)), ("kept", str(file))])
