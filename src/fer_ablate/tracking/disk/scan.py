"""The folder of all runs: where each thing below it has its place, and which runs are there.

Runs are found from their small files alone, and those of a large folder from an index of these (`index`).
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.config.key import short
from fer_ablate.config.schema import Config
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.index import RunBrief, RunIndex
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.disk.run_state import RunState

NAME_LENGTH = 60
"""Most characters of a run's name in its folder's name."""

PATH_MARK = "-path-to-"
"""Part of the name of a path through a study, between those of the study and of the row."""

SETTING = re.compile(r"[+~]*[\w./@]+=")
"""Beginning of a setting in a name."""


def run_path(runs_dir: Path, experiment: str, name: str, seed: int, key: str) -> Path:
    """Folder of a new run: `<runs_dir>/<experiment>/<name>-s<seed>-<key>`; for that of any run see `RunFolders`."""
    return runs_dir / folder_name(experiment) / f"{cut_name(name)}-s{seed}-{short(key)}"


def study_path(runs_dir: Path, experiment: str, study: str) -> Path:
    """Folder of a study's table and plots: beside its runs."""
    name = folder_name(study)
    if len(name.encode()) > 200:  # the name of a path through a study has the label of a row
        name = f"{cut_name(study)}-{short(hashlib.sha256(study.encode()).hexdigest())}"
    return runs_dir / folder_name(experiment) / (f"{name}-table" if study != experiment else "table")


def ensemble_path(runs_dir: Path, experiment: str, name: str, digest: str) -> Path:
    """Folder of an ensemble of an experiment's runs: one level deeper than runs, so that it is not taken for one."""
    return runs_dir / folder_name(experiment) / "ensembles" / f"{cut_name(name)}-{short(digest)}"


def folder_name(text: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^\w=.+-]+", "_", text)


def cut_name(name: str) -> str:
    """A name of any length as a part of a path of at most `NAME_LENGTH` characters.

    It is cut between settings, since `batch_size=3` would be taken for the whole value; the settings that are left out are
    counted. A single setting that is too long loses its value, and other text is cut between words.

    >>> cut_name("less lr=0.1")
    'less_lr=0.1'
    """
    whole = folder_name(name).strip("_.")
    if len(whole) <= NAME_LENGTH:
        return whole
    parts = [folder_name(part).strip("_.") for part in _settings(name)]
    for kept in range(len(parts) - 1, 0, -1):
        cut = "_".join([*parts[:kept], f"and_{len(parts) - kept}_more"])
        if len(cut) <= NAME_LENGTH:
            return cut
    more = f"_and_{len(parts) - 1}_more" if len(parts) > 1 else ""
    text, room = parts[0].partition("=")[0], NAME_LENGTH - len(more)
    if len(text) > room:
        # At the end of a word, since the words of a label hold numbers as well.
        text = text[: room + 1].rpartition("_")[0] or text[:room]
    return text.strip("_.") + more


def _settings(name: str) -> list[str]:
    """The text before the first setting of a name, and its settings, which begin with `key=` outside of brackets and quotes."""
    parts: list[str] = []
    for word in name.split():
        value = parts[-1].partition("=")[2] if parts else ""
        inside = sum(value.count(one) for one in "[{(") > sum(value.count(one) for one in "]})")
        quoted = any(value.count(quote) % 2 for quote in "'\"")
        if not parts or (SETTING.match(word) and not inside and not quoted):
            parts.append(word)
        else:
            parts[-1] += f" {word}"
    return parts


class RunFolders:
    """Finds the folder of a run by its key, from one scan of the disk.

    The name and the experiment of a run are not part of its key: a run that was trained under another label has its folder
    there, and must not be trained again under this one.

    Args:
        existing: key as shown -> folder.
    """

    def __init__(self, existing: Mapping[str, Path]) -> None:
        self._paths = dict(existing)

    def of(self, config: Config, name: str, key: str) -> RunFolder:
        """The folder of a run, existing or to be made.

        Args:
            config: config of the run.
            name: name of the run.
            key: key of the run.
        """
        # A folder that is yet to be made is remembered as well: a later trial of a search may be the same run.
        path = run_path(Path(config.runs_dir), config.tracking.experiment, name, config.seed, key)
        return RunFolder(self._paths.setdefault(short(key), path))


@dataclass(frozen=True)
class RunRecord:
    """A run that was started at some time.

    Args:
        folder: folder of the run; `folder.result` reads its scores.
        brief: what the run is found by.
        state: at the time of the scan.
    """

    folder: RunFolder
    brief: RunBrief
    state: RunState

    @property
    def header(self) -> RunHeader:
        """The whole header, read anew; `UserError` if it was damaged meanwhile."""
        return self.folder.header

    @property
    def finished(self) -> bool:
        """Whether there is a result; `folder.result` reads it."""
        return self.state is RunState.finished


@dataclass(frozen=True)
class Scan:
    """The runs below a runs folder.

    Args:
        records: runs, sorted by path.
        damaged: what is wrong with each run that cannot be read; one such run must not hide the others.
        folders: folders of all runs, those without a header included.
    """

    records: list[RunRecord]
    damaged: list[str]
    folders: RunFolders


def scan(runs_dir: Path) -> Scan:
    """All runs `<runs_dir>/<experiment>/<run>/`; none if the folder does not exist. Never raises."""
    records: list[RunRecord] = []
    damaged: list[str] = []
    paths: dict[str, Path] = {}
    index = RunIndex(runs_dir)
    for experiment in _folders(runs_dir, damaged):
        for path in _folders(experiment, damaged):
            # By name, since a run that was killed early or is damaged has no header to read.
            paths.setdefault(path.name.rpartition("-")[2], path)
            folder = RunFolder(path)
            # Listed, so that a folder that cannot be read is reported as damaged.
            names = _names(path, damaged)
            if folder.header_file.name not in names:
                continue
            finished = folder.result_file.name in names
            try:
                records.append(RunRecord(folder, index.brief(folder, finished), RunState.finished if finished else folder.state))
            except UserError as error:
                damaged.append(str(error))
    index.save()
    # The folder of a run with the rules of an earlier version is called after the key that it had then.
    by_header = {short(key): record.folder.path for key, record in by_key(records).items()}
    return Scan(records, damaged, RunFolders({**paths, **by_header}))


def by_key(records: Iterable[RunRecord]) -> dict[str, RunRecord]:
    """Key -> run; of several with one key, which studies started at the same time can have trained, the one that is furthest."""
    return {record.brief.key: record for record in sorted(records, key=_progress)}


def _progress(record: RunRecord) -> tuple[bool, bool]:
    return record.finished, record.state is RunState.running


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
