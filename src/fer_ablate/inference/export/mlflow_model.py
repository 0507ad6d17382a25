"""The best weights of a run as a model in MLflow."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.inference.export.metadata import Card
from fer_ablate.inference.network import TrainedNetwork
from fer_ablate.sizes import Size, spelled
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.mlflow.connection import check, open_store

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.models import Logged
    from fer_ablate.tracking.mlflow.store import Store

EXAMPLES = 4
"""Faces of the model's input example."""

EXAMPLE = "input.json"
"""The request with these faces."""


def log_model(
    folder: RunFolder,
    trained: TrainedNetwork,
    program: tuple[Card, Path],
    faces_u8: NDArray[np.uint8],
    tracking: TrackingConfig,
    runs_dir: Path,
    register: str = "",
) -> "Logged":
    """Log an exported network to the MLflow run of its folder; a second time changes nothing.

    A run that no store was ever told of is recorded first, in the store of `tracking`.

    Args:
        folder: of the finished run.
        trained: its network.
        program: card and file of `torch_export.save_program`; the request of the input example is kept beside it.
        faces_u8: (n, C, H, W), of which the first few become the input example.
        tracking: asked only if the run was never recorded, and for how long a server may take.
        runs_dir: artifacts of a store without a server lie below it.
        register: name to register the model under; empty for none.

    Raises:
        UserError: there is no store, it does not have the run any more, or it does not answer.
    """
    card, path = program
    require_store(folder, tracking)
    uri = folder.header.mlflow_uri or tracking.uri
    try:
        store, run_id = _opened(folder, tracking, runs_dir)
        module = importlib.import_module("fer_ablate.tracking.mlflow.models")
        facts = {
            "key": card.key,
            "image_size": spelled(card.image_size),
            "channels": str(card.channels),
            "epoch": str(trained.epoch),
        }
        served = module.Served(path, card.classes, _digest(trained, card), np.ascontiguousarray(faces_u8[:EXAMPLES]), facts)
        logged: Logged = module.log_served(store, run_id, served, register)
        module.write_example(store, logged, path.with_name(EXAMPLE))
    except UserError:
        raise
    except Exception as error:  # MLflow's own kinds, and those of the network and the database below it
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"MLflow at {uri} failed ({first}). The same command tries again.") from error
    return logged


def require_store(folder: RunFolder, tracking: TrackingConfig) -> None:
    """Make sure that a store is named to which the model can be logged.

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
    if faults := check(tracking):
        raise FaultyConfigError(faults)


def _opened(folder: RunFolder, tracking: TrackingConfig, runs_dir: Path) -> tuple["Store", str]:
    """The store that has the run, and the run's id there."""
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
    return store, store.upload(folder, "FINISHED")


def _digest(trained: TrainedNetwork, card: Card) -> str:
    """The same for the same weights, seen the same way."""
    data = trained.config.data
    sizes = [_number(card.image_size), _number(trained.seen_size)]
    seen = [card.classes, sizes[0], card.channels, card.key, sizes[1], data.mean, data.std]
    if data.prepare:
        seen.append(data.prepare)
    content = hashlib.sha256(json.dumps(seen).encode())
    for name, weights in sorted(trained.network.state_dict().items()):
        content.update(name.encode())
        content.update(np.ascontiguousarray(weights.detach().cpu().numpy()).data)
    return content.hexdigest()


def _number(size: Size) -> int | Size:
    """The side of a square alone, so that the digests of earlier versions stay."""
    return size[0] if size[0] == size[1] else size
