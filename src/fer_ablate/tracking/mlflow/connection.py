"""Checks the MLflow settings, and imports and connects on first use."""

import importlib
import os
from typing import TYPE_CHECKING, cast

from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import Fault, first_line
from fer_ablate.tracking.other_trackers import other_tracker_faults

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store


RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
"""Variable that MLflow reads at each request: how often it is repeated."""

REFUSALS = {
    401: "it does not know this user with this password; MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD name them",
    403: "this user may not do that there; who looks after the server grants EDIT on the experiment",
}
"""Status of an answer -> what it means. MLflow's own messages for these have an address of its documentation, or two words."""


def tracking_faults(config: TrackingConfig) -> list[Fault]:
    """Faults of the tracking settings, found before anything is trained."""
    others, bounds = other_tracker_faults(config), bound_faults(config, "tracking")
    if not config.enabled:
        # Without MLflow the address does not matter; the experiment names a folder all the same.
        others += [fault for fault in bounds if fault.key == "tracking.experiment"]
        models = {"log_model": config.log_model, "register": config.register, "system_metrics": config.system_metrics}
        remedy = "Leave tracking=none out, or this key."
        return others + [Fault(f"tracking.{key}", f"{value} needs MLflow.", remedy) for key, value in models.items() if value]
    return others + bounds


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


def refused(error: BaseException) -> bool:
    """Whether a server has answered, but does not let this user in, or not do this."""
    return _status(error) in REFUSALS


def reason(error: BaseException) -> str:
    """Why a store did not take something, in one line without credentials."""
    return REFUSALS.get(_status(error)) or _no_answer(error) or first_line(error)


def _no_answer(error: BaseException) -> str:
    """What keeps a server from answering; empty if something else is wrong."""
    first = error
    while first.__context__ is not None:
        first = first.__context__
    # The libraries between add pools, retries and addresses, and the reason would come after 300 characters.
    by_request = type(error).__module__.startswith(("mlflow.", "requests.")) and first is not error
    return f"it does not answer: {first.strerror or first}" if by_request and isinstance(first, OSError) else ""


def _status(error: BaseException) -> int:
    """HTTP status of an answer of a server; 500 of any other error of MLflow, 0 of errors of others."""
    # Where a file is not taken, the error is one of `requests`; neither library is imported for this.
    response = getattr(error, "response", None)
    found = getattr(response, "status_code", None) or getattr(error, "get_http_status_code", int)()
    return int(found)


def prepare_environment(timeout: int) -> None:
    """Set the variables that MLflow reads when it is imported or at each request, as far as nobody has set them.

    Args:
        timeout: seconds a request to a server may take.
    """
    # MLflow's own defaults wait four minutes for a dead server.
    defaults = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        RETRIES: "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    for name, value in defaults.items():
        # What a person has set stays.
        os.environ.setdefault(name, value)
