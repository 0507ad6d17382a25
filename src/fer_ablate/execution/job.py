"""What launchers start for every run of a sweep, in this process or in another one."""

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_ablate.cli import console
from fer_ablate.cli.request import Request, requested
from fer_ablate.errors import BusyError, UserError
from fer_ablate.execution.one_run import train
from fer_ablate.execution.outcome import Ended, RunOutcome
from fer_ablate.search.pruning import Pruned
from fer_ablate.tracking.disk.places import run_path
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training.processes import end_with_parent

FOLLOWING = ("joblib",)
"""Launchers whose workers would go on unseen if the sweep were killed; a cluster's jobs do so by design, and Ray ends its own."""


@dataclass(frozen=True)
class Job:
    """The task function of a sweep: plain values only, since launchers pickle it.

    Args:
        folder: where the sweep has written down its runs, as `Request`s by number; None: each is made from its overrides.
        cwd: folder that relative paths start from; workers of a cluster begin somewhere else. None: stay.
    """

    folder: Path | None = None
    cwd: Path | None = None

    def __call__(self, tree: DictConfig) -> RunOutcome:
        """Do the run with the number that the launcher gave it."""
        hydra = HydraConfig.get()
        if hydra.runtime.choices.get("hydra/launcher") in FOLLOWING:
            end_with_parent()
        if self.cwd is not None:
            os.chdir(self.cwd)
        number, overrides = int(hydra.job.num), list(hydra.overrides.task)
        try:
            request = Request.load(request_file(self.folder, number)) if self.folder else requested(tree, overrides)
        except (UserError, OSError) as error:
            return _failed(" ".join(overrides), "", str(error), "")
        return ended(request)


def request_file(folder: Path, number: int) -> Path:
    """Where the run with this number is written down."""
    return folder / f"{number:06}.json"


def ended(request: Request) -> RunOutcome:
    """Do one run of a sweep; whatever goes wrong with it is told, kept in its folder, and leaves the others alone."""
    config = request.config
    try:
        return RunOutcome(Ended.finished, train(request))
    except BusyError:
        return RunOutcome(Ended.busy, request.key)
    except Pruned as pruned:
        console.console.print(f"  {request.title}: {pruned}")
        return RunOutcome(Ended.pruned, request.key)
    except Exception as error:
        problem, log = str(error) or type(error).__name__, ""
        if request.key:
            folder = RunFolder(
                run_path(Path(config.runs_dir), config.tracking.experiment, request.name, config.seed, request.key)
            )
            if folder.failure is None:  # it failed before the run had begun
                folder.write_failure(problem, traceback.format_exc())
            problem, log = folder.failure.problem if folder.failure else problem, str(folder.log_file)
        return _failed(request.title, request.key, problem, log)


def _failed(title: str, key: str, problem: str, log: str) -> RunOutcome:
    sys.stdout.flush()  # in a pipe the message would otherwise stand above what came before it
    where = f"\n    log: {log}" if log else ""
    print(f"fer_ablate: {title}: failed: {problem}{where}", file=sys.stderr, flush=True)
    return RunOutcome(Ended.failed, key, problem, log)
