"""Starts and ends the processes that share a run, and ends workers whose parent process is gone."""

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

from fer_ablate.errors import UserError

RANK = "LOCAL_RANK"
"""Environment variable with the number of a process among those of a run; Lightning reads it, too."""

_GLOBAL_RANK = "RANK"
"""Environment variable with the same number on one machine; Lightning reads it first to decide which process prints messages."""

_LAUNCHER = "FER_ABLATE_LAUNCHER"
"""Environment variable with the id of the process that started the ranks."""

_AGENT = "TORCHELASTIC_"
"""Prefix of torchrun's environment variables: with these torch would wait for torchrun's agent instead of using our address."""

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0


def rank() -> int:
    """Return the number of this process among those that share the run; numbers set by other launchers are ignored."""
    return int(os.environ.get(RANK, "0")) if _LAUNCHER in os.environ else 0


def launch(command: Sequence[str], count: int) -> None:
    """Run a command in `count` processes at once, as the ranks of one process group on this machine.

    Lightning is not used for this: it would start the command line of this process again, which within a sweep is that of the
    whole sweep.

    Raises:
        UserError: a process failed; the others have been ended.
        KeyboardInterrupt: the user interrupted; all processes have been ended.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_AGENT)},
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "NODE_RANK": "0",
        _LAUNCHER: str(os.getpid()),
        "WORLD_SIZE": str(count),
    }
    # In a process group of their own, so that they get Ctrl-C from the terminal only once, from this process.
    numbered = [{**environment, RANK: str(number), _GLOBAL_RANK: str(number)} for number in range(count)]
    ranks = [subprocess.Popen(list(command), env=one, process_group=0) for one in numbered]
    try:
        # The first process also tests and records the run, so the run is over when it ends.
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
            f"Process {number} of {count} ended with {_exit_text(code)}; see its messages above. "
            "The same command resumes the run."
        )


def follow_parent() -> None:
    """End this rank when the process that launched it is gone, for example killed, so that no rank goes on unnoticed.

    Raises:
        UserError: it was not started by `launch`.
    """
    if _LAUNCHER not in os.environ:
        raise UserError("`worker` is one of several processes that `trainer=ddp` starts by itself. Type train instead.")
    launcher = int(os.environ[_LAUNCHER])
    _end_when(lambda: os.getppid() != launcher)


@cache
def end_with_parent() -> None:
    """End this worker of a sweep when the main process of the sweep is gone, so that it does not go on unnoticed.

    Only has an effect in worker processes of joblib and multiprocessing, and may be called repeatedly. Other processes need
    not end: a command may outlive its shell, ray ends its workers itself, and a SLURM job outlives the process that submits it.
    """
    main = multiprocessing.parent_process()
    if main is None or main.pid is None:
        return
    main_pid, starter = main.pid, os.getppid()
    # Both are watched: the starter may be a fork server, and the main process may have died before this call.
    _end_when(lambda: os.getppid() != starter or not _exists(main_pid))


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Turn torch's errors about a lost process of the run into a plain message."""
    try:
        yield
    except RuntimeError as error:
        if not any(library in str(error).lower() for library in ("gloo", "nccl")):
            raise
        raise UserError(f"Process {rank()} lost the connection to the others of the run: {str(error).splitlines()[0]}") from error


def leave_group() -> None:
    """Leave the process group when training is over: a single process then tests every image once."""
    # The processes that this one starts and watches need no torch, so it is imported only after a training.
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
    for name in ("WORLD_SIZE", "NODE_RANK", RANK, _GLOBAL_RANK):
        os.environ.pop(name, None)


def _end_when(orphaned: Callable[[], bool]) -> None:
    """Kill this process as soon as `orphaned` returns true; a thread checks it."""

    def watch() -> None:
        while not orphaned():
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a process that waits for another one ignores other signals

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    return True


def _end(processes: Sequence["subprocess.Popen[bytes]"], how: signal.Signals) -> None:
    """Send a signal to processes, wait for them, and kill those that do not end in time."""
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


def _exit_text(code: int) -> str:
    return f"code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
