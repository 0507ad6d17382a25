"""Several processes that share one run: started together, ended together."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from fer_ablate.errors import UserError

RANK = "LOCAL_RANK"
"""Environment variable that tells a process which one it is; Lightning reads the same."""

_LAUNCHER = "FER_ABLATE_LAUNCHER"
"""Environment variable that holds the number of the process that started the ranks."""

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0


def rank() -> int:
    """Number of this process among those that share the run."""
    return int(os.environ.get(RANK, "0"))


def launch(command: Sequence[str], count: int) -> None:
    """Run a command `count` times at once, as the ranks of one process group on this machine.

    We start the processes ourselves because Lightning would start this process' own command line again, which inside
    a sweep is that of the whole sweep.

    Raises:
        UserError: one of them failed; the others have been ended.
        KeyboardInterrupt: all of them have been ended.
    """
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "NODE_RANK": "0",
        _LAUNCHER: str(os.getpid()),
        "WORLD_SIZE": str(count),
    }
    # A group of their own: Ctrl-C on the terminal then reaches them once, through us.
    ranks = [subprocess.Popen(list(command), env={**environment, RANK: str(number)}, process_group=0) for number in range(count)]
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
    parent = int(os.environ[_LAUNCHER])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # a rank that waits for another one would not heed anything less

    threading.Thread(target=watch, name="parent", daemon=True).start()


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
    for name in ("WORLD_SIZE", "NODE_RANK", RANK):
        os.environ.pop(name, None)


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
