"""All runs below a folder, from their small files alone; a thousand take a fraction of a second."""

import os
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader


@dataclass(frozen=True)
class RunRecord:
    """A run that was started at some time.

    Args:
        folder: of the run; `folder.result` reads its scores.
        header: of the run.
        finished: whether there is a result.
        failed: whether the last attempt ended with an error; `folder.failure` tells which.
    """

    folder: RunFolder
    header: RunHeader
    finished: bool
    failed: bool


@dataclass(frozen=True)
class Scan:
    """What lies below a runs folder.

    Args:
        records: runs, sorted by path.
        damaged: what is wrong with each run that cannot be read; one such run must not hide the others.
    """

    records: list[RunRecord]
    damaged: list[str]


def scan(runs_dir: Path) -> Scan:
    """All runs `<runs_dir>/<experiment>/<run>/`; none if the folder is not there. Never raises."""
    records: list[RunRecord] = []
    damaged: list[str] = []
    for experiment in _folders(runs_dir, damaged):
        for path in _folders(experiment, damaged):
            names = _names(path, damaged)
            if "run.json" not in names:
                continue
            folder = RunFolder(path)
            finished = folder.result_file.name in names
            try:
                records.append(RunRecord(folder, folder.header, finished, not finished and folder.failure_file.name in names))
            except UserError as error:
                damaged.append(str(error))
    return Scan(records, damaged)


def _folders(path: Path, damaged: list[str]) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(path / entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []  # no runs yet, or removed meanwhile
    except OSError as error:
        damaged.append(f"Cannot read {path}: {error.strerror}.")
        return []


def _names(path: Path, damaged: list[str]) -> set[str]:
    try:
        return set(os.listdir(path))
    except FileNotFoundError:
        return set()
    except OSError as error:
        damaged.append(f"Cannot read {path}: {error.strerror}.")
        return set()
