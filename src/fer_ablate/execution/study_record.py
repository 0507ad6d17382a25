"""What the output of a study was made from, kept beside it in `.digest`, so that nothing is judged, drawn or sent twice."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import fer_ablate
from fer_ablate.errors import UserError
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.files import PARTIAL, read_dataclass, write_json
from fer_ablate.tracking.disk.log import LOG
from fer_ablate.tracking.disk.row_labels import FILE as LABELS
from fer_ablate.tracking.disk.row_labels import LabelledRun, keep_labels
from fer_ablate.tracking.disk.run_folder import LOCK, OWNER
from fer_ablate.tracking.disk.scan import study_path
from fer_ablate.tracking.mlflow.study_runs import sent_digest

RECORD = ".digest"

MAKERS = ("judgement", "report", "study", "execution/study_output.py", "execution/mlflow_summary.py", "tracking/mlflow")
"""Code of this package that judges, draws and sends."""

LIBRARIES = ("matplotlib", "numpy", "scipy", "pandas", "jinja2", "statsmodels")
"""Libraries that show in tables and figures."""

UNSEEN = frozenset({"checkpoints", LOCK, OWNER, "progress.json", LOG, RECORD, LABELS})
"""Files of runs and studies that nothing is made from, and that change by themselves."""

Files = dict[str, list[int]]
"""Name of a file -> its size, and the time of its last change in nanoseconds."""


@dataclass(frozen=True)
class OutputRecord:
    """The output of a study as it was left.

    Args:
        table: digest of the table that the files show; empty if some of them are missing.
        files: the files.
        study: digest of the whole study when all of it was shown, written and sent, see `study_digest`; empty if it was not.
        sent: digest of what MLflow has; empty without MLflow.
    """

    table: str = ""
    files: Files | None = None
    study: str = ""
    sent: str = ""

    def fits(self, folder: Path) -> bool:
        """Whether the files are still those that were left."""
        return self.files == listing(folder)


def read_record(folder: Path) -> OutputRecord:
    """The record in the folder of a study; empty if there is none, or only that of an earlier version."""
    try:
        return read_dataclass(folder / RECORD, OutputRecord)
    except UserError:
        return OutputRecord()


def write_record(folder: Path, record: OutputRecord) -> None:
    """Keep a record."""
    write_json(folder / RECORD, asdict(record))


def is_current(plan: Plan) -> bool:
    """Whether the last output of a study is all there, and nothing that it was made from has changed since."""
    folder = study_folder(plan)
    record = read_record(folder)
    return bool(record.study) and record.study == study_digest(plan) and record.fits(folder) and record.sent == _sent(plan)


def record_study(plan: Plan, digest: str) -> None:
    """Record that the whole output of a study is made and sent.

    Args:
        plan: of the study.
        digest: result of `study_digest` before anything was read for the output.
    """
    folder = study_folder(plan)
    write_record(folder, replace(read_record(folder), study=digest, sent=_sent(plan)))


def study_folder(plan: Plan) -> Path:
    """The folder of a study's table and plots."""
    config = plan.runs[0].cell.config
    return study_path(Path(config.runs_dir), config.tracking.experiment, plan.spec.name)


def record_labels(plan: Plan) -> None:
    """Record by which labels the runs of a study are found, those that it shares with other rows and studies included."""
    runs = []
    for cell in (planned.cell for planned in plan.runs):
        experiment = cell.config.tracking.experiment
        runs.append(LabelledRun(experiment, plan.spec.name, cell.row.label, cell.repeat.seed, cell.repeat.fold, cell.key))
    # A study in a folder that can only be read is shown all the same.
    with suppress(UserError):
        keep_labels(study_folder(plan), runs)


def _sent(plan: Plan) -> str:
    config = plan.runs[0].cell.config
    return sent_digest(config.tracking, Path(config.runs_dir), plan.spec.name)


def study_digest(plan: Plan) -> str:
    """Digest of all that the output of a study depends on: its spec, the files of its runs, and the code that shows them."""
    runs = []
    for planned in plan.runs:
        folders = [planned.folder.path, *([planned.stale.folder.path] if planned.stale is not None else [])]
        cell = planned.cell
        runs.append([cell.row.label, cell.key, planned.state.value, cell.changed, [listing(folder) for folder in folders]])
    tracking = plan.runs[0].cell.config.tracking
    content = [repr(plan.spec), runs, list(plan.damaged), repr(replace(tracking, parent=None)), makers_digest()]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


@cache
def makers_digest() -> str:
    """Digest of the code that judges, draws and sends, and of the versions of the libraries that it does so with."""
    package = Path(fer_ablate.__file__).parent
    digest = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    for maker in MAKERS:
        path = package / maker
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def listing(folder: Path) -> Files:
    """The files of a folder and the folders in it; empty if there is none."""
    return dict(sorted(_files(str(folder), "")))


def _files(folder: str, prefix: str) -> Iterator[tuple[str, list[int]]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        # A partial file is being written, and takes its name when it is whole.
        if entry.name in UNSEEN or entry.name.endswith(PARTIAL):
            continue
        # A link may lead back into its own folder.
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{prefix}{entry.name}/")
            continue
        try:
            state = entry.stat()
        except OSError:
            continue  # removed meanwhile
        yield f"{prefix}{entry.name}", [state.st_size, state.st_mtime_ns]
