"""What the queue says about submitted jobs: `squeue` and `sacct` for Slurm, `ps` for submitit's processes on this machine."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import psutil

ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"}
)
"""Slurm's states (squeue(1), "job state codes") of a job that will not run again, unless it is queued again by hand."""

REMEDIES = {
    "TIMEOUT": "give it more time: hydra.launcher.timeout_min=...",
    "OUT_OF_MEMORY": "give it more memory: hydra.launcher.mem_gb=...",
}
"""State in which a job ended -> what a person can do about it, beside typing the command again."""

COMMAND_SECONDS = 90.0
"""How long a command of Slurm may take; without a controller, `squeue` gives up by itself after about half a minute."""


class QueueSilentError(Exception):
    """The queue does not answer at the moment, so that nothing is known of any job."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as the queue shows it.

    Args:
        state: in Slurm's words, such as `PENDING`.
        reason: why it waits or ended, in Slurm's words; empty if there is none.
        name: of the job.
        node: where it runs; empty while it waits.
    """

    state: str
    reason: str = ""
    name: str = ""
    node: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.state in ENDED

    @property
    def waits(self) -> bool:
        """Whether it has no node yet, or none any more."""
        return not self.ended and not self.node

    @property
    def in_words(self) -> str:
        """Such as `queued (Resources)`."""
        if self.ended:
            return f"ended as {self.state}"
        if self.waits:
            return f"queued ({self.reason})" if self.reason else "queued"
        return {"RUNNING": f"running on {self.node}", "COMPLETING": f"ending on {self.node}"}.get(self.state, self.state.lower())


class Queue(Protocol):
    """Where jobs are submitted to."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def jobs(self, ids: Sequence[str]) -> Mapping[str, QueuedJob]:
        """What is known of these jobs; ended ones may be missing.

        Raises:
            QueueSilentError: the queue does not answer.
        """
        ...

    def ending(self, job: str) -> str:
        """The state in which a job ended that `jobs` no longer knows; empty if nobody knows it."""
        ...

    def cancelling(self, ids: Sequence[str]) -> str:
        """The command that cancels these jobs."""
        ...


class SlurmQueue:
    """The queue of Slurm. It knows ended jobs for some minutes (`MinJobAge`); later only accounting does, if there is any."""

    name = "Slurm"

    def jobs(self, ids: Sequence[str]) -> dict[str, QueuedJob]:
        """Of all jobs of this user, since `squeue --jobs` ends with an error where it knows none of them."""
        # --array: each waiting element of an array has its line, with its own id.
        layout = "--format=%i|%T|%r|%N|%j"
        command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", layout]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
        except subprocess.CalledProcessError as error:
            raise QueueSilentError(_first_line(error.stderr) or f"squeue ended with {error.returncode}") from error
        except subprocess.TimeoutExpired as error:
            raise QueueSilentError(f"squeue took more than {COMMAND_SECONDS:.0f} s") from error
        except OSError as error:
            raise QueueSilentError(f"squeue: {error.strerror}") from error
        found = read_squeue(done.stdout)
        return {job: found[job] for job in ids if job in found}

    def ending(self, job: str) -> str:
        """From accounting, which many small clusters do without."""
        command = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={job}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return ""
        states = dict(line.split("|", 1) for line in done.stdout.splitlines() if "|" in line)
        return states.get(job, "").strip()

    def cancelling(self, ids: Sequence[str]) -> str:
        """`scancel`, with the elements of an array together."""
        return f"scancel {' '.join(packed(ids))}"


def _is_watcher(job: str) -> bool:
    """Whether a process is one of submitit's: another program may have got the number meanwhile."""
    try:
        process = psutil.Process(int(job))
        # Without words it has just begun, or ended unseen.
        words = process.cmdline()
        return "submitit.local" in " ".join(words) if words else process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False


class LocalQueue:
    """Processes of submitit on this machine, which have no queue: all of them run."""

    name = "processes of this machine"

    def jobs(self, ids: Sequence[str]) -> dict[str, QueuedJob]:
        """Those that are alive, by the numbers of the processes that watch over them."""
        return {job: QueuedJob("RUNNING", node="this machine") for job in ids if _is_watcher(job)}

    def ending(self, job: str) -> str:
        """Nobody keeps that."""
        return ""

    def cancelling(self, ids: Sequence[str]) -> str:
        """`kill`; submitit hands the signal on to the run."""
        return f"kill {' '.join(ids)}"


def read_squeue(printed: str) -> dict[str, QueuedJob]:
    """Read lines of `squeue --noheader --array --format=%i|%T|%r|%N|%j`.

    Returns:
        Id, such as `17` or `17_3` -> the job.
    """
    found: dict[str, QueuedJob] = {}
    for line in printed.splitlines():
        parts = line.strip().split("|", 4)
        if len(parts) == 5:
            job, state, reason, node, name = (part.strip() for part in parts)
            found[job] = QueuedJob(state, "" if reason == "None" else reason, name, node)
    return found


def how_it_ended(job: str, queued: QueuedJob | None, accounted: str) -> str:
    """A sentence about a job that ended without a result.

    Args:
        job: its id.
        queued: what the queue said last, if it still knew it.
        accounted: its state in the accounting; empty if there is none.
    """
    state = queued.state if queued is not None and queued.ended else accounted
    if not state:
        return f"job {job} is no longer in the queue and left no result: it was cancelled, or its node was lost"
    reason = f" ({queued.reason})" if queued is not None and queued.reason else ""
    remedy = REMEDIES.get(state.split()[0], "")
    return f"job {job} ended as {state}{reason} without a result" + (f"; {remedy}" if remedy else "")


def packed(ids: Sequence[str]) -> list[str]:
    """Ids of jobs in few words, as `scancel` takes them: 17_0 17_1 17_2 19 -> '17_[0-2]' 19."""
    alone = [job for job in ids if "_" not in job]
    elements = sorted((int(array), int(index)) for array, index in (job.split("_") for job in ids if "_" in job))
    words = []
    for array, members in groupby(elements, key=lambda element: element[0]):
        spans = _spans([index for _, index in members])
        single = len(spans) == 1 and "-" not in spans[0]
        # Quoted, since a shell takes brackets for a pattern of file names.
        words.append(f"{array}_{spans[0]}" if single else f"'{array}_[{','.join(spans)}]'")
    return [*words, *alone]


def _spans(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers as spans: 0, 1, 2, 5 -> `0-2`, `5`."""
    spans = []
    for _, group in groupby(enumerate(numbers), key=lambda one: one[1] - one[0]):
        members = [number for _, number in group]
        spans.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else str(members[0]))
    return spans


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
