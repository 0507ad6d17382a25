"""The job that launchers start for every run of a sweep, in this process or in another one, and what it returns."""

import os
import socket
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_ablate.cli import console
from fer_ablate.cli.output import fit_output
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.errors import BusyError, UserError
from fer_ablate.execution.run_log import output_to_log
from fer_ablate.tracking.disk.files import Times, changed_at, is_new
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

if TYPE_CHECKING:
    from fer_ablate.report.plots.run import RunFaces

ENDED_WITH_SWEEP = ("joblib",)
"""Launchers whose workers would go on unseen if the sweep were killed; a cluster's jobs do so by design, and Ray ends its own."""


@dataclass(frozen=True)
class JobResult:
    """How one run of a sweep ended.

    Args:
        state: finished, failed or pruned; running if another process trains the run; missing if its process ended without a
            word, and the same command goes on with it.
        key: key of the run; empty if it failed before the key was known.
        problem: the whole error; empty unless it failed, or its process is gone.
        log: file with the traceback; empty unless it failed.
        faces: what its pictures are drawn from, if it left them to the sweep.
    """

    state: RunState
    key: str = ""
    problem: str = ""
    log: str = ""
    faces: "RunFaces | None" = None


def _this_process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


@dataclass(frozen=True)
class SweepJob:
    """The function that a launcher of Hydra calls for each run: plain values only, since launchers pickle it.

    Args:
        folder: with the `RunSpec`s of the sweep by number.
        cwd: folder that relative paths start from, since workers of a cluster begin somewhere else.
        sweep: host and number of the process of the sweep.
    """

    folder: Path
    cwd: Path
    sweep: tuple[str, int] = field(default_factory=_this_process)

    def __call__(self, tree: DictConfig) -> JobResult:
        """Do the run with the number that the launcher gave it."""
        hydra = HydraConfig.get()
        if hydra.runtime.choices.get("hydra/launcher") in ENDED_WITH_SWEEP:
            from fer_ablate.training.processes import end_with_parent

            end_with_parent()
        os.chdir(self.cwd)
        try:
            spec = RunSpec.load(run_spec_file(self.folder, int(hydra.job.num)))
        # OSError: the spec's file cannot be read, as on a worker that does not see the disk of the sweep.
        except (UserError, OSError) as error:
            return _failed(" ".join(hydra.overrides.task), "", str(error), "")
        return do_job(spec, own_process=_this_process() != self.sweep)


def run_spec_file(folder: Path, number: int) -> Path:
    """The file of the run with this number."""
    return folder / f"{number:06}.json"


def do_job(spec: RunSpec, own_process: bool) -> JobResult:
    """Do one run of a sweep; an error is printed, kept in the run's folder and returned, so that the other runs go on.

    Args:
        spec: what to train, as the plan has it.
        own_process: whether this process is another one than that of the sweep.
    """
    folder = RunFolder(Path(spec.folder))
    try:
        with fit_output(), _output(spec, folder, own_process):
            return _do_job(spec, folder)
    except UserError as error:  # the log cannot be written
        return _failed(spec.title, spec.key, str(error), "")


def _output(spec: RunSpec, folder: RunFolder, own_process: bool) -> AbstractContextManager[None]:
    return output_to_log(folder.log_file, whole_process=own_process) if spec.quiet else nullcontext()


def _do_job(spec: RunSpec, folder: RunFolder) -> JobResult:
    # Imported here, since torch and Lightning take seconds and the sweep itself needs neither where workers train.
    from fer_ablate.execution.one_run import train
    from fer_ablate.search.pruning import Pruned

    failed_at = changed_at(folder.failure_file)
    try:
        outcome = train(spec)
        return JobResult(RunState.finished, outcome.key, faces=outcome.faces)
    except BusyError:
        # Not a failure: `launching` waits for the other process.
        return JobResult(RunState.running, spec.key)
    except Pruned as pruned:
        console.console.print(f"  {spec.title}: {pruned}")
        return JobResult(RunState.pruned, spec.key)
    # Not BaseException: Ctrl-C ends the sweep, not only this run.
    except Exception as error:
        problem = str(error) or type(error).__name__
        # The error came before the run had begun: a file that is there is of an earlier attempt, and tells another problem.
        if changed_at(folder.failure_file) == failed_at:
            folder.write_failure(problem, traceback.format_exc())
        problem = folder.failure.problem if folder.failure else problem
        return _failed(spec.title, spec.key, problem, str(folder.log_file))


def times_before(folder: RunFolder, anew: bool) -> Times:
    """Times of the files that tell how a run went; taken before it is started, for `result_on_disk`.

    Args:
        folder: of the run.
        anew: whether it is trained although it may have a result (`force=true`); otherwise a result of any age counts.
    """
    files = [folder.header_file, folder.failure_file, folder.pruned_file, *([folder.result_file] if anew else [])]
    return {file: changed_at(file) for file in files}


def result_on_disk(folder: RunFolder, key: str, problem: str, before: Times) -> JobResult:
    """The result of a run whose process did not answer, as far as its folder shows.

    Args:
        folder: of the run.
        key: of the run.
        problem: why there was no answer.
        before: result of `times_before`; files that have not changed since are of an earlier attempt and tell nothing.

    Returns:
        `missing` with a problem if the process ended within the run, and without one if the run never began.
    """
    if is_new(folder.result_file, before):  # the worker may also have died after the run itself was complete
        return JobResult(RunState.finished, key)
    if folder.in_training:
        return JobResult(RunState.running, key)
    if is_new(folder.failure_file, before):
        with suppress(UserError):  # it is damaged
            if (failure := folder.failure) is not None:
                return JobResult(RunState.failed, key, failure.problem, str(failure.log))
    if is_new(folder.pruned_file, before):
        return JobResult(RunState.pruned, key)
    if is_new(folder.header_file, before):
        ended = f"its process ended without a message ({problem}); the same command resumes it"
        return JobResult(RunState.missing, key, ended)
    return JobResult(RunState.missing, key)


def _failed(title: str, key: str, problem: str, log: str) -> JobResult:
    sys.stdout.flush()  # in a pipe the message would otherwise stand above what came before it
    where = f"\n    log: {log}" if log else ""
    print(f"fer_ablate: {title}: failed: {problem}{where}", file=sys.stderr, flush=True)
    return JobResult(RunState.failed, key, problem, log)
