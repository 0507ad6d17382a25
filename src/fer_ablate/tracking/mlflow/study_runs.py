"""A study in MLflow: a run of its own, below it one for every row, below these the runs of the seeds.

`open_study` makes the upper two levels, or finds them again, before anything is trained. `close_study` sends the scores, the
table and the plots, and puts every run below its row. Both can be repeated at any time, by several processes.
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
from fer_ablate.tracking.disk.log import first_line
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState, mlflow_status
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.nested_runs import NestedRuns
from fer_ablate.tracking.mlflow.params import distinct_names
from fer_ablate.tracking.mlflow.study_ids import StudyIds, StudyIdsFile

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store

ITSELF = ""
"""Label of what belongs to the study as a whole and not to a row, such as the trials of a search."""


@dataclass(frozen=True)
class ParentRuns:
    """The MLflow runs that the runs of a study are shown below.

    Args:
        uri: URI of the store.
        parent_id: run of the study.
        row_ids: label -> run of the row.
    """

    uri: str
    parent_id: str
    row_ids: dict[str, str]


@dataclass(frozen=True)
class StudySummary:
    """What MLflow shows of a study.

    Args:
        rows: label -> metrics such as `test/acc/mean`; under the empty label those of the study itself.
        runs: label -> finished runs; under the empty label those that are shown directly below the study.
        artifacts: files such as the table and the plots; the same bytes as long as nothing changes.
        state: finished; failed if a run failed or is missing; missing if the study was interrupted.
        tags: tags of the study.
        failed: labels of rows of which a run failed.
    """

    rows: Mapping[str, Mapping[str, float]]
    runs: Mapping[str, Sequence[RunFolder]]
    artifacts: Sequence[Path] = ()
    state: RunState = RunState.finished
    tags: Mapping[str, str] = field(default_factory=dict)
    failed: Sequence[str] = ()


def open_study(
    tracking: TrackingConfig, runs_dir: Path, study: str, labels: Sequence[str], tags: Mapping[str, str]
) -> tuple[ParentRuns | None, str]:
    """Make the runs of a study and its rows, or find them again, and show them as running.

    Args:
        tracking: store and experiment.
        runs_dir: where ids are remembered.
        study: its name; several may share an experiment.
        labels: labels of the rows.
        tags: tags of the study.

    Returns:
        The runs, None without tracking or if the store does not answer; and in the latter case the reason, in words.
    """
    if not tracking.enabled:
        return None, ""
    file = StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri)
    try:
        with file.lock():
            store = open_store(tracking.uri, tracking.experiment, str(runs_dir), tracking.timeout)
            ids = file.read()
            ids.running = True
            _make_runs(store, file, ids, labels, tags)
            rows = {label: ids.rows[label] for label in labels}
            store.show_as(dict.fromkeys((ids.parent, *rows.values()), RunState.running))
            return ParentRuns(tracking.uri, ids.parent, rows), ""
    except Exception as error:  # whatever is wrong with MLflow must not keep a study from training
        return None, _warning(tracking, study, error)


def close_study(tracking: TrackingConfig, runs_dir: Path, study: str, summary: StudySummary) -> str:
    """Send the outcome of a study to MLflow; costs nothing if it was sent before.

    A run that is recorded elsewhere, or nowhere, is shown as a copy, made once. A run that still waits for its upload is
    left to `upload_pending`.

    Args:
        tracking: store and experiment.
        runs_dir: where ids are remembered.
        study: its name; opened here if it never was.
        summary: summary of the study.

    Returns:
        Why MLflow does not have everything; empty if it has.
    """
    if not tracking.enabled:
        return ""
    file = StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri)
    try:
        digest = _digest(summary)
        # First without the lock and without MLflow, which is slow to import: often nothing is new.
        if _is_sent(file.read(), digest):
            return ""
        with file.lock():
            ids = file.read()
            if _is_sent(ids, digest):
                return ""  # by another process meanwhile
            store = open_store(tracking.uri, tracking.experiment, str(runs_dir), tracking.timeout)
            problems = _send(store, file, ids, summary, digest)
    except Exception as error:  # the study itself has ended well; only MLflow does not show it
        return _warning(tracking, study, error)
    return "\n".join(["Some runs could not be brought into MLflow:", *problems]) if problems else ""


def sent_digest(tracking: TrackingConfig, runs_dir: Path, study: str) -> str:
    """Digest of what a store was sent of a study; empty without tracking, or if it lacks something."""
    if not tracking.enabled:
        return ""
    try:
        ids = StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri).read()
    except UserError:
        return ""  # sending it again says what is wrong
    return "" if ids.running else ids.digest


def _is_sent(ids: StudyIds, digest: str) -> bool:
    return ids.digest == digest and not ids.running


def _make_runs(store: "Store", file: StudyIdsFile, ids: StudyIds, labels: Sequence[str], tags: Mapping[str, str]) -> None:
    """Make the runs of the study and of these rows, or find them again; each id is written at once, for a kill may come."""
    common = {"study": file.study}
    parent = store.group(ids.parent, file.study, {"kind": "study", **common, **tags})
    if parent != ids.parent:
        # A new run has nothing of what was sent to the one before it.
        ids.parent, ids.digest, ids.sent = parent, "", {}
    file.write(ids)
    present = store.groups_below(parent)
    for label in dict.fromkeys(labels):
        row = ids.rows.get(label, "")
        if row in present:
            continue
        made = store.group(row, label, {"kind": "row", "label": label, **common}, parent)
        if made != row:
            ids.rows[label], ids.digest = made, ""
            ids.sent.pop(label, None)
            file.write(ids)


def _send(store: "Store", file: StudyIdsFile, ids: StudyIds, summary: StudySummary, digest: str) -> list[str]:
    """Send what is new; returns what was wrong with single runs."""
    labels = [label for label in dict.fromkeys((*summary.rows, *summary.runs)) if label != ITSELF]
    _make_runs(store, file, ids, labels, summary.tags)
    problems = []
    if digest != ids.digest:
        _send_metrics(store, ids, summary)
        store.log_files(ids.parent, summary.artifacts, "study")
        nested = NestedRuns(store, file, ids)
        for label, folders in summary.runs.items():
            for folder in folders:
                try:
                    nested.add(folder, ids.parent if label == ITSELF else ids.rows[label])
                except UserError as error:
                    problems.append(str(error))
    states = {ids.rows[label]: _row_state(label, summary) for label in labels}
    # Rows without a run are still to come if the study ended well; otherwise they ended with it.
    store.show_as({**states, ids.parent: summary.state}, begun=summary.state is not RunState.finished)
    ids.running = False
    # With problems the study counts as not sent, and the next call tries again.
    ids.digest = "" if problems else digest
    file.write(ids)
    return problems


def _send_metrics(store: "Store", ids: StudyIds, summary: StudySummary) -> None:
    """Send the metrics of rows that changed: to the row as they are called, to the study under the name of the row."""
    names = distinct_names(list(ids.rows))
    changed = {label: _hash(sorted(metrics.items())) for label, metrics in summary.rows.items()}
    changed = {label: digest for label, digest in changed.items() if ids.sent.get(label) != digest}
    for label in changed:
        if label != ITSELF:
            store.log_summary(ids.rows[label], summary.rows[label])
    below = {f"{names[label]}/{name}": value for label in changed if label for name, value in summary.rows[label].items()}
    store.log_summary(ids.parent, {**below, **(summary.rows[ITSELF] if ITSELF in changed else {})})
    ids.sent |= changed


def _row_state(label: str, summary: StudySummary) -> RunState:
    if label in summary.failed:
        return RunState.failed
    if summary.runs.get(label):
        return RunState.finished
    return RunState.missing if summary.state is RunState.finished else summary.state


def _digest(summary: StudySummary) -> str:
    """Digest of everything that MLflow gets, from few and small reads: a study may have a thousand runs."""
    runs = {label: [_version_of(folder) for folder in folders] for label, folders in summary.runs.items()}
    files = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in summary.artifacts]
    rows = {label: dict(metrics) for label, metrics in summary.rows.items()}
    return _hash([rows, runs, files, mlflow_status(summary.state), dict(summary.tags), list(summary.failed)])


def _version_of(folder: RunFolder) -> tuple[str, int, bool]:
    """What changes when the run is trained anew or recorded."""
    header = folder.header_file.stat().st_mtime_ns if folder.header_file.is_file() else 0
    return folder.path.name, header, folder.pending_file.is_file()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _warning(tracking: TrackingConfig, study: str, error: Exception) -> str:
    reason = "another process is bringing this study there" if isinstance(error, Timeout) else first_line(error)
    return f"MLflow at {tracking.uri} does not show the study {study} as it is ({reason}). The next start of the study brings it."
