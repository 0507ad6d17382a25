"""Trains the planned runs through any launcher, and loses nothing when a run, a worker or a launcher dies."""

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher as HydraLauncher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.compose import composer, primary_name
from fer_ablate.config.hydra_internals import launcher
from fer_ablate.config.overrides import assignment
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.config.study_rows import waves
from fer_ablate.errors import UserError, first_line
from fer_ablate.execution.job import JobResult, SweepJob, do_job, result_on_disk, run_spec_file, times_before
from fer_ablate.execution.left_over import SPECS
from fer_ablate.execution.run_pictures import PictureThread
from fer_ablate.execution.sharing import Sharing
from fer_ablate.execution.together import Together, one_after_another
from fer_ablate.study.plan import Plan, PlannedRun
from fer_ablate.tracking.disk.files import writer_name
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

if TYPE_CHECKING:
    from fer_ablate.execution.submitted_jobs import Jobs
    from fer_ablate.execution.workers import Workers

TrainRuns = Callable[[Sequence[PlannedRun]], Sequence[JobResult]]
"""Trains these runs, in whatever processes, and returns when all have ended."""

POLL_SECONDS = 1.0

RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
"""`_target_` of the launcher of a Ray cluster, whose nodes may lack the disk of the sweep."""


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
    before = {planned.cell.key: times_before(planned.folder, planned.cell.config.force) for planned in pending}
    try:
        results = train_runs(pending)
    except Exception as error:  # of any launcher: a worker was killed, a cluster is gone
        problem = f"{type(error).__name__}: {first_line(error) if str(error) else ''}".rstrip(": ")
        found = [result_on_disk(one.folder, one.cell.key, problem, before[one.cell.key]) for one in pending]
        # Trying again is worth it only if this try got something done; otherwise it would go on forever.
        if all(result.state is RunState.running or _never_began(result) for result in found):
            found = [JobResult(RunState.failed, result.key, problem) for result in found]
        ended = {result.key: _settled(result) for result in found}
        reporter.launcher_broke(problem, [one for one in pending if ended[one.cell.key].state is RunState.failed])
        return ended
    return {planned.cell.key: _settled(result) for planned, result in zip(pending, results, strict=True)}


def _never_began(result: JobResult) -> bool:
    return result.state is RunState.missing and not result.problem


def _settled(result: JobResult) -> JobResult:
    """The result as the sweep counts it: a run whose process was killed has failed, one that never began may still run."""
    if result.state is not RunState.missing:
        return result
    return replace(result, state=RunState.running if _never_began(result) else RunState.failed)


Launch = Callable[[Sequence[RunSpec]], Sequence[JobResult]]
"""Does runs, in whatever processes, and returns their results when all have ended."""


@dataclass(frozen=True)
class Launcher:
    """A launcher that is ready.

    Args:
        launch: does runs.
        sweeper: values of `hydra.sweeper`.
        machine: what is known of runs on this machine; None if another launcher does them.
        jobs: the jobs of the runs on a cluster; None if another launcher does them.
    """

    launch: Launch
    sweeper: Mapping[str, Any]
    machine: "OnThisMachine | None" = None
    jobs: "Jobs | None" = None

    @property
    def together(self) -> Together:
        """Calls functions in the processes that trained, or in this one; functions and results have to be picklable."""
        return one_after_another if self.machine is None else self.machine.together


@contextmanager
def open_launcher(
    overrides: Sequence[str], config_dir: Path | None, multirun: Path, shared: Callable[[int | None], Sharing]
) -> Iterator[Launcher]:
    """Open the launcher that `hydra/launcher` names: `machine`, `submitit_slurm` and `submitit_local`, or one of Hydra's.

    Args:
        overrides: of Hydra itself, such as `hydra/launcher=joblib`; others only if a file that they choose sets `hydra`.
        config_dir: what was given as `--config-dir`.
        multirun: folder for what launchers write.
        shared: most runs at once (None: as many as fit) -> how runs share this machine; called by the first launch at the latest.

    Raises:
        UserError: it cannot be built.
    """
    with ExitStack() as stack:
        # For the specs of runs, which launchers of Hydra do not pass on: they know only overrides.
        folder = multirun / f"{SPECS}{uuid.uuid4().hex[:8]}.{writer_name()}"
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            hydra = stack.enter_context(composer(config_dir))
            words = [*overrides, assignment("hydra.sweep.dir", str(multirun))]
            job = SweepJob(folder, Path.cwd())
            built, tree = stack.enter_context(launcher(hydra, primary_name(), words, job))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"Hydra cannot build this launcher: {error}") from error
        # Outside the `try`: an error while runs are launched is not one of building the launcher.
        sweeper = dict(tree.hydra.sweeper.items())
        if built is not None:
            yield Launcher(_launch_of(built, tree.hydra.launcher, folder), sweeper)
        elif "cluster" in tree.hydra.launcher:
            from fer_ablate.execution.submitted_jobs import SubmittedJobs

            jobs = SubmittedJobs(_resolved(tree.hydra.launcher), multirun)
            yield Launcher(jobs.launch, sweeper, jobs=jobs)
        else:
            machine = OnThisMachine(cache(partial(shared, _most_at_once(tree.hydra.launcher))), stack)
            yield Launcher(machine.launch, sweeper, machine)


def _launch_of(built: HydraLauncher, settings: DictConfig, folder: Path) -> Launch:
    launch = _through_hydra(built, folder)
    if settings.get("_target_") != RAY:
        return launch
    from fer_ablate.execution.ray_launching import RayRuns  # Ray need not be installed

    return RayRuns(settings.ray, folder, launch).launch


def _through_hydra(built: HydraLauncher, folder: Path) -> Launch:
    # Numbers go on from call to call: each is the name of a spec's file and the number of a job.
    numbers = count()

    def launch(specs: Sequence[RunSpec]) -> Sequence[JobResult]:
        taken = [next(numbers) for _ in specs]
        for number, spec in zip(taken, specs, strict=True):
            spec.save(run_spec_file(folder, number))
        returns = built.launch([list(spec.overrides) for spec in specs], initial_job_idx=taken[0])
        return [one.return_value for one in returns]

    return launch


class OnThisMachine:
    """Runs in worker processes, or in this one if there is only room for one at a time or nothing else to do beside it.

    Args:
        sharing: gives how runs share this machine.
        stack: ends the processes, which are kept from call to call: to start one takes as long as to train a small run.
    """

    def __init__(self, sharing: Callable[[], Sharing], stack: ExitStack) -> None:
        self.sharing, self._stack = sharing, stack
        self._workers: Workers | None = None
        self._pictures: PictureThread | None = None

    def begin_imports(self, runs: int, tracking: TrackingConfig) -> None:
        """Let the processes import what they need while the sweep gets ready.

        Args:
            runs: number of runs to come.
            tracking: the settings that all of them have.
        """
        from fer_ablate.execution.workers import begin_imports

        if runs > 1 and self.sharing().at_once > 1:
            begin_imports(self.sharing(), tracking)

    def launch(self, specs: Sequence[RunSpec]) -> Sequence[JobResult]:
        """Do runs, see `Launch`."""
        # Imported here, since a sweep through a launcher of Hydra's needs no processes of its own.
        from fer_ablate.execution.workers import Workers, begin_imports

        sharing = self.sharing()
        specs = [replace(spec, config=sharing.with_threads(spec.config)) for spec in specs]
        if sharing.at_once == 1 or (len(specs) == 1 and self._workers is None):
            return [do_job(spec, own_process=False) for spec in specs]
        if self._workers is None:
            begin_imports(sharing, specs[0].config.tracking)  # unless they have begun
            self._pictures = self._stack.enter_context(PictureThread(Path(specs[0].config.runs_dir)))
            self._workers = self._stack.enter_context(Workers(sharing, self._draw))
        return self._workers.launch([replace(spec, draws=False) for spec in specs])

    def draw_rest(self, meanwhile: Callable[[], object]) -> None:
        """Let all processes draw the pictures that are left; there are no runs to come.

        Args:
            meanwhile: called in this process while others draw.
        """
        if self._pictures is None:
            return
        if self._workers is not None and self._workers.idle:
            self._pictures.hand_over(self._workers.submit)
            meanwhile()
        self._pictures.finish()

    def together(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """Call functions at the same time, see `Together`; there are no runs to come."""
        if self._workers is None or not self._workers.idle:
            return one_after_another(functions)
        futures = [self._workers.submit(function) for function in functions]
        return [_result_or_call(future, function) for future, function in zip(futures, functions, strict=True)]

    def _draw(self, spec: RunSpec, result: JobResult) -> None:
        if result.faces is not None and self._pictures is not None:
            self._pictures.draw(RunFolder(Path(spec.folder)), result.faces)


def _resolved(settings: DictConfig) -> dict[str, Any]:
    """Plain values of `hydra.launcher`.

    Raises:
        UserError: one of them refers to something that is not there.
    """
    try:
        return {str(name): value for name, value in cast(dict[str, Any], OmegaConf.to_container(settings, resolve=True)).items()}
    except OmegaConfBaseException as error:
        raise UserError(f"hydra.launcher: {first_line(error)}") from error


def _most_at_once(settings: DictConfig) -> int | None:
    """What `hydra.launcher.n_jobs` allows; None if it is left to the machine.

    Raises:
        UserError: it is no number of runs.
    """
    if unknown := [str(name) for name in settings if name != "n_jobs"]:
        raise UserError(f"hydra.launcher.{unknown[0]}: this launcher has only n_jobs. Others: hydra/launcher=joblib, ray, basic.")
    n_jobs = settings.get("n_jobs")
    if n_jobs is None or n_jobs == -1:  # -1 as joblib means it
        return None
    if not isinstance(n_jobs, int) or n_jobs < 1:
        raise UserError(f"hydra.launcher.n_jobs={n_jobs} is no number of runs at once. Give 1 or more, or leave it out.")
    return n_jobs


def _result_or_call(future: Future[Any], function: Callable[[], Any]) -> Any:
    """What a function returned in another process; it is called in this one if that process was killed."""
    try:
        return future.result()
    except BrokenExecutor:
        return function()
