"""A study in MLflow: a run of its own, below it one for every row, below these the runs of the seeds.

`open_study` makes the run of the study, or finds it again, before anything is trained; new runs are shown below it meanwhile.
`close_study` makes the rows, which begin when their first run did, puts every run below its row, and sends the settings, the
scores, the published numbers, the table and the plots. Both can be repeated at any time, by several processes.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from fer_ablate.addresses import bare, comparison_page, home_page, run_page
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState, mlflow_status
from fer_ablate.tracking.mlflow.connection import open_store, reason
from fer_ablate.tracking.mlflow.moved import follow_runs
from fer_ablate.tracking.mlflow.nested_runs import NestedRuns
from fer_ablate.tracking.mlflow.params import ATTEMPT, PARAM_LENGTH, RUN_NAME_LENGTH, distinct_names, shorten
from fer_ablate.tracking.mlflow.study_ids import StudyIds, StudyIdsFile, digest_of

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fer_ablate.tracking.mlflow.store import Store

ROW = "row"
"""Tag `kind` of the row of a study."""

DESCRIPTION_LENGTH = 4800
"""Characters of a description of a study; leaves room for the marks around it."""

ITSELF = ""
"""Label of what belongs to the study as a whole and not to a row, such as the trials of a search."""


@dataclass(frozen=True)
class ParentRuns:
    """The MLflow runs that the runs of a study are shown below.

    Args:
        uri: URI of the store.
        parent_id: run of the study.
        row_ids: label -> run of the row; of a row that has none yet, run of the study.
    """

    uri: str
    parent_id: str
    row_ids: dict[str, str]


@dataclass(frozen=True)
class RowDetails:
    """What MLflow shows of a row beside its scores.

    Args:
        parameters: names and values within MLflow's limits; those first in which rows differ.
        tags: such as verdicts.
        started, ended: of its runs together, Unix time in milliseconds; None if that is not known.
        of_runs: key of a run -> metrics such as its gap to a published number; these runs get the tags too.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    started: int | None = None
    ended: int | None = None
    of_runs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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
        details: label -> parameters, tags and times of the row.
        description: the judged table in Markdown.
    """

    rows: Mapping[str, Mapping[str, float]]
    runs: Mapping[str, Sequence[RunFolder]]
    artifacts: Sequence[Path] = ()
    state: RunState = RunState.finished
    tags: Mapping[str, str] = field(default_factory=dict)
    failed: Sequence[str] = ()
    details: Mapping[str, RowDetails] = field(default_factory=dict)
    description: str = ""

    def details_of(self, label: str) -> RowDetails:
        """The details of a row; blank if there are none."""
        return self.details.get(label, RowDetails())


def open_study(
    tracking: TrackingConfig, runs_dir: Path, study: str, labels: Sequence[str], tags: Mapping[str, str]
) -> tuple[ParentRuns | None, str]:
    """Make the run of a study, or find it again, and show it and its rows as running.

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
            _make_study(store, file, ids, {**tracking.tags, **tags})
            present = store.rows_below(ids.parent) if labels else {}
            # A row is made when its first run has ended: MLflow keeps the time at which a run was made as its start.
            rows = {label: ids.rows[label] if ids.rows.get(label) in present else ids.parent for label in labels}
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
        follow_runs(tracking.uri, runs_dir)
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


def comparison_address(tracking: TrackingConfig, runs_dir: Path, study: str, labels: Sequence[str]) -> str:
    """Address of the page on which MLflow compares the rows of a study; empty if it shows none of them.

    Args:
        tracking: enabled; store and experiment.
        runs_dir: where ids are remembered.
        study: its name.
        labels: labels of the rows, in the order of the columns.

    Raises:
        UserError: the file with the ids cannot be read.
    """
    ids = StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri).read()
    rows = [ids.rows[label] for label in dict.fromkeys(labels) if label in ids.rows]
    return f"{home_page(tracking.uri)}/{comparison_page(rows, ids.experiment_id)}" if rows and ids.experiment_id else ""


def study_address(tracking: TrackingConfig, runs_dir: Path, study: str) -> str:
    """Address of the page of a study as a whole; empty if MLflow does not show it. Arguments as above."""
    ids = StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri).read()
    return f"{home_page(tracking.uri)}/{run_page(ids.parent, ids.experiment_id)}" if ids.parent and ids.experiment_id else ""


def _is_sent(ids: StudyIds, digest: str) -> bool:
    return ids.digest == digest and not ids.running


def _make_study(store: "Store", file: StudyIdsFile, ids: StudyIds, tags: Mapping[str, str], started: int | None = None) -> None:
    """Make the run of the study, or find it again; its id is written at once, for a kill may come."""
    known = ids.parent
    if not known and ids.attempt:
        known = store.run_of_attempt(ids.attempt)  # made by a process that was killed before it wrote down the id
    if not ids.attempt:
        ids.attempt = uuid.uuid4().hex
        file.write(ids)
    shown = {"kind": "study", "study": file.study, ATTEMPT: ids.attempt, **tags}
    parent = store.group(known, file.study, shown, started=started)
    if parent != ids.parent:
        # A new run has nothing of what was sent to the one before it.
        ids.parent, ids.digest, ids.sent = parent, "", {}
    ids.experiment_id = store.experiment_id
    file.write(ids)


def _make_rows(
    store: "Store", file: StudyIdsFile, ids: StudyIds, labels: Sequence[str], summary: StudySummary, below: Sequence["Run"]
) -> list[str]:
    """Make those of the labelled rows that have something to show, or find them `below` the study; returns their labels."""
    unfinished = _unfinished_by_label(labels, below)
    # A process may have been killed between making a row and writing down its id.
    for label in labels:
        if label not in ids.rows and (made := _row_below(label, below)):
            ids.rows[label] = made
    present = {run.info.run_id: run.data.params for run in below if run.data.tags.get("kind") == ROW}
    begun = [label for label in labels if _has_begun(label, summary) or label in unfinished or ids.rows.get(label, "") in present]
    for label in begun:
        details, row = summary.details_of(label), ids.rows.get(label, "")
        if row in present:
            if all(shorten(details.parameters.get(name, value), PARAM_LENGTH) == value for name, value in present[row].items()):
                continue
            # Its earlier runs stay below it, the present ones move to the new row.
            store.set_aside(row, label)
            row = ""
        starts = [details.started, *(run.info.start_time for run in unfinished.get(label, ()))]
        started = min((start for start in starts if start), default=None)
        tags = {"kind": ROW, "label": label, "study": file.study}
        made = store.group(row, label, tags, ids.parent, started)
        if made != row:
            ids.rows[label], ids.digest = made, ""
            ids.sent.pop(label, None)
            file.write(ids)
    for label in begun:
        for run in unfinished.get(label, ()):
            store.nest(run.info.run_id, ids.rows[label])
            ids.placed[run.info.run_id] = ids.rows[label]
    return begun


def _row_below(label: str, below: Sequence["Run"]) -> str:
    """The id of the row with this label among the runs below the study; empty if there is none."""
    found = (run for run in below if run.data.tags.get("kind") == ROW and run.data.tags.get("label") == label)
    return next((str(run.info.run_id) for run in found), "")


def _has_begun(label: str, summary: StudySummary) -> bool:
    return bool(summary.rows.get(label) or summary.runs.get(label) or label in summary.failed)


def _unfinished_by_label(labels: Sequence[str], below: Sequence["Run"]) -> dict[str, list["Run"]]:
    """Label -> runs of the row that have no result and are shown directly below the study."""
    names = {shorten(label, RUN_NAME_LENGTH): label for label in labels}
    found: dict[str, list[Run]] = {}
    for run in below:
        if run.info.status != "FINISHED" and "kind" not in run.data.tags and run.info.run_name in names:
            found.setdefault(names[run.info.run_name], []).append(run)
    return found


def _send(store: "Store", file: StudyIdsFile, ids: StudyIds, summary: StudySummary, digest: str) -> list[str]:
    """Send what is new; returns what was wrong with single runs."""
    every = [label for label in dict.fromkeys((*summary.rows, *summary.runs)) if label != ITSELF]
    begun = (start for label in every if (start := summary.details_of(label).started))
    _make_study(store, file, ids, summary.tags, min(begun, default=None))
    # The trials of a search have no rows, and there may be thousands of them.
    below = store.below(ids.parent) if every else []
    labels = _make_rows(store, file, ids, every, summary, below)
    problems = []
    if digest != ids.digest:
        _send_rows(store, ids, summary, labels)
        store.log_files(ids.parent, summary.artifacts, "study")
        if summary.description:
            rows = [ids.rows[label] for label in labels]
            store.describe(ids.parent, file.study, _description(summary, comparison_page(rows, store.experiment_id)))
        own = {run.info.run_id for run in below if "kind" not in run.data.tags}
        problems = _place_runs(NestedRuns(store, file, ids, own), ids, summary)
    states = {ids.rows[label]: _row_state(label, summary) for label in labels}
    ends = {ids.rows[label]: end for label in labels if (end := summary.details_of(label).ended)}
    if len(ends) == len(states) > 0:
        ends[ids.parent] = max(ends.values())
    # Rows without a run are still to come if the study ended well; otherwise they ended with it.
    store.show_as({**states, ids.parent: summary.state}, summary.state is not RunState.finished, ends)
    ids.running = False
    # With problems the study counts as not sent, and the next call tries again.
    ids.digest = "" if problems else digest
    file.write(ids)
    return problems


def _send_rows(store: "Store", ids: StudyIds, summary: StudySummary, labels: Sequence[str]) -> None:
    """Send the rows that changed: metrics to the row as they are called, to the study under the name of the row."""
    names = distinct_names(list(ids.rows))
    digests = {label: _row_digest(summary, label) for label in (*labels, *([ITSELF] if ITSELF in summary.rows else []))}
    changed = {label: digest for label, digest in digests.items() if ids.sent.get(label) != digest}
    for label in changed:
        if label != ITSELF:
            details = summary.details_of(label)
            store.log_summary(ids.rows[label], summary.rows.get(label, {}), details.tags, details.parameters)
    below = {f"{names[label]}/{name}": value for label in changed if label for name, value in summary.rows.get(label, {}).items()}
    store.log_summary(ids.parent, {**below, **(summary.rows[ITSELF] if ITSELF in changed else {})})
    ids.sent |= changed


def _place_runs(nested: NestedRuns, ids: StudyIds, summary: StudySummary) -> list[str]:
    """Show the runs below their rows, with their published numbers; returns what was wrong with single runs."""
    problems = []
    for label, folders in summary.runs.items():
        details = summary.details_of(label)
        for folder in folders:
            try:
                nested.add(folder, ids.parent if label == ITSELF else ids.rows[label], details.of_runs, details.tags)
            except UserError as error:
                problems.append(str(error))
    return problems


def _description(summary: StudySummary, page: str) -> str:
    """The judged table with a link to the comparison, unless so many rows make that too long."""
    linked = f"{summary.description}\n\n[Compare the rows]({page})"
    return linked if len(linked) <= DESCRIPTION_LENGTH else summary.description


def _row_digest(summary: StudySummary, label: str) -> str:
    details = summary.details_of(label)
    return digest_of(summary.rows.get(label, {}), details.tags, details.parameters)


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
    details = {label: asdict(found) for label, found in summary.details.items()}
    shown = (mlflow_status(summary.state), dict(summary.tags), list(summary.failed), details, summary.description)
    return _hash([rows, runs, files, *shown])


def _version_of(folder: RunFolder) -> tuple[str, int, bool]:
    """What changes when the run is trained anew or recorded."""
    header = folder.header_file.stat().st_mtime_ns if folder.header_file.is_file() else 0
    return folder.path.name, header, folder.pending_file.is_file()


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _warning(tracking: TrackingConfig, study: str, error: Exception) -> str:
    why = "another process is bringing this study there" if isinstance(error, Timeout) else reason(error)
    store = bare(tracking.uri)
    return f"MLflow at {store} does not show the study {study} as it is ({why}). The next start of the study brings it."
