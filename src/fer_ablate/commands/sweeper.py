"""The Hydra sweeper behind `-m`: gives the runs of a prepared sweep to whichever launcher is configured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fer_ablate.commands.job import Job
from fer_ablate.study.outcome import RunOutcome

Launching = Callable[[Sequence[Sequence[str]], int], Sequence[RunOutcome]]
"""Starts runs, given by their overrides and the number of the first, and waits for all of them."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep does once Hydra has made its launcher.

    Args:
        job: done for every run.
        work: starts the runs.
    """

    job: Job
    work: Callable[[Launching], None]

    __module__ = __name__  # Hydra asks its task function where it comes from
    __name__ = "fer_ablate"

    def __call__(self, tree: DictConfig) -> None:
        """Never called: the launcher is given the job."""
        raise AssertionError("a sweep is not a run")


class StudySweeper(Sweeper):
    """Runs what a `Sweep` has planned. Hydra makes one and calls `setup`, then `sweep`."""

    def __init__(self) -> None:
        self.launcher: Launcher | None = None
        self.planned: Sweep | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher; it gets the job alone, which is all it has to pickle."""
        assert isinstance(task_function, Sweep)
        self.planned = task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function.job, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Do the planned work; rows and seeds were read from the command line before Hydra started."""
        assert self.planned is not None
        self.planned.work(self._launch)

    def _launch(self, overrides: Sequence[Sequence[str]], first: int) -> Sequence[RunOutcome]:
        assert self.launcher is not None
        returns = self.launcher.launch([list(words) for words in overrides], initial_job_idx=first)
        return [one.return_value for one in returns]


def register() -> None:
    """Make the sweeper known to Hydra, which starts only classes that it knows."""
    Plugins.instance().register(StudySweeper)
