"""What a job of a cluster calls: a run, which the next start of the job goes on with when the time limit is near."""

import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.errors import UserError
from fer_ablate.execution.job import JobResult, do_job
from fer_ablate.tracking.disk.files import changed_at
from fer_ablate.tracking.disk.run_folder import RunFolder

IDLE_STARTS = 3
"""Starts in a row that may end without a new epoch before a run gives up."""


@dataclass
class SubmittedRun:
    """What a job calls; submitit pickles it.

    Args:
        spec: what to train.
        cwd: folder that relative paths start from.
        header_at: time of the run's header when the job was submitted, None if it had none; a later one is of the job itself.
        idle: starts in a row until now that ended without a new epoch.
    """

    spec: RunSpec
    cwd: Path
    header_at: int | None = None
    idle: int = 0
    begun_with: int = field(default=0, init=False)

    def __call__(self) -> JobResult:
        """Do the run, or go on with it where an earlier start of this job left it."""
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":
            _leave_terminal()
        os.chdir(self.cwd)
        folder = RunFolder(Path(self.spec.folder))
        spec = self.spec
        if spec.config.force and changed_at(folder.header_file) != self.header_at:
            # An earlier start of this job has cleared the folder; to clear it again would lose its epochs.
            spec = replace(spec, config=replace(spec.config, force=False))
        self.begun_with = 0 if spec.config.force else epochs_of(folder)
        return do_job(spec, own_process=True)

    def checkpoint(self) -> Any:
        """What submitit queues again when the time limit is near: this, for the epochs are on disk.

        Raises:
            UserError: several starts have brought no epoch.
        """
        from submitit.helpers import DelayedSubmission

        idle = 0 if epochs_of(RunFolder(Path(self.spec.folder))) > self.begun_with else self.idle + 1
        if idle >= IDLE_STARTS:
            raise UserError(
                f"{idle} starts in a row were stopped before they had trained an epoch. Give the jobs more time: "
                "hydra.launcher.timeout_min=..."
            )
        return DelayedSubmission(replace(self, idle=idle))


def epochs_of(folder: RunFolder) -> int:
    """Epochs that a run has trained, as far as they can be read."""
    try:
        return len(folder.history)
    except (UserError, OSError):
        return 0


def _leave_terminal() -> None:
    """Let Ctrl-C in the terminal of the command not reach this process, and `kill` interrupt its run."""
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
