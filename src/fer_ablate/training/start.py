"""The weights that a run begins with when they are not drawn from its seed: those of a checkpoint."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_ablate.errors import UserError
from fer_ablate.training import checkpoints

LISTED = 5
"""Tensors named when a checkpoint does not fit."""


@dataclass(frozen=True)
class Start:
    """Weights to begin with.

    Args:
        path: checkpoint that holds them.
        identity: what they are, wherever the file lies; part of the key of the run that begins with them.
    """

    path: Path
    identity: str


def weights_identity(path: Path) -> str:
    """Hash of the weights in a checkpoint, 32 hexadecimal digits; a moved or copied file has the same one.

    Raises:
        UserError: it is no checkpoint of fer_ablate.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(_weights(checkpoints.read(path)).items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # As bytes, since numpy has no bfloat16; flat, since a number on its own cannot be seen as bytes.
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:32]


def load_start(network: nn.Module, path: Path, num_classes: int) -> None:
    """Give a network the weights of a checkpoint; whatever an optimizer remembered is left behind.

    Args:
        network: whose weights are replaced. Its output layer stays as it is if the checkpoint tells other classes apart.
        path: the checkpoint.
        num_classes: of the network.

    Raises:
        UserError: any other tensor is missing, left over or of another shape.
    """
    checkpoint = checkpoints.read(path)
    given, own = _weights(checkpoint), _tensors(network.state_dict())
    classes = len(json.loads(checkpoint["fer_ablate"]["classes"]))
    output = {
        name
        for name in given.keys() & own.keys()
        if classes != num_classes
        and (classes, *own[name].shape[1:]) == given[name].shape
        and (num_classes, *given[name].shape[1:]) == own[name].shape
    }
    misfits = [_misfit(name, given.get(name), own.get(name)) for name in {**own, **given} if name not in output]
    if found := [text for text in misfits if text]:
        lines = [*found[:LISTED], *([f"and {len(found) - LISTED} more"] if len(found) > LISTED else [])]
        listed = "\n".join(f"  {line}" for line in lines)
        raise UserError(
            f"The weights of init_from={path} do not fit this network:\n{listed}\n"
            "Start from a run with the same model=..., augment=... and image size, or leave init_from out."
        )
    network.load_state_dict({name: tensor for name, tensor in given.items() if name not in output}, strict=False)


def _weights(checkpoint: dict[str, object]) -> dict[str, Tensor]:
    return _tensors(checkpoints.network_weights(checkpoint))


def _tensors(state: dict[str, object]) -> dict[str, Tensor]:
    """Without what a plugin keeps in its state beside weights."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _misfit(name: str, given: Tensor | None, own: Tensor | None) -> str:
    """What keeps a tensor from being loaded; empty if nothing does."""
    if given is None or own is None:
        return f"{name} is {'not in the file' if given is None else 'only in the file'}"
    return "" if given.shape == own.shape else f"{name} is {_shape(given)} in the file, {_shape(own)} here"


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a single number"
