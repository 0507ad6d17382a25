"""Processes of this machine that train the runs of a sweep: each is started once and does one run after another.

Each worker is a loky executor with a single process, so that a run that is killed, for lack of memory for example, takes no
other run with it, and so that each worker sees GPUs of its own. joblib brings loky.

On Linux without a GPU the processes are forked from a server that has imported all they need (`multiprocessing`'s fork server):
Lightning and MLflow take as long to import as a small run takes to train, and workers share the memory of what was imported.
"""

import gc
import multiprocessing
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_tracker

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.execution.job import JobResult, do_job, result_on_disk, times_before
from fer_ablate.execution.sharing import THREADS, VISIBLE, Need, Sharing
from fer_ablate.tracking.disk.files import Times
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import prepare_environment

T = TypeVar("T")

GRACE_SECONDS = 5.0
"""Time for workers to record that they were interrupted, before they are killed."""

IMPORTED = "fer_ablate.execution.worker_imports"
"""Module that imports what every run needs."""

STORE = "fer_ablate.tracking.mlflow.store"
"""Module that imports MLflow."""


def forks(sharing: Sharing) -> bool:
    """Whether workers are forked. A process in which CUDA has begun cannot be, and on macOS system libraries forbid it."""
    return sys.platform == "linux" and not sharing.machine.gpus


def begin_imports(sharing: Sharing, tracking: TrackingConfig) -> None:
    """Start the server that workers are forked from, so that it imports beside whatever this process still has to do.

    Args:
        sharing: how runs share the machine; where workers are not forked, nothing happens.
        tracking: whether runs are recorded in MLflow, which then is imported as well.
    """
    if not forks(sharing):
        return
    if tracking.enabled:
        prepare_environment(tracking.timeout)
    multiprocessing.set_forkserver_preload([*([STORE] if tracking.enabled else []), IMPORTED])
    before = os.environ.get(THREADS)
    os.environ[THREADS] = str(sharing.threads)  # libraries read it as they are imported
    try:
        with _sigint_blocked():
            forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = before


class Worker:
    """A process that does one run at a time.

    Args:
        cards: values of CUDA_VISIBLE_DEVICES; empty for a worker without GPUs.
        threads: number of threads of libraries for which a run does not set it.
        forked: whether its process is forked, see `forks`.
    """

    def __init__(self, cards: tuple[str, ...], threads: int, forked: bool) -> None:
        self.cards = cards
        environment = {THREADS: str(threads)}
        if cards:
            environment[VISIBLE] = ",".join(cards)
        context = multiprocessing.get_context("forkserver") if forked else None
        # The server has the variables of the time at which it was started, perhaps for an earlier sweep of this process.
        begin = partial(_begin, {**os.environ, **environment} if forked else None)
        # Ctrl-C in a terminal reaches every process of the group: it is blocked until the worker has a group of its own.
        with _sigint_blocked(), _without_main():
            self._executor = ProcessPoolExecutor(1, context=context, env=environment, initializer=begin)
            self._ready: Future[int] = self._executor.submit(_import_all)

    def start(self, spec: RunSpec) -> "Future[JobResult]":
        """Start a run; the worker must be idle."""
        return self.submit(_do_run, spec)

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Call a function in the process, after whatever it is doing."""
        future: Future[T] = self._executor.submit(function, *arguments)
        return future

    def interrupt(self) -> None:
        """Send Ctrl-C to the run."""
        if self._ready.done() and self._ready.exception() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self._ready.result(), signal.SIGINT)

    def end(self) -> None:
        """End the process."""
        self._executor.shutdown(wait=True, kill_workers=True)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    # Started before, since each of them unblocks the signal once its process runs.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the script of this program from `multiprocessing`, which would run a script of a user's once more in each worker."""
    hidden = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = hidden


def _begin(environment: Mapping[str, str] | None) -> None:
    """First of all that a worker does: from here on the sweep alone interrupts it, and it ends with the sweep.

    Args:
        environment: all variables of this process; None: it has the right ones.
    """
    if environment is not None:
        os.environ.clear()
        os.environ.update(environment)
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _import_all() -> int:
    """Import what every run needs, unless the process was forked with it; returns the number of the process."""
    from fer_ablate.execution import worker_imports  # noqa: F401  # imported for the runs to come
    from fer_ablate.training.processes import end_with_parent

    end_with_parent()
    return os.getpid()


def _do_run(spec: RunSpec) -> JobResult:
    try:
        return do_job(spec, own_process=True)
    finally:
        gc.collect()  # modules and trainers refer to each other in circles, and hold the memory of a whole run


@dataclass
class _Free:
    """What no run uses at the moment."""

    cores: int
    memory_mb: float
    cards: list[str]

    def has(self, need: Need) -> bool:
        return need.cores <= self.cores and need.memory_mb <= self.memory_mb and need.gpus <= len(self.cards)


class Workers:
    """All workers of a sweep; a context that ends them.

    Args:
        sharing: how runs share the machine.
        ended: called with each run that has ended, and its result.
    """

    def __init__(self, sharing: Sharing, ended: Callable[[RunSpec, JobResult], None]) -> None:
        self.sharing, self._ended = sharing, ended
        here = sharing.machine
        self._free = _Free(here.cores, here.memory_mb, list(here.gpus))
        self._idle: list[Worker] = []
        self._busy: dict[Future[JobResult], tuple[int, Worker, Need, Times]] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            self._interrupt_all()
        for worker in [*self._idle, *(worker for _, worker, _, _ in self._busy.values())]:
            worker.end()
        self._idle, self._busy = [], {}

    def launch(self, specs: Sequence[RunSpec]) -> list[JobResult]:
        """Do these runs, as many at once as there is room for, in their order.

        Returns:
            Result of each run. A run whose process was killed is `missing`, with the reason.

        Raises:
            KeyboardInterrupt: the user interrupted, or a worker was interrupted alone.
        """
        waiting = deque(enumerate(specs))
        results: dict[int, JobResult] = {}
        while waiting or self._busy:
            # In order, so that a run that needs much room is not overtaken for ever by small ones.
            while waiting and self._has_room(need := self.sharing.need(waiting[0][1].config)):
                number, spec = waiting.popleft()
                before = times_before(RunFolder(Path(spec.folder)), spec.config.force)
                future, worker = self._start(spec, need)
                self._busy[future] = (number, worker, need, before)
            for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
                number, worker, need, before = self._busy.pop(future)
                self._take_back(worker, need)
                results[number] = self._result(future, worker, specs[number], before)
                self._ended(specs[number], results[number])
        return [results[number] for number in range(len(specs))]

    @property
    def idle(self) -> int:
        """Number of workers that are there and train nothing."""
        return len(self._idle)

    def submit(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Call a function in one of the idle workers, each in its turn.

        Returns:
            Its result, or a `BrokenExecutor` if the process was killed.
        """
        worker = self._idle.pop(0)
        self._idle.append(worker)
        try:
            return worker.submit(function, *arguments)
        except BrokenExecutor as error:
            broken: Future[T] = Future()
            broken.set_exception(error)
            return broken

    def _has_room(self, need: Need) -> bool:
        if not self._busy:
            return True  # alone it may have all there is
        return len(self._busy) < self.sharing.at_once and self._free.has(need)

    def _start(self, spec: RunSpec, need: Need) -> "tuple[Future[JobResult], Worker]":
        worker = self._worker_for(need)
        try:
            return worker.start(spec), worker
        except BrokenExecutor:  # its process was killed while it had nothing to do
            worker.end()
            worker = self._new_worker(worker.cards)
            return worker.start(spec), worker

    def _new_worker(self, cards: tuple[str, ...]) -> Worker:
        return Worker(cards, self.sharing.threads, forks(self.sharing))

    def _worker_for(self, need: Need) -> Worker:
        """An idle worker with as many GPUs, or else a new one."""
        self._free.cores -= need.cores
        self._free.memory_mb -= need.memory_mb
        fitting = (one for one in self._idle if len(one.cards) == need.gpus)
        worker = next((one for one in fitting if all(card in self._free.cards for card in one.cards)), None)
        if worker is None:
            worker = self._new_worker(tuple(self._free.cards[: need.gpus]))
        else:
            self._idle.remove(worker)
        self._free.cards = [card for card in self._free.cards if card not in worker.cards]
        return worker

    def _take_back(self, worker: Worker, need: Need) -> None:
        self._free.cores += need.cores
        self._free.memory_mb += need.memory_mb
        self._free.cards = sorted([*self._free.cards, *worker.cards], key=self.sharing.machine.gpus.index)
        self._idle.append(worker)

    def _result(self, future: "Future[JobResult]", worker: Worker, spec: RunSpec, before: Times) -> JobResult:
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, KeyboardInterrupt):
            raise error
        self._idle.remove(worker)  # its process is gone; the next run gets another
        worker.end()
        problem = _why(error)
        found = result_on_disk(RunFolder(Path(spec.folder)), spec.key, problem, before)
        if found.state is RunState.missing and not found.problem:
            # Not tried again: a process that cannot even begin would be started for ever.
            return JobResult(RunState.missing, spec.key, f"its process ended before it began ({problem})")
        return found

    def _interrupt_all(self) -> None:
        for _, worker, _, _ in self._busy.values():
            worker.interrupt()
        with suppress(KeyboardInterrupt):  # pressed again: they are killed at once
            wait(self._busy, timeout=GRACE_SECONDS)


def _why(error: BaseException) -> str:
    """Why a process ended, from loky's long message: `SIGKILL(-9), perhaps for lack of memory`."""
    codes = re.search(r"exit codes of the workers are \{(.+?)\}", str(error))
    if codes is None:
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
    return codes[1] + (", perhaps for lack of memory" if "SIGKILL" in codes[1] else "")
