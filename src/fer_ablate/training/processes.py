"""Several processes that share one run: started together, ended together."""

import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch

from fer_ablate.errors import UserError

RANK = "LOCAL_RANK"
"""Environment variable that tells a process which one it is; Lightning reads the same."""

_GLOBAL_RANK = "RANK"
"""The same on a single machine; Lightning believes it first when it decides which process may talk."""

_LAUNCHER = "FER_ABLATE_LAUNCHER"
"""Environment variable that holds the number of the process that started the ranks."""

_AGENT = "TORCHELASTIC_"
"""Of environment variables that torchrun leaves behind; torch would wait for its agent instead of meeting at our address."""

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0


def rank() -> int:
    """Number of this process among those that share the run; what another launcher has numbered does not count."""
    return int(os.environ.get(RANK, "0")) if _LAUNCHER in os.environ else 0


def launch(command: Sequence[str], count: int) -> None:
    """Run a command `count` times at once, as the ranks of one process group on this machine.

    We start the processes ourselves because Lightning would start this process' own command line again, which inside
    a sweep is that of the whole sweep.

    Raises:
        UserError: one of them failed; the others have been ended.
        KeyboardInterrupt: all of them have been ended.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_AGENT)},
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "NODE_RANK": "0",
        _LAUNCHER: str(os.getpid()),
        "WORLD_SIZE": str(count),
    }
    # A group of their own: Ctrl-C on the terminal then reaches them once, through us.
    numbered = [{**environment, RANK: str(number), _GLOBAL_RANK: str(number)} for number in range(count)]
    ranks = [subprocess.Popen(list(command), env=one, process_group=0) for one in numbered]
    try:
        # The first one tests and records when the others are through already; when it is, so is the run.
        while ranks[0].poll() is None and all(process.poll() in (None, 0) for process in ranks):
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        _end(ranks, signal.SIGINT)
        raise
    failed = [(number, process.returncode) for number, process in enumerate(ranks) if process.returncode not in (None, 0)]
    _end(ranks, signal.SIGTERM)
    if failed:
        number, code = failed[0]
        raise UserError(
            f"Process {number} of {count} ended with {_named(code)}; what it said stands above. The same command resumes the run."
        )


def follow_parent() -> None:
    """End this rank when the process that launched it is gone, killed perhaps, so that none trains on unseen.

    Raises:
        UserError: nobody launched it.
    """
    if _LAUNCHER not in os.environ:
        raise UserError("`worker` is one of several processes that `trainer=ddp` starts by itself. Type train instead.")
    launcher = int(os.environ[_LAUNCHER])
    _end_when(lambda: os.getppid() != launcher)


@cache
def end_with_parent() -> None:
    """End this worker of a sweep when the sweep's own process is gone, so that it does not train on unseen.

    For worker processes of joblib and multiprocessing, any number of times. Anywhere else it does nothing: a process that
    was started by a shell outlives it, ray ends its workers itself, and jobs of SLURM outlive the one that submitted them.
    """
    main = multiprocessing.parent_process()
    if main is None or main.pid is None:
        return
    number, starter = main.pid, os.getppid()
    # Two questions, for the starter may be a fork server, and the main process may have died before this was called.
    _end_when(lambda: os.getppid() != starter or not _exists(number))


@contextmanager
def losing_others() -> Iterator[None]:
    """Say it plainly when another process of the run is gone."""
    try:
        yield
    except RuntimeError as error:
        if not any(library in str(error).lower() for library in ("gloo", "nccl")):
            raise
        raise UserError(f"Process {rank()} lost the others that share the run: {str(error).splitlines()[0]}") from error


def leave_group() -> None:
    """Part from the other processes once training is over; each image is then tested once, by one of them."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in ("WORLD_SIZE", "NODE_RANK", RANK, _GLOBAL_RANK):
        os.environ.pop(name, None)


def _end_when(orphaned: Callable[[], bool]) -> None:
    def watch() -> None:
        while not orphaned():
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a process that waits for another one would not heed anything less

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def _end(processes: Sequence["subprocess.Popen[bytes]"], how: signal.Signals) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(how)
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _named(code: int) -> str:
    return f"code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
