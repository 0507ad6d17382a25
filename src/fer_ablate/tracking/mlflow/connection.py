"""Checks the MLflow settings, and imports and connects on first use."""

import importlib
import os
from typing import TYPE_CHECKING, cast

from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import Fault

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store


def tracking_faults(config: TrackingConfig) -> list[Fault]:
    """Faults of the tracking settings, found before anything is trained."""
    if not config.enabled:
        models = {"log_model": config.log_model, "register": config.register}
        remedy = "Leave tracking=none out, or log no model."
        return [Fault(f"tracking.{key}", f"{value} needs MLflow.", remedy) for key, value in models.items() if value]
    return bound_faults(config, "tracking")


def open_store(uri: str, experiment: str, runs_dir: str, timeout: int) -> "Store":
    """Import MLflow and open (or create) an experiment of a store.

    Args:
        uri: MLflow tracking URI; its credentials may be left to the environment, see `addresses.usable`.
        experiment: its name.
        runs_dir: a store without a server keeps its artifacts below it.
        timeout: seconds a request to a server may take.
    """
    prepare_environment(timeout)
    # The import of mlflow takes one to two seconds, so it happens here: in the recorder's thread, beside the first epoch.
    module = importlib.import_module("fer_ablate.tracking.mlflow.store")
    return cast("Store", module.Store(uri, experiment, runs_dir))


def prepare_environment(timeout: int) -> None:
    """Set the variables that MLflow reads when it is imported or at each request, as far as nobody has set them.

    Args:
        timeout: seconds a request to a server may take.
    """
    # MLflow's own defaults wait four minutes for a dead server.
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
        # What a person has set stays.
        os.environ.setdefault(name, value)
