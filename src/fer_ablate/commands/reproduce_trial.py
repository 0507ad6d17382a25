"""One epoch of every row of a table on few images: whether it runs at all, and what the whole would cost."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.commands import train
from fer_ablate.commands.reproduce_words import Wanted, show_command
from fer_ablate.config.compose import flat, plain
from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.schema import BalanceConfig, Config
from fer_ablate.data.load import load_faces
from fer_ablate.execution.planning import prepared
from fer_ablate.report.quantities import ABSENT, duration, one_line
from fer_ablate.report.results.files import read_lines, trials_file
from fer_ablate.report.results.runs import digits
from fer_ablate.report.results.trials import COLUMNS, NO, YES, costs, estimated_seconds, in_words, merged_trials
from fer_ablate.study.cells import Cell
from fer_ablate.study.plan import Planned, State
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.training.assembly import role_set
from fer_ablate.training.hardware import choose, environment

SEED = "seed=0"
DECIDED = (
    "seed",
    "runs_dir",
    "tracking",
    "data.train_fraction",
    "trainer.max_epochs",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
)
"""Keys that a trial sets."""

UNTOLD = ("study.rows", "trainer", *IRRELEVANT)
"""Keys that say which rows are tried and where, but not how a row was changed."""


@dataclass(frozen=True)
class Whole:
    """A row as it is when not on trial.

    Args:
        cell: with seed 0, of the first fold if there are any.
        images: of the train role, with the copies that balance classes.
        originals: without these.
    """

    cell: Cell
    images: int
    originals: int

    @property
    def config(self) -> Config:
        """Of the row."""
        return self.cell.config


def run(study: str, wanted: Wanted) -> int:
    """Train every row for one epoch, keep what that told, and show it.

    Args:
        study: `document/table`.
        wanted: what else was typed; it holds for the estimated trainings too.

    Returns:
        1 if a row failed, else 0.
    """
    others = [word for word in wanted.words if word.split("=", 1)[0] not in ("seed", "tracking")]
    plan, cells, _ = prepared(wanted.about(study, [SEED, *others, "tracking=none"]))
    rows = {planned.cell.row.label for planned in plan.runs}
    with console.bar("counting the images") as tell:
        wholes = _wholes([cell for cell in cells if cell.row.label in rows and cell.repeat.fold in (None, 0)], tell)
    one_fold = ["study.folds=null", f"data.folds={plan.asked.folds}", "data.fold=0"] if plan.asked.folds is not None else []
    words = wanted.about(study, [*_trial_words(wholes, others, wanted.images), *one_fold])
    show_command(["-m", *words])
    code = train.run(["-m", *words])
    trained, _, _ = prepared(words)
    typed = shlex.join(word for word in others if word.split("=", 1)[0] not in UNTOLD)
    lines = [_line(study, planned, wholes[planned.cell.row.label]) | {"typed": typed} for planned in trained.runs]
    file = trials_file(wanted.folder)
    write_text(file, merged_trials(read_lines(file, COLUMNS), lines))
    _show(study, lines, file, [row.label for row in plan.asked.rows], plan.asked.folds or 1)
    return code or int(any(line["ok"] == NO for line in lines))


def _wholes(cells: Sequence[Cell], tell: Callable[[float], None]) -> dict[str, Whole]:
    sizes: dict[str, tuple[int, int]] = {}
    found = {}
    for number, cell in enumerate(cells, start=1):
        name = str(flat(plain(cell.config)["data"]))
        if name not in sizes:
            bare = replace(cell.config, data=replace(cell.config.data, balance=BalanceConfig()))
            sizes[name] = _images(cell.config), _images(bare)
        found[cell.row.label] = Whole(cell, *sizes[name])
        tell(number / len(cells))
    return found


def _images(config: Config) -> int:
    return len(role_set(config, load_faces(config.data)).roles["train"])


def _trial_words(wholes: dict[str, Whole], others: Sequence[str], images: int) -> list[str]:
    """Overrides of the trial: what was typed, and what makes every row short."""
    configs = [whole.config for whole in wholes.values()]
    fraction = min(whole.config.data.train_fraction * images / whole.originals for whole in wholes.values())
    words = [word for word in others if word.split("=", 1)[0] not in DECIDED]
    words += [SEED, "trainer.max_epochs=1", f"data.train_fraction={digits(min(fraction, 1.0))}"]
    words += ["trainer.limit_val_batches=2", "trainer.limit_test_batches=2"]
    if any(config.scheduler.get("warmup_epochs", 0) >= 1 for config in configs):
        words.append("++scheduler.warmup_epochs=0")  # one epoch of warming up would leave nothing of one epoch
    return [*words, f"runs_dir={Path(configs[0].runs_dir) / 'trials'}", "tracking=none"]


def _line(study: str, planned: Planned, whole: Whole) -> dict[str, str]:
    """What a row's trial told."""
    cell, folder = planned.cell, planned.folder
    line = {"study": study, "row": cell.row.label, "full_images": str(whole.images), "code_digest": cell.code_digest}
    line["epochs"] = str(whole.config.trainer.max_epochs)
    if planned.state is not State.cached:
        failure = folder.failure
        where = environment(choose(cell.config.trainer))
        if cell.config.trainer.num_threads:
            where["threads"] = str(cell.config.trainer.num_threads)
        problem = one_line(failure.problem.splitlines()[0]) if failure is not None else "not trained"
        return line | _machine(where) | {"date": f"{datetime.now(UTC):%Y-%m-%d}", "ok": NO, "problem": problem}
    result, images = folder.result, int(folder.header.dataset["train"])
    seconds = estimated_seconds(result.seconds_per_epoch, images, whole.images, whole.config.trainer.max_epochs)
    measured = {
        "images": str(images),
        "seconds_per_epoch": digits(result.seconds_per_epoch),
        "estimated_seconds": digits(seconds),
        "date": result.finished_at[:10],
        "ok": YES,
    }
    return line | _machine(result.environment) | measured


def _machine(where: dict[str, str]) -> dict[str, str]:
    return {name: where.get(name, "") for name in ("device", "hardware", "precision", "threads")}


def _show(study: str, lines: Sequence[dict[str, str]], file: Path, labels: Sequence[str], folds: int) -> None:
    rows = [
        [
            line["row"],
            line.get("images", ABSENT),
            f"{float(line['seconds_per_epoch']):.1f} s" if "seconds_per_epoch" in line else ABSENT,
            line["full_images"],
            line["epochs"],
            duration(float(line["estimated_seconds"])) if "estimated_seconds" in line else "failed",
        ]
        for line in lines
    ]
    console.console.print()
    console.table("", ["row", "images", "one epoch", "all images", "epochs", "estimated, one seed"], rows)
    console.console.print()
    told = [in_words(cost, labels, folds) for cost in costs(read_lines(file, COLUMNS), study)]
    console.facts([("cost", "; ".join(told)), ("kept", str(file))])
