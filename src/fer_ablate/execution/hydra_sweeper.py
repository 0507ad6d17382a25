"""The Hydra sweeper behind `-m`: gives the runs of a prepared study or search to whichever launcher is configured."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext
from omegaconf import DictConfig

from fer_ablate.config.compose import CONFIG_NAME, conf_dir, register_schema
from fer_ablate.config.study_rows import quoted
from fer_ablate.errors import UserError
from fer_ablate.execution.job import Job
from fer_ablate.execution.outcome import RunOutcome

Launching = Callable[[Sequence[Sequence[str]], int], Sequence[RunOutcome]]
"""Starts runs, given by their overrides and the number of the first, and waits for all of them."""


@dataclass
class Sweep:
    """What is to be done once Hydra has made its launcher; Hydra takes it for its task function, but never calls it.

    Args:
        job: done for every run.
        work: starts the runs; is given the values of `hydra.sweeper` as well.
        error: what was wrong, if something was; Hydra itself would answer it with a traceback.
    """

    job: Job
    work: Callable[[Launching, Mapping[str, Any]], None]
    error: UserError | None = None

    __module__ = __name__  # Hydra asks its task function where it comes from
    __name__ = "fer_ablate"

    def __call__(self, tree: DictConfig) -> None:
        """Never called: the launcher is given the job."""
        raise AssertionError("a sweep is not a run")


class PlannedSweeper(Sweeper):
    """Adapter between Hydra, which makes it and calls `setup` and `sweep`, and a `Sweep`.

    For a search it takes what hydra-optuna-sweeper takes, and more. That plugin's own class would begin anew with each
    command, end at the first failure, prune nothing and keep its trials in memory.
    """

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.launcher: Launcher | None = None
        self.planned: Sweep | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: Any, config: DictConfig) -> None:
        """Make the launcher; it gets the job alone, which is all it has to pickle."""
        assert isinstance(task_function, Sweep)
        self.planned = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function.job, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Do the planned work; what is to run was read from the command line before Hydra started."""
        assert self.planned is not None
        try:
            self.planned.work(self._launch, self.given)
        except UserError as error:
            self.planned.error = error

    def _launch(self, overrides: Sequence[Sequence[str]], first: int) -> Sequence[RunOutcome]:
        assert self.launcher is not None
        returns = self.launcher.launch([list(words) for words in overrides], initial_job_idx=first)
        return [one.return_value for one in returns]


def start(sweep: Sweep, words: Sequence[str], config_dir: Path | None, multirun: Path) -> None:
    """Let Hydra make the launcher, and do the work with it.

    Args:
        sweep: the work.
        words: those of the command line that are meant for Hydra.
        config_dir: what was given as `--config-dir`.
        multirun: folder for what launchers write.

    Raises:
        UserError: of the work.
    """
    register_schema()
    Plugins.instance().register(PlannedSweeper)  # Hydra finds classes by itself only in packages called hydra_plugins
    flags = ["--config-dir", str(config_dir)] if config_dir else []
    sys.argv = [sys.argv[0], "-m", *flags, *words, f"hydra.sweep.dir={quoted(str(multirun))}"]
    hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME)(sweep)()
    if sweep.error is not None:
        raise sweep.error
