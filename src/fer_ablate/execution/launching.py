"""Trains the planned runs through any launcher, and loses nothing when a run, a worker or a launcher dies."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.compose import CONFIG_NAME, composer
from fer_ablate.config.hydra_internals import launcher
from fer_ablate.config.overrides import assignment
from fer_ablate.config.study_rows import waves
from fer_ablate.errors import UserError
from fer_ablate.execution.job import JobResult, SweepJob
from fer_ablate.study.plan import Plan, PlannedRun
from fer_ablate.tracking.disk.log import first_line
from fer_ablate.tracking.disk.run_state import RunState

TrainRuns = Callable[[Sequence[PlannedRun]], Sequence[JobResult]]
"""Trains these runs, in whatever processes, and returns when all have ended."""

POLL_SECONDS = 1.0


class SweepReporter(Protocol):
    """Informs the person at the screen."""

    def waiting(self, runs: Sequence[PlannedRun]) -> None:
        """Other processes train these runs; the sweep goes on when one of them is done."""
        ...

    def launcher_broke(self, problem: str, runs: Sequence[PlannedRun]) -> None:
        """The launcher ended with this error; these runs had not ended."""
        ...


def train_planned(plan: Plan, train_runs: TrainRuns, reporter: SweepReporter) -> dict[str, JobResult]:
    """Train every run that the plan is to train, each after the run that it starts from.

    Args:
        plan: names the runs.
        train_runs: see `TrainRuns`.
        reporter: informed about waiting and about broken launchers.

    Returns:
        Key -> how the run ended. A run that starts from a failed one has failed as well.
    """
    results: dict[str, JobResult] = {}
    to_train = {planned.cell.key: planned for planned in plan.to_train}
    for wave in waves(plan.spec.rows):
        labels = {row.label for row in wave}
        ready = [planned for planned in to_train.values() if planned.cell.row.label in labels]
        orphans = [planned for planned in ready if _start_failed(planned, results)]
        for planned in orphans:
            problem = f"not trained: the row it starts from, '{planned.cell.row.start_from}', failed"
            results[planned.cell.key] = JobResult(RunState.failed, planned.cell.key, problem)
        results |= _train_all([planned for planned in ready if planned not in orphans], train_runs, reporter)
    return results


def _start_failed(planned: PlannedRun, results: dict[str, JobResult]) -> bool:
    start = planned.cell.start_key
    # A start that this sweep did not train needs no check here: the run itself refuses an unfinished one.
    return start in results and results[start].state is not RunState.finished


def _train_all(pending: Sequence[PlannedRun], train_runs: TrainRuns, reporter: SweepReporter) -> dict[str, JobResult]:
    results: dict[str, JobResult] = {}
    while pending:
        ended = _train_once(pending, train_runs, reporter)
        # `running` is not a result: another process trains the run, or a broken launcher never began it.
        results |= {key: result for key, result in ended.items() if result.state is not RunState.running}
        pending = [planned for planned in pending if planned.cell.key not in results]
        if pending and all(planned.folder.in_training for planned in pending):
            # Launching them again would only find them busy; a sweep with something else to do never gets here.
            reporter.waiting(pending)
            while all(planned.folder.in_training for planned in pending):
                time.sleep(POLL_SECONDS)
    return results


def _train_once(pending: Sequence[PlannedRun], train_runs: TrainRuns, reporter: SweepReporter) -> dict[str, JobResult]:
    """Give these runs to the launcher once. If it breaks, the runs in progress fail; those not begun are left for another try."""
    try:
        results = train_runs(pending)
    except Exception as error:  # of any launcher: a worker was killed, a cluster is gone
        problem = f"{type(error).__name__}: {first_line(error) if str(error) else ''}".rstrip(": ")
        ended = {planned.cell.key: _result_on_disk(planned, problem) for planned in pending}
        lost = [planned for planned in pending if ended[planned.cell.key].state is RunState.failed]
        # Trying again is worth it only if this try got something done; otherwise it would go on forever.
        if all(result.state is RunState.running for result in ended.values()):
            ended = {planned.cell.key: JobResult(RunState.failed, planned.cell.key, problem) for planned in pending}
            lost = list(pending)
        reporter.launcher_broke(problem, lost)
        return ended
    return {planned.cell.key: result for planned, result in zip(pending, results, strict=True)}


def _result_on_disk(planned: PlannedRun, problem: str) -> JobResult:
    """The result of a run whose process did not answer, as far as its folder shows; `running` if it has none yet."""
    key, folder = planned.cell.key, planned.folder
    state = folder.state
    # The worker may have died after the run itself was complete.
    if state is RunState.finished:
        return JobResult(state, key)
    if (failure := folder.failure) is not None:
        return JobResult(RunState.failed, key, failure.problem, str(failure.log))
    # Begun, but neither result nor error nor lock: the process was killed.
    if folder.begun and state is not RunState.running:
        return JobResult(RunState.failed, key, f"its process ended without a message ({problem}); the same command resumes it")
    return JobResult(RunState.running, key)


LaunchJobs = Callable[[Sequence[Sequence[str]], int], Sequence[JobResult]]
"""Starts jobs, given by their overrides and the number of the first, and waits for all of them."""


@contextmanager
def hydra_launcher(
    job: SweepJob, overrides: Sequence[str], config_dir: Path | None, multirun: Path
) -> Iterator[tuple[LaunchJobs, Mapping[str, Any]]]:
    """Build the launcher.

    Args:
        job: done for every run; all that a launcher has to pickle.
        overrides: of Hydra itself, such as `hydra/launcher=joblib`; others only if a file that they choose sets `hydra`.
        config_dir: what was given as `--config-dir`.
        multirun: folder for what launchers write.

    Yields:
        The function that starts jobs, and the values of `hydra.sweeper`.

    Raises:
        UserError: Hydra cannot build it.
    """
    with ExitStack() as stack:
        try:
            hydra = stack.enter_context(composer(config_dir))
            words = [*overrides, assignment("hydra.sweep.dir", str(multirun))]
            built, tree = stack.enter_context(launcher(hydra, CONFIG_NAME, words, job))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"Hydra cannot build this launcher: {error}") from error

        # Outside the `try`: an error while runs are launched is not one of building the launcher.
        def launch(texts: Sequence[Sequence[str]], first: int) -> Sequence[JobResult]:
            returns = built.launch([list(of_job) for of_job in texts], initial_job_idx=first)
            return [one.return_value for one in returns]

        yield launch, dict(tree.hydra.sweeper.items())
