"""Several processes that share one run: started together, ended together."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence

import torch

from fer_ablate.errors import UserError

RANK = "LOCAL_RANK"
"""Environment variable that tells a process which one it is; Lightning reads the same."""

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
        "WORLD_SIZE": str(count),
    }
    ranks = [subprocess.Popen(list(command), env={**environment, RANK: str(number)}) for number in range(count)]
    try:
        while any(process.poll() is None for process in ranks):
            if any(process.poll() not in (None, 0) for process in ranks):
                break
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        _end(ranks, signal.SIGINT)
        raise
    failed = [(number, process.returncode) for number, process in enumerate(ranks) if process.returncode not in (None, 0)]
    _end(ranks, signal.SIGTERM)
    if failed:
        number, code = failed[0]
        raise UserError(
            f"Process {number} of {count} ended with code {code}; its message stands above. The same command resumes the run."
        )


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
