"""A study in MLflow: a run of its own, below it one for every row, below these the runs of the seeds.

`open_study` makes or takes up the upper two levels before anything is trained; `close_study` tells them the scores, brings
the table and the plots, and puts every run below its row. Both can be repeated at any time, by several processes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.params import distinct_names
from fer_ablate.tracking.mlflow.study_file import StudyFile, StudyState
from fer_ablate.tracking.mlflow.study_places import Placing

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store

ITSELF = ""
"""Label of what belongs to the study as a whole and not to a row, such as the trials of a search."""

RUNNING, FINISHED, SCHEDULED, FAILED = "RUNNING", "FINISHED", "SCHEDULED", "FAILED"


@dataclass(frozen=True)
class StudyRuns:
    """Runs in MLflow that others are shown below.

    Args:
        uri: of the store.
        parent_id: run of the study.
        row_ids: label -> run of the row.
    """

    uri: str
    parent_id: str
    row_ids: dict[str, str]


@dataclass(frozen=True)
class StudySummary:
    """What MLflow is to show of a study.

    Args:
        rows: label -> metrics such as `test/acc/mean`; under the empty label those of the study itself.
        runs: label -> finished runs; under the empty label those that lie directly below the study.
        artifacts: files such as the table and the plots; to be the same bytes when nothing changed.
        status: FINISHED, FAILED or KILLED.
        tags: of the study.
        failed: labels of rows of which a run failed.
    """

    rows: Mapping[str, Mapping[str, float]]
    runs: Mapping[str, Sequence[RunFolder]]
    artifacts: Sequence[Path] = ()
    status: str = FINISHED
    tags: Mapping[str, str] = field(default_factory=dict)
    failed: Sequence[str] = ()


def open_study(
    tracking: TrackingConfig, runs_dir: Path, study: str, labels: Sequence[str], tags: Mapping[str, str]
) -> tuple[StudyRuns | None, str]:
    """Make the study and its rows known, or take them up again; they are then shown as running.

    Args:
        tracking: store and experiment.
        runs_dir: where ids are remembered.
        study: its name; several may share an experiment.
        labels: of the rows.
        tags: of the study.

    Returns:
        The runs, or None without tracking or without an answer from the store; and in that case why, in words.
    """
    if not tracking.enabled:
        return None, ""
    file = StudyFile(runs_dir, tracking.experiment, study, tracking.uri)
    try:
        with file.lock():
            store = open_store(tracking.uri, tracking.experiment, str(runs_dir), tracking.timeout)
            state = file.read()
            state.running = True
            _make(store, file, state, labels, tags)
            store.show_as({run: RUNNING for run in (state.parent, *(state.rows[label] for label in labels))})
            return StudyRuns(tracking.uri, state.parent, {label: state.rows[label] for label in labels}), ""
    except Exception as error:  # whatever is wrong with MLflow must not keep a study from training
        return None, _warning(tracking, study, error)


def close_study(tracking: TrackingConfig, runs_dir: Path, study: str, summary: StudySummary) -> str:
    """Tell MLflow what became of the study; costs nothing if it knows already.

    A run recorded elsewhere, or never, is brought in as a copy, once. One that still waits for its upload is left to
    `upload_pending`.

    Args:
        tracking: store and experiment.
        runs_dir: where ids are remembered.
        study: as it was opened; opened if it never was.
        summary: what to tell.

    Returns:
        Why MLflow does not have everything; empty if it has.
    """
    if not tracking.enabled:
        return ""
    file = StudyFile(runs_dir, tracking.experiment, study, tracking.uri)
    try:
        digest = _digest(summary)
        if _told(file.read(), digest):
            return ""
        with file.lock():
            state = file.read()
            if _told(state, digest):
                return ""  # by another process meanwhile
            store = open_store(tracking.uri, tracking.experiment, str(runs_dir), tracking.timeout)
            problems = _tell(store, file, state, summary, digest)
    except Exception as error:  # the study is finished; only its picture in MLflow is not
        return _warning(tracking, study, error)
    return "\n".join(["Some runs could not be brought into MLflow:", *problems]) if problems else ""


def _told(state: StudyState, digest: str) -> bool:
    return state.digest == digest and not state.running


def _make(store: "Store", file: StudyFile, state: StudyState, labels: Sequence[str], tags: Mapping[str, str]) -> None:
    """Make or take up the runs of the study and of these rows; each is remembered at once, for the process may be killed."""
    common = {"study": file.study}
    parent = store.group(state.parent, file.study, {"kind": "study", **common, **tags})
    if parent != state.parent:
        state.parent, state.digest, state.sent = parent, "", {}
    file.write(state)
    present = store.groups_below(parent)
    for label in dict.fromkeys(labels):
        row = state.rows.get(label, "")
        if row in present:
            continue
        made = store.group(row, label, {"kind": "row", "label": label, **common}, parent)
        if made != row:
            state.rows[label], state.digest = made, ""
            state.sent.pop(label, None)
            file.write(state)


def _tell(store: "Store", file: StudyFile, state: StudyState, summary: StudySummary, digest: str) -> list[str]:
    """Send what is new; what was wrong with single runs."""
    labels = [label for label in dict.fromkeys((*summary.rows, *summary.runs)) if label != ITSELF]
    _make(store, file, state, labels, summary.tags)
    problems = []
    if digest != state.digest:
        _send_metrics(store, state, summary)
        store.log_files(state.parent, summary.artifacts, "study")
        placing = Placing(store, file, state)
        for label, folders in summary.runs.items():
            for folder in folders:
                try:
                    placing.place(folder, state.parent if label == ITSELF else state.rows[label])
                except UserError as error:
                    problems.append(str(error))
    statuses = {state.rows[label]: _status(label, summary) for label in labels}
    store.show_as({**statuses, state.parent: summary.status})
    state.running = False
    state.digest = "" if problems else digest
    file.write(state)
    return problems


def _send_metrics(store: "Store", state: StudyState, summary: StudySummary) -> None:
    """Metrics of rows that changed: to the row under their own names, to the study below the name of the row."""
    names = distinct_names(list(state.rows))
    changed = {label: _hash(sorted(metrics.items())) for label, metrics in summary.rows.items()}
    changed = {label: digest for label, digest in changed.items() if state.sent.get(label) != digest}
    for label in changed:
        if label != ITSELF:
            store.log_summary(state.rows[label], summary.rows[label])
    below = {f"{names[label]}/{name}": value for label in changed if label for name, value in summary.rows[label].items()}
    store.log_summary(state.parent, {**below, **(summary.rows[ITSELF] if ITSELF in changed else {})})
    state.sent |= changed


def _status(label: str, summary: StudySummary) -> str:
    if label in summary.failed:
        return FAILED
    if summary.runs.get(label):
        return FINISHED
    return SCHEDULED if summary.status == FINISHED else summary.status


def _digest(summary: StudySummary) -> str:
    """Of everything that MLflow would be told, from few and small reads: a study may have a thousand runs."""
    runs = {label: [_trace(folder) for folder in folders] for label, folders in summary.runs.items()}
    files = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in summary.artifacts]
    rows = {label: dict(metrics) for label, metrics in summary.rows.items()}
    return _hash([rows, runs, files, summary.status, dict(summary.tags), list(summary.failed)])


def _trace(folder: RunFolder) -> tuple[str, int, bool]:
    """Changes when the run is trained anew or recorded."""
    header = folder.header_file.stat().st_mtime_ns if folder.header_file.is_file() else 0
    return folder.path.name, header, folder.pending_file.is_file()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _warning(tracking: TrackingConfig, study: str, error: Exception) -> str:
    first = next(iter(str(error).splitlines()), type(error).__name__)
    reason = "another process is bringing this study there" if isinstance(error, Timeout) else first
    return f"MLflow at {tracking.uri} does not show the study {study} as it is ({reason}). The next start of the study brings it."
