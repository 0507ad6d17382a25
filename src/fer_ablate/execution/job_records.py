"""Jobs of a cluster as they are kept on disk, so that a later command finds those that an earlier one has submitted."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import read_json, write_json


@dataclass(frozen=True)
class JobRecord:
    """A job as it is kept on disk.

    Args:
        cluster: `slurm` or `local`.
        job: its id.
        name: of the job in the queue.
        folder: submitit's, with `%j` for the id.
    """

    cluster: str
    job: str
    name: str
    folder: str

    def result(self) -> tuple[str, Any] | None:
        """What the job returned: `success` and a `JobResult`, or `error` and a traceback; None as long as it has not."""
        from submitit.core.utils import pickle_load

        if not self.returned:
            return None
        try:
            outcome: tuple[str, Any] = pickle_load(self._paths.result_pickle)
        except Exception:  # half of it is here yet, or never will be: then the queue says that the job has ended
            return None
        return outcome

    @property
    def returned(self) -> bool:
        """Whether the job has left a result."""
        return bool(self._paths.result_pickle.is_file())

    @property
    def log(self) -> Path:
        """What the job printed before and after its run, which has a log of its own."""
        return Path(self._paths.stderr)

    def refresh(self) -> None:
        """Let a network file system look at the folder anew, as submitit does."""
        with suppress(OSError):
            folder = self._paths.folder
            folder.chmod(folder.stat().st_mode)

    @property
    def _paths(self) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self.folder, self.job, 0)


class JobRecords:
    """A file for each job that may still be queued or running, under the key of its run: studies that share a run find its job.

    Args:
        folder: of these files.
        cluster: whose jobs are meant.
    """

    def __init__(self, folder: Path, cluster: str) -> None:
        self._folder, self._cluster = folder, cluster

    def read(self, key: str) -> JobRecord | None:
        """The job of the run with this key; None if it has none."""
        file = self._file(key)
        if not file.is_file():
            return None
        try:
            record: JobRecord = read_json(file, lambda stored: JobRecord(**stored))
        except UserError:  # of another version; the lock of the run still keeps two jobs from training it at once
            return None
        return record if record.cluster == self._cluster else None

    def write(self, key: str, record: JobRecord) -> None:
        """Keep a job.

        Raises:
            UserError: the file cannot be written.
        """
        write_json(self._file(key), asdict(record))

    def forget(self, key: str) -> None:
        """Remove the record of a job that has ended."""
        with suppress(OSError):
            self._file(key).unlink(missing_ok=True)

    def forget_returned(self, awaited: Collection[str]) -> None:
        """Remove the records of jobs that have returned while no command waited for them, except those of the awaited keys."""
        for file in self._folder.glob("*.json"):
            record = self.read(file.stem)
            if file.stem not in awaited and record is not None and record.returned:
                self.forget(file.stem)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"
