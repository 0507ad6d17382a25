"""Runs as jobs of a cluster, through submitit: submitted, watched until each has ended, and taken up by a later command.

A job holds all that its run needs, and its id is kept in `<runs_dir>/multirun/jobs/` until it has ended. So nothing depends on
the command that submitted it: that may be interrupted or killed, and the same command finds its jobs again.
"""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.errors import UserError, first_line
from fer_ablate.execution.job import JobResult, result_on_disk, times_before
from fer_ablate.execution.job_queue import LocalQueue, Queue, QueuedJob, QueueSilentError, SlurmQueue, how_it_ended, packed
from fer_ablate.execution.job_records import JobRecord, JobRecords
from fer_ablate.execution.run_progress import JobNote
from fer_ablate.execution.submitted_run import SubmittedRun, epochs_of
from fer_ablate.extras import install_command
from fer_ablate.tracking.disk.files import Times, changed_at
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

JOBS = "jobs"
"""Folder below that of launchers with a file for each job that may still be queued or running."""

RESULT_SECONDS = 1.0
"""Time between two looks for results, which are files."""

RESULT_SHARE = 20
"""A look that took long is followed by a pause this many times as long."""

QUEUE_SECONDS = 15.0
"""Time between two looks at the queue, which serves all users of the cluster."""

GRACE_SECONDS = 20.0
"""How long after the end of its job a result may need to be seen here, over a network file system."""

MOST_ELEMENTS = 1000
"""Jobs submitted together: Slurm takes arrays of 1,000 elements unless it is set up for more (`MaxArraySize`)."""

EXECUTOR_KEYS = ("max_num_timeout", "python")
COMMON_KEYS = (
    "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout",
)  # fmt: skip
"""Settings that submitit takes for every kind of cluster; the others are named for one."""

ENDED_STATES = (RunState.finished, RunState.failed, RunState.pruned)


@dataclass
class _Open:
    """A job that is waited for."""

    spec: RunSpec
    record: JobRecord
    before: Times
    queued: QueuedJob | None = None
    gone_since: float | None = None


class Jobs(Protocol):
    """What the live view and a sweep ask about jobs."""

    def note(self, folder: Path) -> JobNote | None:
        """What is known of the job of the run in this folder; None if it has none."""
        ...

    def show_left(self) -> None:
        """After Ctrl-C: say which jobs go on, and how to cancel them or come back to them."""
        ...


class SubmittedJobs:
    """Runs of a sweep as jobs; `launch` is a `Launch`.

    Args:
        settings: of `hydra.launcher`, see conf/hydra/launcher/submitit_slurm.yaml.
        multirun: folder for what launchers write.

    Raises:
        UserError: submitit is missing or refuses the settings, or there is no Slurm here.
    """

    def __init__(self, settings: Mapping[str, Any], multirun: Path) -> None:
        self._settings = dict(settings)
        self._cluster = str(self._settings.pop("cluster"))
        self._folder = str(self._settings.pop("submitit_folder"))
        self._queue: Queue = LocalQueue() if self._cluster == "local" else SlurmQueue()
        self._records = JobRecords(multirun / JOBS, self._cluster)
        self._open: dict[str, _Open] = {}
        self._notes: dict[str, JobNote] = {}
        self._executor = self._build()

    def launch(self, specs: Sequence[RunSpec]) -> list[JobResult]:
        """Wait for the jobs of these runs, after submitting those that are not queued yet.

        Returns:
            Result of each run. A run whose job ended without one has failed, with what the queue says about it.
        """
        results: dict[str, JobResult] = {}
        self._take_up(specs)
        self._records.forget_returned(self._open)
        fresh = [spec for spec in specs if spec.key not in self._open]
        for start in range(0, len(fresh), MOST_ELEMENTS):
            results |= self._submit(fresh[start : start + MOST_ELEMENTS])
        looked, silent, pause = -QUEUE_SECONDS, False, 0.0
        while self._open:
            time.sleep(pause)
            began = time.monotonic()
            results |= self._returned()
            if self._open and time.monotonic() - looked >= QUEUE_SECONDS:
                silent = self._look(silent)
                looked = time.monotonic()
                results |= self._gone()
                continue
            pause = max(RESULT_SECONDS, RESULT_SHARE * (time.monotonic() - began))
        return [results[spec.key] for spec in specs]

    def note(self, folder: Path) -> JobNote | None:
        """See `Jobs`."""
        return self._notes.get(str(folder))

    def show_left(self) -> None:
        """See `Jobs`."""
        if not self._open:
            return
        ids = [one.record.job for one in self._open.values()]
        waiting = sum(one.queued is not None and one.queued.waits for one in self._open.values())
        counts = f"{waiting} queued, {len(ids) - waiting} running" if waiting else "running"
        console.facts(
            [
                ("jobs", f"{console.counted(len(ids), 'job')} ({counts}) go on without this command: {' '.join(packed(ids))}"),
                ("cancel", self._queue.cancelling(ids)),
                ("come back", "type the same command again: it takes these jobs up"),
            ]
        )

    def _take_up(self, specs: Sequence[RunSpec]) -> None:
        """Find the jobs that an earlier command has submitted for these runs, as far as they are queued or running."""
        records = {spec.key: record for spec in specs if (record := self._records.read(spec.key)) is not None}
        if not records:
            return
        queued = self._asked([record.job for record in records.values()])
        for spec in specs:
            record = records.get(spec.key)
            job = queued.get(record.job) if record is not None else None
            # The name as well, since ids begin anew when a cluster is set up anew.
            if record is not None and job is not None and not job.ended and job.name in ("", record.name):
                self._begin_waiting(spec, record, job)
        if self._open:
            ids = packed([one.record.job for one in self._open.values()])
            console.facts([("takes up", f"{console.counted(len(self._open), 'job')} of an earlier command: {' '.join(ids)}")])

    def _submit(self, specs: Sequence[RunSpec]) -> dict[str, JobResult]:
        """Submit runs together; gives results only if the cluster refuses them."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        cwd = Path.cwd()
        runs = [SubmittedRun(spec, cwd, changed_at(RunFolder(Path(spec.folder)).header_file)) for spec in specs]
        while True:
            try:
                # Ctrl-C waits: a job that was submitted but not recorded would be queued a second time.
                with _undisturbed():
                    jobs = self._executor.submit_array(runs)
                    for spec, job in zip(specs, jobs, strict=True):
                        record = JobRecord(self._cluster, job.job_id, str(self._settings.get("name")), self._folder)
                        self._begin_waiting(spec, record, None)
                        try:
                            self._records.write(spec.key, record)
                        except UserError as error:
                            _warn(f"job {job.job_id} would not be found by a later command: {error}")
                break
            except (FailedJobError, FailedSubmissionError, OSError) as error:
                if self._answers():
                    problem = f"{self._queue.name} refused the job: {first_line(error)}"
                    return {spec.key: self._settle(spec, JobResult(RunState.failed, spec.key, problem)) for spec in specs}
                _warn(f"cannot submit yet ({first_line(error)}); tries again every {QUEUE_SECONDS:.0f} s")
                time.sleep(QUEUE_SECONDS)
        console.facts([("submitted", f"{console.counted(len(jobs), 'job')}: {' '.join(packed([job.job_id for job in jobs]))}")])
        return {}

    def _begin_waiting(self, spec: RunSpec, record: JobRecord, queued: QueuedJob | None) -> None:
        folder = RunFolder(Path(spec.folder))
        self._open[spec.key] = _Open(spec, record, times_before(folder, spec.config.force), queued)
        self._notes[spec.folder] = JobNote(f"{queued.in_words if queued else 'queued'}, job {record.job}")

    def _returned(self) -> dict[str, JobResult]:
        """Results of jobs that have left one."""
        results = {}
        for key, one in list(self._open.items()):
            returned = one.record.result()
            if returned is not None:
                results[key] = self._settle(one.spec, _read_result(returned, one))
        return results

    def _gone(self) -> dict[str, JobResult]:
        """Results of jobs that have ended without leaving one."""
        now, results = time.monotonic(), {}
        for key, one in list(self._open.items()):
            if one.gone_since is None or now - one.gone_since < GRACE_SECONDS:
                continue
            folder = RunFolder(Path(one.spec.folder))
            if one.queued is None and folder.in_training:
                continue  # the queue has lost the job, as after its controller was set up anew, but not the run
            accounted = "" if one.queued is not None and one.queued.ended else self._queue.ending(one.record.job)
            problem = how_it_ended(one.record.job, one.queued, accounted)
            if epochs := epochs_of(folder):
                problem += f"; the same command resumes it after epoch {epochs}"
            results[key] = self._settle(one.spec, _ended_on_disk(one, problem))
        return results

    def _settle(self, spec: RunSpec, result: JobResult) -> JobResult:
        one = self._open.pop(spec.key, None)
        self._notes.pop(spec.folder, None)
        if result.state is RunState.failed:
            self._notes[spec.folder] = JobNote("", result.problem)
        if one is not None:
            self._records.forget(spec.key)
        return result

    def _look(self, silent: bool) -> bool:
        """Look at the queue once; returns whether it was silent, given whether it was so at the last look."""
        try:
            found = self._queue.jobs([one.record.job for one in self._open.values()])
        except QueueSilentError as error:
            if not silent:
                _warn(f"the queue does not answer ({error}); the jobs are left as they are")
            return True
        if silent:
            console.console.print("  the queue answers again")
        for one in self._open.values():
            job = found.get(one.record.job)
            if job is not None and not job.ended:
                one.queued, one.gone_since = job, None
                self._notes[one.spec.folder] = JobNote(f"{job.in_words}, job {one.record.job}")
                continue
            one.record.refresh()
            # What was seen once is kept: a cluster may forget an ended job before its result is given up.
            if job is not None or one.queued is None or not one.queued.ended:
                one.queued = job
            if one.gone_since is None:
                one.gone_since = time.monotonic()
            gone = job.in_words if job is not None else "no longer queued"
            self._notes[one.spec.folder] = JobNote(f"{gone}, job {one.record.job}")
        return False

    def _asked(self, ids: Sequence[str]) -> Mapping[str, QueuedJob]:
        """The jobs in the queue; waits until it answers, since runs that are queued must not be queued again."""
        silent = False
        while True:
            try:
                return self._queue.jobs(ids)
            except QueueSilentError as error:
                if not silent:
                    _warn(f"the queue does not answer ({error}); waits for it, since runs may be queued already")
                silent = True
                time.sleep(QUEUE_SECONDS)

    def _answers(self) -> bool:
        try:
            self._queue.jobs(["0"])
        except QueueSilentError:
            return False
        return True

    def _build(self) -> Any:
        """An executor of submitit with the settings."""
        try:
            from submitit import AutoExecutor
        except ImportError as error:
            raise UserError(f"hydra/launcher=submitit_{self._cluster} needs submitit: {install_command('slurm')}") from error
        given = {name: value for name, value in self._settings.items() if value is not None}
        cluster = self._cluster
        first = {f"{cluster}_{name}": given.pop(name) for name in EXECUTOR_KEYS if name in given}
        if cluster == "slurm" and "cpus_per_task" in given:
            # Since Slurm 22.05 a step no longer takes over the number of cores of its job.
            given["setup"] = ["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK", *given.get("setup", [])]
        named = {name if name in COMMON_KEYS else f"{cluster}_{name}": value for name, value in given.items()}
        try:
            executor = AutoExecutor(self._folder, cluster=cluster, **first)
            executor.update_parameters(**named)
        except (RuntimeError, ValueError, TypeError, NameError, AssertionError, OSError) as error:
            raise UserError(f"hydra/launcher=submitit_{cluster}: {first_line(error)}") from error
        return executor


def _read_result(returned: tuple[str, Any], one: _Open) -> JobResult:
    outcome, value = returned
    if outcome == "success" and isinstance(value, JobResult):
        return value
    # The job ended within submitit, before or after the run, as where a node lacks the package; the last line names the error.
    lines = [line for line in str(value).splitlines() if line.strip()]
    return _ended_on_disk(one, f"job {one.record.job}: {lines[-1] if lines else 'no result'}")


def _ended_on_disk(one: _Open, problem: str) -> JobResult:
    """The result of a run whose job did not give one: what the run itself recorded since then, else failed with this problem."""
    found = result_on_disk(RunFolder(Path(one.spec.folder)), one.spec.key, problem, one.before)
    if found.state in ENDED_STATES:
        return found
    return JobResult(RunState.failed, one.spec.key, problem, str(one.record.log) if one.record.log.is_file() else "")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait; processes that are started meanwhile get neither it nor the end of the terminal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, hangup)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _warn(problem: str) -> None:
    console.console.print(f"  note: {problem}", style="yellow")
