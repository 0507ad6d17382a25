"""Attaches to MLflow what is made from finished runs: files beside a run, and ensembles, each a run of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fer_ablate.addresses import bare
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.mlflow.connection import open_store, reason
from fer_ablate.tracking.mlflow.study_ids import StudyIdsFile

SECONDS = 5
"""A request to a server may take."""

ENSEMBLE_FOLDER = "ensemble"
"""Folder within the artifacts of an ensemble's run."""


def add_to_run(folder: RunFolder, runs_dir: Path, files: Sequence[Path], place: str, metrics: Mapping[str, float]) -> str:
    """Copy files and numbers to the MLflow run of a folder.

    Args:
        folder: folder of a finished run.
        runs_dir: a store without a server keeps its artifacts below it.
        files: to be copied.
        place: folder within the artifacts of the run.
        metrics: metrics that belong to no epoch.

    Returns:
        Why MLflow does not have them; empty if it has, or if the run was never recorded there.
    """
    header = folder.header
    if not header.mlflow_run_id or not header.mlflow_uri:
        return ""
    where = f"MLflow at {header.mlflow_uri}"
    kept = f"Everything is kept in {folder.path}; the same command brings it later."
    try:
        store = open_store(header.mlflow_uri, header.experiment, str(runs_dir), SECONDS)
        if store.active(header.mlflow_run_id) is None:
            return f"{where} does not have this run any more. {kept}"
        store.log_files(header.mlflow_run_id, files, place)
        if metrics:
            store.log_summary(header.mlflow_run_id, metrics)
    except Exception as error:  # whatever is wrong with MLflow must not lose what was computed
        return f"{where} failed ({reason(error)}). {kept}"
    return ""


def begin_additions(folder: RunFolder) -> bool:
    """Let a run wait for an upload while files are made that MLflow gets as well: a kill meanwhile then does not keep them back.

    Args:
        folder: folder of a finished run.

    Returns:
        Whether `end_additions` is to send them; otherwise the upload that the run waits for anyway takes them along, or it was
        never recorded in MLflow.

    Raises:
        UserError: the folder cannot be written, or its header is damaged.
    """
    header = folder.header
    if folder.pending_file.is_file() or not header.mlflow_run_id:
        return False
    write_text(folder.pending_file, bare(header.mlflow_uri or ""))
    return True


def end_additions(folder: RunFolder, runs_dir: Path, files: Mapping[str, Sequence[Path]]) -> str:
    """Copy the files to the MLflow run of a folder, which then waits for no upload any more.

    Args:
        folder: folder of a finished run.
        runs_dir: a store without a server keeps its artifacts below it.
        files: folder within the artifacts of the run -> files.

    Returns:
        Why MLflow does not have them; empty if it has.
    """
    for place, some in files.items():
        if problem := add_to_run(folder, runs_dir, some, place, {}):
            return problem
    folder.pending_file.unlink(missing_ok=True)
    return ""


@dataclass(frozen=True)
class EnsembleRecord:
    """What a store has of an ensemble.

    Args:
        run: id of the ensemble's run; empty if there is none yet.
        sent: digest of the summary that was sent completely; empty if none was.
    """

    run: str = ""
    sent: str = ""


@dataclass(frozen=True)
class EnsembleSummary:
    """What MLflow shows of an ensemble.

    Args:
        name: name of the run.
        tags: tags of the run.
        metrics: `val/acc`, `test/acc`, ...
        files: to be copied.
        digest: digest of all this, so that nothing is sent twice.
    """

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    files: Sequence[Path]
    digest: str


def record_ensemble(
    tracking: TrackingConfig, runs_dir: Path, study: str, known: EnsembleRecord, summary: EnsembleSummary
) -> tuple[EnsembleRecord, str]:
    """Send an ensemble to its run, which is made if it is missing; what the store has already is not sent again.

    Args:
        tracking: enabled; store and experiment.
        runs_dir: where the ids of studies are remembered.
        study: the ensemble is shown below its run, if this store has one.
        known: returned by the last call.
        summary: summary of the ensemble.

    Returns:
        The record to remember; and why MLflow does not have everything, empty if it has.
    """
    try:
        store = open_store(tracking.uri, tracking.experiment, str(runs_dir), tracking.timeout)
        parent = StudyIdsFile(runs_dir, tracking.experiment, study, tracking.uri).read().parent
        above = parent if store.active(parent) is not None else None
        run = store.group(known.run, summary.name, {"kind": "ensemble", "study": study, **summary.tags}, above)
        # A new run has nothing yet, whatever was sent to an earlier one.
        known = known if run == known.run else EnsembleRecord(run)
        if known.sent != summary.digest:
            store.log_summary(run, summary.metrics)
            store.log_files(run, summary.files, ENSEMBLE_FOLDER)
            known = replace(known, sent=summary.digest)
        store.show_as({run: RunState.finished})
    except Exception as error:  # whatever is wrong with MLflow must not lose what was computed
        return (
            known,
            f"MLflow at {bare(tracking.uri)} failed ({reason(error)}). Everything is kept; the same command brings it later.",
        )
    return known, ""
