"""Types commands in processes of their own, finds all processes that they have started, and kills them."""

import importlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fer_ablate.cli.main import main

MARK = "FER_ABLATE_CHAOS"
"""Environment variable that all processes of a command inherit."""

VICTIMS = ("driver", "worker", "group", "all")
"""What is killed: the process that was typed, one that trains, the group of processes of a terminal, everything at once."""

LIMIT_SECONDS = 1200
"""Longest time for one command on a machine that has other work as well."""

NICENESS = 5


@dataclass
class Command:
    """A command that runs.

    Args:
        process: of the command itself.
        mark: value of `MARK` in it and in all that it starts.
        output: file that its output is appended to.
        seen: number and time of start of its processes, as far as they were seen: some lose their mark.
    """

    process: "subprocess.Popen[bytes] | Forked"
    mark: str
    output: Path
    seen: set[tuple[int, str]] = field(default_factory=set)

    def has_ended(self) -> bool:
        """Whether the command itself has ended."""
        return self.process.poll() is not None

    def wait(self) -> int:
        """Its exit status, once it ends; `TimeoutExpired` if it does not."""
        return self.process.wait(timeout=LIMIT_SECONDS)

    def processes(self) -> dict[int, str]:
        """Number -> command line of the processes that live."""
        every = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None and stat[0] != "Z"}
        own = {pid for pid in every if _is_marked(pid, self.mark)} | {pid for pid in every if (pid, every[pid][2]) in self.seen}
        grown = True
        while grown:
            more = {pid for pid, (_, parent, _) in every.items() if parent in own} - own
            own |= more
            grown = bool(more)
        own.discard(os.getpid())
        self.seen |= {(pid, every[pid][2]) for pid in own}
        return {pid: _command_line(pid) for pid in sorted(own)}

    def kill(self, victim: str, owners: Sequence[int], choice: float) -> str:
        """Kill some of its processes with SIGKILL.

        Args:
            victim: one of `VICTIMS`.
            owners: processes that train at the moment.
            choice: from 0 to 1; which one of several workers.

        Returns:
            What was killed: the driver where there is no worker yet; empty if nothing lives.
        """
        living = self.processes()
        if victim == "group":
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return "group"
        workers = [pid for pid in owners if pid in living and pid != self.process.pid]
        workers = workers or [pid for pid, line in living.items() if pid != self.process.pid and _is_worker(line)]
        if victim == "worker" and not workers:
            victim = "driver"
        chosen = {
            "driver": [self.process.pid],
            "worker": workers[int(choice * len(workers)) :][:1],
            "all": list(living),
        }[victim]
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return victim if chosen else ""

    def wait_for_all(self, seconds: float) -> dict[int, str]:
        """Wait until none of its processes lives; returns those that still do."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.5)
        return left

    def end(self) -> None:
        """Kill whatever lives of it."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Forked:
    """A copy of this process that does a command, so that it need not import anything again: most of the time goes into that.

    Args:
        words: of the command line.
        output: file that output and messages are appended to.
    """

    def __init__(self, words: Sequence[str], output: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a copy of a process that has threads: none is needed
            self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            os.setsid()
            os.nice(NICENESS)
            stream = os.open(output, os.O_WRONLY | os.O_APPEND)
            os.dup2(stream, 1), os.dup2(stream, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
            code = main(list(words))
            sys.stdout.flush(), sys.stderr.flush()
        finally:
            os._exit(code)

    _code: int | None = None

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it ends; `TimeoutExpired` if it does not."""
        until = time.monotonic() + (timeout or LIMIT_SECONDS)
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("fer_ablate", timeout or LIMIT_SECONDS)
            time.sleep(0.05)
        return code


@cache
def import_all() -> None:
    """Import what a study needs, for the copies of this process."""
    for name in ("execution.sweep", "execution.worker_imports", "tracking.mlflow.store", "judgement.judge", "report.plots.study"):
        importlib.import_module(f"fer_ablate.{name}")


def start_forked(words: Sequence[str], output: Path, mark: str) -> Command:
    """Type `fer_ablate` with these words in a copy of this process; see `start`."""
    with output.open("a") as stream:
        stream.write(f"\n$ fer_ablate {' '.join(words)}\n")
    command = Command(Forked(words, output), mark, output)
    if (stat := _stat(command.process.pid)) is not None:
        command.seen.add((command.process.pid, stat[2]))
    return command


def start(
    words: Sequence[str], output: Path, mark: str, before: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Command:
    """Type `fer_ablate` with these words.

    Args:
        words: of the command line.
        output: file that output and messages are appended to.
        mark: see `Command`.
        before: command that starts it, such as `setpriv`.
        environment: further variables.
    """
    every = {**os.environ, "PYTHONUNBUFFERED": "1", MARK: mark, **(environment or {})}
    with output.open("ab") as stream:
        stream.write(f"\n$ fer_ablate {' '.join(words)}\n".encode())
        stream.flush()
        process = subprocess.Popen(
            ["nice", "-n", str(NICENESS), *before, sys.executable, "-m", "fer_ablate", *words],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=every,
        )
    return Command(process, mark, output)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _stat(pid: int) -> tuple[str, int, str] | None:
    """State, parent and time of start of a process; None if it has ended."""
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return parts[0], int(parts[1]), parts[19]


def _is_marked(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _is_worker(line: str) -> bool:
    if "resource_tracker" in line:
        return False
    return line.startswith("ray::") or any(word in line for word in ("forkserver", "loky", "multiprocessing"))
