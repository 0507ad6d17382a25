"""`-m hydra/sweeper=optuna`: a search, whose trials are runs like any other, through the configured launcher."""

import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fer_ablate.commands import console
from fer_ablate.commands.job import Job
from fer_ablate.commands.request import allow_plugins, parse, raise_faults
from fer_ablate.commands.search_plan import prepared
from fer_ablate.commands.search_settings import Settings, fixed
from fer_ablate.commands.search_trials import searched
from fer_ablate.commands.sweeper import Launching
from fer_ablate.config.compose import CONFIG_NAME, conf_dir, register_schema
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.study_rows import quoted
from fer_ablate.errors import UserError
from fer_ablate.study.outcome import RunOutcome


@dataclass
class SearchTask:
    """What a search does once Hydra has read `hydra.sweeper` and made its launcher.

    Args:
        job: done for every trial.
        work: the search, from the values of `hydra.sweeper` and what starts runs; returns an exit code.
        code: what `work` returned.
        error: what was wrong, if something was; Hydra itself would answer it with a traceback.
    """

    job: Job
    work: Callable[[Settings, Launching], int]
    code: int = 0
    error: UserError | None = None

    __module__ = __name__  # Hydra asks its task function where it comes from
    __name__ = "fer_ablate"

    def __call__(self, tree: DictConfig) -> None:
        """Never called: the launcher is given the job."""
        raise AssertionError("a search is not a run")


class SearchSweeper(Sweeper):
    """Adapter between Hydra and a `SearchTask`. It takes what hydra-optuna-sweeper takes, and more.

    That plugin's own class would begin anew with each command, end at the first failure, prune nothing and keep its trials
    in memory.
    """

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.launcher: Launcher | None = None
        self.planned: SearchTask | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher; it gets the job alone, which is all it has to pickle."""
        assert isinstance(task_function, SearchTask)
        self.planned = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function.job, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Do the planned work; what is searched was read from the command line before Hydra started."""
        assert self.planned is not None
        try:
            self.planned.code = self.planned.work(Settings.read(self.given), self._launch)
        except UserError as error:
            self.planned.error = error

    def _launch(self, overrides: Sequence[Sequence[str]], first: int) -> Sequence[RunOutcome]:
        assert self.launcher is not None
        returns = self.launcher.launch([list(words) for words in overrides], initial_job_idx=first)
        return [one.return_value for one in returns]


def register() -> None:
    """Make the sweeper known to Hydra, which takes classes by name only from packages called hydra_plugins."""
    Plugins.instance().register(SearchSweeper)


def run_search(arguments: Sequence[str]) -> int:
    """Search until as many trials have ended as were asked for, then show the best.

    Args:
        arguments: plain Hydra, with `-m` and `hydra/sweeper=optuna`.

    Returns:
        1 if a trial of this start failed or was interrupted, else 0.

    Raises:
        FaultyConfigError: with every fault of the command line.
        BusyError: another process is at this search.
    """
    console.quiet_libraries()
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    config_dir = Path(parsed.config_dir) if parsed.config_dir else None
    diagnosis = diagnose(parsed.overrides, config_dir)
    raise_faults(diagnosis.faults)
    assert diagnosis.tree is not None
    of_hydra = [text for text in parsed.overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    typed = [text for text in parsed.overrides if text not in of_hydra]
    multirun = Path(diagnosis.tree.runs_dir).resolve() / "multirun"
    requests = multirun / f"requests-{uuid.uuid4().hex[:8]}"

    def work(settings: Settings, launch: Launching) -> int:
        search = prepared(settings, typed, config_dir)
        return searched(search, launch, requests)

    task = SearchTask(Job(requests, Path.cwd()), work)
    register_schema()
    register()
    flags = ["--config-dir", str(config_dir)] if config_dir else []
    # What is fixed goes to Hydra as well, since a file of the user's own may set hydra.sweeper.
    sys.argv = [sys.argv[0], "-m", *flags, *of_hydra, *fixed(typed), f"hydra.sweep.dir={quoted(str(multirun))}"]
    try:
        hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    finally:
        shutil.rmtree(requests, ignore_errors=True)
    if task.error is not None:
        raise task.error
    return task.code
