"""The ids of a study's runs in MLflow, remembered so that each run is made once and found again after a restart.

Kept in `<runs_dir>/<experiment>/<study>.study.json`, separately for each store.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from fer_ablate.addresses import present_store
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import checked, write_error, write_json
from fer_ablate.tracking.disk.scan import folder_name

LOCK_SECONDS = 60
"""How long to wait for another process that is bringing the same study to MLflow."""


@dataclass(kw_only=True)
class StudyIds:
    """Ids of MLflow runs, and digests of what was sent to them.

    Args:
        parent: run of the study; empty if there is none yet.
        attempt: random; tag of the run of the study, by which it is found if its id could not be written any more.
        rows: label -> run of the row.
        placed: run of a seed -> run of the row that it is shown below.
        copies: `<row run>/<original>` -> copy of a run that could not be moved; the original is an id, or else a key.
        sent: label, or run of a seed -> digest of the numbers, tags and parameters that its MLflow run has.
        digest: digest of the summary that was sent completely.
        running: whether the study is shown as running.
        experiment_id: id of the experiment, which addresses of pages need; empty until the study was first sent.
    """

    parent: str = ""
    rows: dict[str, str] = field(default_factory=dict)
    placed: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    running: bool = False
    experiment_id: str = ""
    attempt: str = ""


class StudyIdsFile:
    """The file with the ids of one study in one store.

    Args:
        runs_dir: folder of all runs.
        experiment: name of the MLflow experiment.
        study: its name; studies whose names differ only in letters that a file name cannot have share a file.
        uri: URI of the store.
    """

    def __init__(self, runs_dir: Path, experiment: str, study: str, uri: str) -> None:
        self.path = runs_dir / folder_name(experiment) / f"{folder_name(study)}.study.json"
        self.study = study
        self.uri = present_store(uri, runs_dir)
        self.runs_dir = runs_dir

    def read(self) -> StudyIds:
        """The stored ids; blank if there are none."""
        return _read(self.path, self.runs_dir).get(self.study, {}).get(self.uri, StudyIds())

    def write(self, ids: StudyIds) -> None:
        """Store these; other studies and stores in the file stay as they are."""
        everything = _read(self.path, self.runs_dir)
        everything.setdefault(self.study, {})[self.uri] = ids
        write_json(
            self.path, {study: {uri: vars(known) for uri, known in stores.items()} for study, stores in everything.items()}
        )

    def lock(self) -> FileLock:
        """Held while runs are made or the file is written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        return FileLock(self.path.with_suffix(".lock"), timeout=LOCK_SECONDS)


def digest_of(*values: Mapping[str, object]) -> str:
    """Digest of what a run was sent, so that nothing is sent twice."""
    content = [sorted(one.items()) for one in values]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def row_run(runs_dir: Path, experiment: str, uri: str, label: str) -> str | None:
    """The run of the row with this label, if exactly one study of the experiment has such a row in this store."""
    found, uri = set(), present_store(uri, runs_dir)
    for path in sorted((runs_dir / folder_name(experiment)).glob("*.study.json")):
        every = _read(path, runs_dir).values()
        found |= {stores[uri].rows[label] for stores in every if uri in stores and label in stores[uri].rows}
    return found.pop() if len(found) == 1 else None


def unsent_studies(runs_dir: Path, uri: str) -> list[str]:
    """Names of the studies that were begun in this store, and whose outcome it does not have."""
    uri = present_store(uri, runs_dir)
    files = (_read(path, runs_dir) for path in sorted(runs_dir.glob("*/*.study.json")))
    return [
        study
        for studies in files
        for study, stores in studies.items()
        if uri in stores and (stores[uri].running or not stores[uri].digest)
    ]


def _read(path: Path, runs_dir: Path) -> dict[str, dict[str, StudyIds]]:
    """Study -> address of the store, as it is now if the runs were moved -> ids."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {
            study: {present_store(uri, runs_dir): checked(StudyIds, ids) for uri, ids in stores.items()}
            for study, stores in stored.items()
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Allow reading it, or use another runs_dir.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        way_out = "Remove it: the study then gets new parent runs in MLflow."
        raise UserError(f"{path} is damaged or of another version ({type(error).__name__}: {error}). {way_out}") from error
