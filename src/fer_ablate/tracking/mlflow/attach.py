"""Brings what was made of a finished run later, such as heat maps, to where MLflow shows the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.connection import open_store

SECONDS = 5
"""A request to a server may take."""


def add_to_run(folder: RunFolder, runs_dir: Path, files: Sequence[Path], place: str, metrics: Mapping[str, float]) -> str:
    """Copy files and numbers to the MLflow run of a folder.

    Args:
        folder: of a finished run.
        runs_dir: artifacts of a store without a server lie below it.
        files: to be copied.
        place: folder within the artifacts of the run.
        metrics: that belong to no epoch.

    Returns:
        Why MLflow does not have them; empty if it has, or was never told of the run.
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
        store.log_summary(header.mlflow_run_id, metrics)
    except Exception as error:  # whatever is wrong with MLflow must not lose what was computed
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return f"{where} failed ({first}). {kept}"
    return ""
