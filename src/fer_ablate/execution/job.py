"""The job that launchers start for every run of a sweep, in this process or in another one, and what it returns."""

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_ablate.cli import console
from fer_ablate.cli.command_line import RunSpec, run_spec_of
from fer_ablate.errors import BusyError, UserError
from fer_ablate.execution.one_run import train
from fer_ablate.search.pruning import Pruned
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.disk.scan import scan
from fer_ablate.training.processes import end_with_parent

ENDED_WITH_SWEEP = ("joblib",)
"""Launchers whose workers would go on unseen if the sweep were killed; a cluster's jobs do so by design, and Ray ends its own."""


@dataclass(frozen=True)
class JobResult:
    """How one run of a sweep ended.

    Args:
        state: finished, failed or pruned; running if another process trains the run.
        key: key of the run; empty if it failed before the key was known.
        problem: the whole error; empty unless it failed.
        log: file with the traceback; empty unless it failed.
    """

    state: RunState
    key: str = ""
    problem: str = ""
    log: str = ""


@dataclass(frozen=True)
class SweepJob:
    """The function that a launcher calls for each run: plain values only, since launchers pickle it.

    Args:
        folder: with the `RunSpec`s of the sweep by number; None: each is made from its overrides.
        cwd: folder that relative paths start from, since workers of a cluster begin somewhere else; None: stay.
    """

    folder: Path | None = None
    cwd: Path | None = None

    def __call__(self, tree: DictConfig) -> JobResult:
        """Do the run with the number that the launcher gave it."""
        hydra = HydraConfig.get()
        if hydra.runtime.choices.get("hydra/launcher") in ENDED_WITH_SWEEP:
            end_with_parent()
        if self.cwd is not None:
            os.chdir(self.cwd)
        number, overrides = int(hydra.job.num), list(hydra.overrides.task)
        try:
            spec = RunSpec.load(run_spec_file(self.folder, number)) if self.folder else run_spec_of(tree, overrides)
        # OSError: the spec's file cannot be read, as on a worker that does not see the disk of the sweep.
        except (UserError, OSError) as error:
            return _failed(" ".join(overrides), "", str(error), "")
        return do_job(spec)


def run_spec_file(folder: Path, number: int) -> Path:
    """The file of the run with this number."""
    return folder / f"{number:06}.json"


def do_job(spec: RunSpec) -> JobResult:
    """Do one run of a sweep; an error is printed, kept in the run's folder and returned, so that the other runs go on."""
    try:
        return JobResult(RunState.finished, train(spec))
    except BusyError:
        # Not a failure: `launching` waits for the other process.
        return JobResult(RunState.running, spec.key)
    except Pruned as pruned:
        console.console.print(f"  {spec.title}: {pruned}")
        return JobResult(RunState.pruned, spec.key)
    # Not BaseException: Ctrl-C ends the sweep, not only this run.
    except Exception as error:
        problem, log = str(error) or type(error).__name__, ""
        if spec.key:
            folder = scan(Path(spec.config.runs_dir)).folders.of(spec.config, spec.name, spec.key)
            if folder.failure is None:  # the error came before the run had begun
                folder.write_failure(problem, traceback.format_exc())
            problem, log = folder.failure.problem if folder.failure else problem, str(folder.log_file)
        return _failed(spec.title, spec.key, problem, log)


def _failed(title: str, key: str, problem: str, log: str) -> JobResult:
    sys.stdout.flush()  # in a pipe the message would otherwise stand above what came before it
    where = f"\n    log: {log}" if log else ""
    print(f"fer_ablate: {title}: failed: {problem}{where}", file=sys.stderr, flush=True)
    return JobResult(RunState.failed, key, problem, log)
