"""Finished networks as models in MLflow. Import it only after `connection.open_store`, for the same reasons as the store."""

import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from numpy.typing import NDArray

from fer_ablate.addresses import is_server, usable
from fer_ablate.errors import UserError, first_line
from fer_ablate.tracking.mlflow.store import Store, sent_once
from fer_ablate.tracking.quiet import quiet

NAME = "expressions"
"""Name of the model within its run: `runs:/<run id>/expressions` means the same as `models:/<model id>`."""

DIGEST = "fer_ablate.digest"
"""Tag that finds a model that was logged before."""

MODEL = "fer_ablate.model"
"""Tag that finds a registered version again; MLflow's own field for it is empty in a search."""

SCORES = ("val_kept/", "test/", "public/", "private/")
"""Beginnings of the metrics that are shown beside the model: those of the kept weights."""

MODEL_CODE = "fer_ablate.tracking.mlflow.model_code"
REQUIREMENTS = ("mlflow", "torch", "numpy", "pandas")


@dataclass(frozen=True)
class ServableModel:
    """A network in the form in which it is logged.

    Args:
        program: `.pt2` file of torch.export, (N, C, H, W) uint8 -> (N, K) probabilities.
        classes: K names, in the order of the outputs.
        digest: digest of the weights and settings.
        example: (n, C, H, W) uint8, a few faces.
        facts: shown with the model.
    """

    program: Path
    classes: Sequence[str]
    digest: str
    example: NDArray[np.uint8]
    facts: dict[str, str]


@dataclass(frozen=True)
class LoggedNetwork:
    """A model in MLflow.

    Args:
        uri: `models:/<id>`.
        new: False if it was logged before.
        version: number of the registered model that it is; empty if it was not registered.
    """

    uri: str
    new: bool
    version: str = ""


def log_servable(store: Store, run_id: str, model: ServableModel, register: str = "") -> LoggedNetwork:
    """Log a network to its run, unless the run has this very one already.

    No run is made active and no address is set for the process.

    Args:
        store: store that has the run.
        run_id: id of the finished run.
        model: the network.
        register: name under which it is registered, unless it already is; empty for none.
    """
    with quiet("mlflow"):
        found = _existing(store, run_id, model.digest)
        logged = found or _log(store, run_id, model)
        number = _registered_version(store, run_id, logged, register) if register else ""
    return LoggedNetwork(f"models:/{logged.model_id}", found is None, number)


def write_example(store: Store, logged: LoggedNetwork, target: Path) -> None:
    """Copy the request of the model's input example, as `mlflow models predict -i` reads it."""
    with quiet("mlflow"), tempfile.TemporaryDirectory() as folder:
        uri = store.client.get_logged_model(logged.uri.removeprefix("models:/")).artifact_location
        found = mlflow.artifacts.download_artifacts(
            f"{uri}/serving_input_example.json", dst_path=folder, tracking_uri=usable(store.uri)
        )
        shutil.copyfile(found, target)


def _existing(store: Store, run_id: str, digest: str) -> LoggedModel | None:
    condition = f"source_run_id = '{run_id}' AND tags.`{DIGEST}` = '{digest}'"
    found = store.client.search_logged_models([_experiment_of(store, run_id)], condition)
    return next((model for model in found if model.status == "READY"), None)


def _experiment_of(store: Store, run_id: str) -> str:
    return str(store.client.get_run(run_id).info.experiment_id)


def _log(store: Store, run_id: str, model: ServableModel) -> LoggedModel:
    client = store.client
    tags = {DIGEST: model.digest}
    experiment = _experiment_of(store, run_id)
    with sent_once():
        made = client.create_logged_model(experiment, NAME, run_id, tags, model.facts, "classifier")
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            _save(path, model, Model(run_id=run_id, artifact_path=NAME, model_id=made.model_id))
            client.log_model_artifacts(made.model_id, str(path))
        step = _show_scores(store, run_id, made.model_id)
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step)])
    # An interrupted model must not stay pending in the list of models.
    except BaseException:
        client.finalize_logged_model(made.model_id, "FAILED")
        raise
    return client.finalize_logged_model(made.model_id, "READY")


def _save(path: Path, model: ServableModel, described: Model) -> None:
    """Write the folder of a model: code, weights, signature, example and requirements."""
    code = importlib.util.find_spec(MODEL_CODE)
    assert code is not None
    assert code.origin is not None
    shape = (-1, *model.example.shape[1:])
    outputs: list[ColSpec | TensorSpec] = [
        *(ColSpec(DataType.float, name) for name in model.classes),
        ColSpec(DataType.string, "label"),
    ]
    mlflow.pyfunc.save_model(
        path,
        python_model=code.origin,
        artifacts={"program": str(model.program)},
        signature=ModelSignature(Schema([TensorSpec(np.dtype(np.uint8), shape)]), Schema(outputs)),
        input_example=model.example,
        # Without the build, as in 2.13.0+cpu: the machine that serves the model may need another one.
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
        metadata={**model.facts, "classes": list(model.classes)},
        mlflow_model=described,
    )


def _show_scores(store: Store, run_id: str, model_id: str) -> int:
    """Link the scores of the kept weights with the model; returns the epoch of these weights."""
    measured = store.client.get_run(run_id).data._metric_objs  # the public view has no steps and times
    scores = [one for one in measured if one.key.startswith(SCORES)]
    linked = [Metric(one.key, one.value, one.timestamp, one.step, model_id=model_id, run_id=run_id) for one in scores]
    store.client.log_batch(run_id, metrics=linked)
    return max((one.step for one in scores), default=0)


def _registered_version(store: Store, run_id: str, model: LoggedModel, name: str) -> str:
    """Number of the version of this name that is this model, made if it is missing."""
    client = store.client
    try:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        for one in client.search_model_versions(f"name = '{name}'"):
            if one.tags.get(MODEL) == model.model_id:
                return str(one.version)
        # MLflow resolves `models:/` in the store that the process is set to, which may be another one; a server does it itself.
        source = f"models:/{model.model_id}" if is_server(store.uri) else model.artifact_location
        with sent_once():
            made = client.create_model_version(name, source, run_id, {MODEL: model.model_id}, model_id=model.model_id)
    except mlflow.MlflowException as error:
        raise UserError(
            f"register={name}: MLflow at {store.uri} refused it ({first_line(error)}). The model is models:/{model.model_id}."
        ) from error
    return str(made.version)
