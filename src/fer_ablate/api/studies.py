"""A study's runs and its judged table as data frames; nothing is trained and nothing printed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fer_ablate.cli.typed import typed_words
from fer_ablate.config.overrides import quoted
from fer_ablate.errors import UserError
from fer_ablate.execution.planning import plan_of, summary
from fer_ablate.execution.study_output import judged_study
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.report.table.effects import effects_frame
from fer_ablate.report.table.formats import table_frame
from fer_ablate.study.plan import Plan

LEADING = ("study", "row", "seed", "key")
"""Columns that `results` has even where nothing is finished."""


@dataclass(frozen=True, repr=False)
class Study:
    """A study with the state of its runs at the time it was looked up."""

    plan: Plan

    @property
    def name(self) -> str:
        """As it was given to `look_up`."""
        return self.plan.spec.name

    def __repr__(self) -> str:
        return f"Study({self.name}, {summary(self.plan)})"


def look_up(
    study: str,
    *overrides: str,
    runs_dir: str | Path | None = None,
    config_dir: str | Path | None = None,
    accept_stale: bool = False,
) -> Study:
    """Compose and check a study and find its runs. This takes seconds, so do it once for several tables and figures.

    Args:
        study: such as `quickstart` or `fer_kd/table1`.
        overrides: as on the command line after it, such as `seed=0,1` or `study.rows=[FER_KD]`; the same ones that the study
            was trained with.
        runs_dir: folder with the runs; by default `runs` in the current folder.
        config_dir: as `--config-dir`, a folder with studies of your own.
        accept_stale: use runs of an earlier config, data or code as well.

    Raises:
        UserError: with every fault of the study's config, as on the command line.
    """
    arguments = [f"study={study}", *overrides]
    if runs_dir is not None:
        # Quoted, since a path may hold characters that the grammar of overrides gives a meaning.
        arguments.append(f"runs_dir={quoted(str(runs_dir))}")
    if accept_stale:
        arguments.append("study.accept_stale=true")
    flags = ["--config-dir", str(config_dir)] if config_dir is not None else []
    return Study(plan_of([*flags, *typed_words(arguments)])[0])


def results(
    study: str | Study,
    *overrides: str,
    runs_dir: str | Path | None = None,
    config_dir: str | Path | None = None,
    accept_stale: bool = False,
) -> pd.DataFrame:
    """Every finished run of a study, one line each.

    Args:
        study: its name, or the result of `look_up`; the other arguments are those of `look_up` and belong to a name.
        overrides: see `look_up`.
        runs_dir: see `look_up`.
        config_dir: see `look_up`.
        accept_stale: see `look_up`; the column `stale` marks such runs.

    Returns:
        `study`, `row`, `seed`, `key`; `fold` in a study over folds; `<split>/<metric>` of every split, such as `test/acc`,
        as fractions in [0, 1] and `loss` in nats; `parameters`, `macs`, `seconds`, `epochs`, `best_epoch`, `stale`, `path`; and
        `published/<split>/<metric>` as printed, in percent where the metric is a fraction. No lines if nothing is finished.

    Raises:
        UserError: with every fault of the study's config, as on the command line.
    """
    found = opened(study, *overrides, runs_dir=runs_dir, config_dir=config_dir, accept_stale=accept_stale)
    lines = [_line(found.name, row, run) for row in rows_with_runs(found.plan) for run in row.runs]
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=list(LEADING))


def table(
    study: str | Study,
    *overrides: str,
    runs_dir: str | Path | None = None,
    config_dir: str | Path | None = None,
    accept_stale: bool = False,
) -> pd.DataFrame:
    """The judged table of a study, one line for each row and column of it.

    Args:
        study: see `results`.
        overrides: see `look_up`.
        runs_dir: see `look_up`.
        config_dir: see `look_up`.
        accept_stale: see `look_up`.

    Returns:
        What `table format=csv` writes: `row`, `baseline`, `column` (such as `test/acc`), `n`, `mean`, `sd`, `ci_low`, `ci_high`,
        `difference`, `diff_low`, `diff_high`, `p`, `p_holm`, `verdict`, `published`, `gap`, `agrees` and costs; fractions stay
        fractions, published numbers and gaps are in `published_unit`.

    Raises:
        UserError: as `results`; or rows used different evaluation protocols.
    """
    found = opened(study, *overrides, runs_dir=runs_dir, config_dir=config_dir, accept_stale=accept_stale)
    return table_frame(judged_study(found.plan)[0])


def effects(
    study: str | Study,
    *overrides: str,
    runs_dir: str | Path | None = None,
    config_dir: str | Path | None = None,
    accept_stale: bool = False,
) -> pd.DataFrame:
    """Main effects, interactions and effects within single levels of a study whose rows are combinations of several keys.

    Args:
        study: see `results`.
        overrides: see `look_up`.
        runs_dir: see `look_up`.
        config_dir: see `look_up`.
        accept_stale: see `look_up`.

    Returns:
        What `effects.csv` has: `column`, `factors`, `kind` (`main effect`, `interaction`, `simple effect`, `ANOVA`), `levels`,
        `references`, `difference`, `diff_low`, `diff_high`, `p`, `p_holm`, `verdict`; of the analysis of variance `f`, `df`,
        `df_error` and `p`. No lines if the rows are no combinations, or too few are finished.

    Raises:
        UserError: as `table`.
    """
    found = opened(study, *overrides, runs_dir=runs_dir, config_dir=config_dir, accept_stale=accept_stale)
    return effects_frame(judged_study(found.plan)[0])


def opened(
    study: str | Study,
    *overrides: str,
    runs_dir: str | Path | None = None,
    config_dir: str | Path | None = None,
    accept_stale: bool = False,
) -> Study:
    """The study itself if it was looked up already, else the result of `look_up`, which explains the arguments."""
    if isinstance(study, str):
        return look_up(study, *overrides, runs_dir=runs_dir, config_dir=config_dir, accept_stale=accept_stale)
    # They would have no effect on a study that was looked up without them.
    if overrides or runs_dir is not None or config_dir is not None or accept_stale:
        raise UserError(f"{study.name} was looked up already: give overrides, runs_dir and the like to look_up.")
    return study


def _line(study: str, row: RowRuns, run: ScoredRun) -> dict[str, Any]:
    result = run.result
    return {
        **dict(zip(LEADING, (study, row.label, run.header.seed, run.header.key), strict=True)),
        **({"fold": run.header.repeat.fold} if run.header.folds is not None else {}),
        **result.flat_metrics(),
        "parameters": result.parameters,
        "macs": result.macs,
        "seconds": result.seconds,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "stale": run.stale,
        "path": str(run.folder.path),
        **{f"published/{column}": printed.value for column, printed in row.published.items()},
    }
