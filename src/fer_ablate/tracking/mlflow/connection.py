"""The way to MLflow: checks its config, prepares its environment, imports it only when it is needed."""

import importlib
import os
from typing import TYPE_CHECKING, cast

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import Fault

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
"""Kinds of stores MLflow 3.17 writes to; its older store of plain files is refused by MLflow itself."""


def check(config: TrackingConfig) -> list[Fault]:
    """What is wrong with a tracking config, before anything is trained."""
    if not config.enabled:
        wanted = {"log_model": config.log_model, "register": config.register}
        remedy = "Leave tracking=none out, or log no model."
        return [Fault(f"tracking.{key}", f"{value} needs MLflow.", remedy) for key, value in wanted.items() if value]
    faults = []
    scheme, colon, _ = config.uri.partition(":")
    if scheme.partition("+")[0] not in SCHEMES or not colon:
        remedy = "Give tracking.uri (or MLFLOW_TRACKING_URI) as sqlite:///runs/mlflow.db or http://..., or tracking=none."
        faults.append(Fault("tracking.uri", f"{config.uri!r} is no address of an MLflow store", remedy))
    if not config.experiment.strip():
        faults.append(Fault("tracking.experiment", "the name is empty", "Give tracking.experiment=..."))
    if config.timeout < 1:
        faults.append(Fault("tracking.timeout", f"{config.timeout} is below 1 second", "Give tracking.timeout=5."))
    return faults


def open_store(uri: str, experiment: str, runs_dir: str, timeout: int) -> "Store":
    """Import MLflow and open (or create) an experiment of a store.

    Args:
        uri: MLflow tracking URI.
        experiment: its name.
        runs_dir: artifacts of a store without a server lie below it.
        timeout: seconds a request to a server may take.
    """
    # MLflow reads these when it is imported or at each request. Its own defaults wait four minutes for a dead server.
    defaults = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # The import of mlflow takes one to two seconds, so it happens here: in the recorder's thread, beside the first epoch.
    module = importlib.import_module("fer_ablate.tracking.mlflow.store")
    return cast("Store", module.Store(uri, experiment, runs_dir))
