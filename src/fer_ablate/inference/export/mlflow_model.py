"""Logs the exported network of a run as a model in MLflow."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_ablate.addresses import bare
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import FaultyConfigError, UserError, first_line
from fer_ablate.inference.export.metadata import ModelMetadata
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.sizes import Size, spelled
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.connection import open_store, tracking_faults

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.models import LoggedNetwork
    from fer_ablate.tracking.mlflow.store import Store

EXAMPLES = 4
"""Number of faces in the model's input example."""

EXAMPLE = "input.json"
"""File with the input example as a request, as `mlflow models predict -i` reads it."""


def log_network(
    folder: RunFolder,
    trained: TrainedNetwork,
    program: tuple[ModelMetadata, Path],
    faces_u8: NDArray[np.uint8],
    tracking: TrackingConfig,
    runs_dir: Path,
    register: str = "",
) -> "LoggedNetwork":
    """Log an exported network to the MLflow run of its folder; a second time changes nothing.

    A run that was never recorded in MLflow is recorded first, in the store that `tracking` names.

    Args:
        folder: folder of the finished run.
        trained: its network.
        program: metadata and file of `torch_program.save_program`; the request with the input example is saved beside the file.
        faces_u8: (n, C, H, W); the first few become the input example.
        tracking: names the store for a run that was never recorded, and says how long a server may take to answer.
        runs_dir: folder above the artifacts of a store without a server.
        register: name to register the model under; empty to leave it unregistered.

    Raises:
        UserError: there is no store, it no longer has the run, or it does not answer.
    """
    metadata, path = program
    require_store(folder, tracking)
    uri = folder.header.mlflow_uri or tracking.uri
    try:
        store, run_id = _store_and_run_id(folder, tracking, runs_dir)
        # Imported only after the store was opened: MLflow reads its settings when it is imported, and takes seconds for it.
        module = importlib.import_module("fer_ablate.tracking.mlflow.models")
        facts = {
            "key": metadata.key,
            "image_size": spelled(metadata.image_size),
            "channels": str(metadata.channels),
            "epoch": str(trained.epoch),
        }
        example = np.ascontiguousarray(faces_u8[:EXAMPLES])
        served = module.ServableModel(path, metadata.classes, _digest(trained, metadata), example, facts)
        logged: LoggedNetwork = module.log_servable(store, run_id, served, register)
        module.write_example(store, logged, path.with_name(EXAMPLE))
    except UserError:
        raise
    except Exception as error:  # MLflow's own kinds, and those of the network and the database below it
        raise UserError(f"MLflow at {bare(uri)} failed ({first_line(error)}). The same command tries again.") from error
    return logged


def require_store(folder: RunFolder, tracking: TrackingConfig) -> None:
    """Check that there is a store for the model: the one that recorded the run, or the one that `tracking` names.

    Raises:
        UserError: the run was never recorded, and `tracking` names no store.
    """
    header = folder.header
    if header.mlflow_uri and header.mlflow_run_id:
        return
    if not tracking.enabled:
        raise UserError(
            f"{folder.path} was never recorded in MLflow, and tracking=none names no store. "
            "Leave tracking=none out, or use format=onnx or format=torch."
        )
    if faults := tracking_faults(tracking):
        raise FaultyConfigError(faults)


def _store_and_run_id(folder: RunFolder, tracking: TrackingConfig, runs_dir: Path) -> tuple["Store", str]:
    """Open the store that has the run, and give the run's id there; a run that was never recorded is uploaded."""
    header = folder.header
    if header.mlflow_uri and header.mlflow_run_id:
        store = open_store(header.mlflow_uri, header.experiment, str(runs_dir), tracking.timeout)
        if store.active(header.mlflow_run_id) is None:
            raise UserError(
                f"MLflow at {header.mlflow_uri} does not have the run {header.mlflow_run_id} of {folder.path} any more. "
                "Restore it (`mlflow runs restore`), or use format=onnx or format=torch."
            )
        return store, header.mlflow_run_id
    store = open_store(tracking.uri, header.experiment, str(runs_dir), tracking.timeout)
    return store, store.upload(folder)


def _digest(trained: TrainedNetwork, metadata: ModelMetadata) -> str:
    """Digest by which a model that was logged before is found: equal weights, classes and preparation give an equal digest."""
    data = trained.config.data
    sizes = [_number(metadata.image_size), _number(trained.seen_size)]
    inputs = [metadata.classes, sizes[0], metadata.channels, metadata.key, sizes[1], data.mean, data.std]
    if data.prepare:
        inputs.append(data.prepare)
    content = hashlib.sha256(json.dumps(inputs).encode())
    for name, weights in sorted(trained.network.state_dict().items()):
        content.update(name.encode())
        content.update(np.ascontiguousarray(weights.detach().cpu().numpy()).data)
    return content.hexdigest()


def _number(size: Size) -> int | Size:
    """Give a square by its side alone, so that the digests of earlier versions stay valid."""
    return size[0] if size[0] == size[1] else size
