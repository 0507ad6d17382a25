"""Reads checkpoint files, which never runs code from a file, and loads their weights."""

import hashlib
import json
import pickle
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from fer_ablate.errors import UserError
from fer_ablate.training.start import Start, output_change, outputs_in_order

DAMAGE = (
    *(RuntimeError, EOFError, BadZipFile, OSError, ValueError, LookupError, TypeError),
    # What a program of pickle's that was changed in a few bytes can raise besides, also where it may call nothing:
    *(AttributeError, ImportError, AssertionError, OverflowError, MemoryError, RecursionError, struct.error, zlib.error),
)
"""Errors of a checkpoint that is damaged."""

FORMAT = "1"
"""Version of the entry `fer_ablate` that is added to Lightning's checkpoints."""


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint of fer_ablate onto the CPU; only tensors and plain values are unpickled.

    Raises:
        UserError: the file is missing, truncated, not a checkpoint of fer_ablate, or contains other objects.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint. Name a .ckpt file, or a run by run=<id>.")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it holds Python objects, which could run code when loaded, or it is damaged"
        raise UserError(f"{path}: refused, because {reason}. Only checkpoints of plain tensors are read.") from error
    except PermissionError as error:
        raise UserError(f"{path}: permission denied. Use another file, or have its owner let you read it.") from error
    except DAMAGE as error:
        raise UserError(
            f"{path}: truncated, or not a checkpoint at all. Use another file, or train again with force=true."
        ) from error
    ours = isinstance(checkpoint, dict) and all(isinstance(checkpoint.get(name), dict) for name in ("fer_ablate", "state_dict"))
    if not ours:
        raise UserError(f"{path}: a checkpoint, but not one of fer_ablate. Train one with `python -m fer_ablate`.")
    written = checkpoint["fer_ablate"].get("format")
    if written != FORMAT:
        raise UserError(
            f"{path}: written in format {written}, this version reads {FORMAT}. Evaluate it with the version that wrote it."
        )
    return checkpoint


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the network's state dict from a checkpoint (averaged weights, if the run averages them)."""
    return {
        name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items() if name.startswith("network.")
    }


def load_weights(network: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Load the weights of a checkpoint into a network.

    Args:
        network: the network.
        checkpoint: content of the checkpoint.
        path: file of the checkpoint, for messages.

    Raises:
        UserError: the weights belong to another network; the message names the first differences.
    """
    try:
        network.load_state_dict(network_weights(checkpoint))
    except (RuntimeError, AttributeError, TypeError) as error:  # the last two where an entry is no tensor
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(
            f"{path}: these weights belong to another network. {' '.join(lines)} Give the model=... it was trained with."
        ) from error


OUTPUT = ("output.weight", "output.bias")
"""The output layer of a network that is built of stages."""

LISTED = 5
"""Number of tensors that a message names when a checkpoint does not fit."""


def file_start(path: Path) -> Start:
    """The weights in a checkpoint; their identity is a hash of 32 hexadecimal digits, which a moved or copied file shares.

    Raises:
        UserError: the file is not a checkpoint of fer_ablate.
    """
    total, checkpoint = hashlib.sha256(), read(path)
    for name, tensor in sorted(_weights(checkpoint).items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        # As bytes, because numpy has no bfloat16; flat, because a tensor without dimensions has no view as bytes.
        total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return Start(path, total.hexdigest()[:32], _classes(checkpoint))


def load_start(network: nn.Module, path: Path, classes: Sequence[str]) -> None:
    """Load the weights of a checkpoint into a network; the state of the optimizer is not loaded.

    Args:
        network: the network. Its output layer keeps its weights if the checkpoint has other classes. If it has them in another
            order, its outputs are brought into that of the network.
        path: the checkpoint.
        classes: names of the classes of the network.

    Raises:
        UserError: any other tensor is missing, has no counterpart or has another shape; or the classes differ in name or order
            alone, and the network is one of the user's own, whose output layer is not known.
    """
    checkpoint = read(path)
    given, own = _weights(checkpoint), _tensors(network.state_dict())
    known = _classes(checkpoint)
    output = _output_layer(given, own, len(known), len(classes))
    if change := output_change(known, classes):
        output = {name for name in OUTPUT if name in given and given[name].shape[:1] == (len(classes),)}
        if len(output) < len(OUTPUT):
            raise UserError(
                f"init_from={path} has the classes {', '.join(known)}, and this network {', '.join(classes)}. Which of its "
                "layers gives them is not known of a network of your own, so begin with the same classes in the same order: "
                "data.merge={name: [name], ...} sets it."
            )
        if change == "reordered" and (order := outputs_in_order(known, classes)) is not None:
            given, output = {**given, **{name: given[name][order] for name in output}}, set()
    misfits = [_misfit(name, given.get(name), own.get(name)) for name in {**own, **given} if name not in output]
    if found := [text for text in misfits if text]:
        lines = [*found[:LISTED], *([f"and {len(found) - LISTED} more"] if len(found) > LISTED else [])]
        listed = "\n".join(f"  {line}" for line in lines)
        raise UserError(
            f"The weights of init_from={path} do not fit this network:\n{listed}\n"
            "Start from a run with the same model=..., augment=... and image size, or leave init_from out."
        )
    network.load_state_dict({name: tensor for name, tensor in given.items() if name not in output}, strict=False)


def _classes(checkpoint: dict[str, Any]) -> tuple[str, ...]:
    return tuple(map(str, json.loads(checkpoint["fer_ablate"].get("classes", "[]"))))


def _output_layer(given: Mapping[str, Tensor], own: Mapping[str, Tensor], classes: int, own_classes: int) -> set[str]:
    """Names of the tensors that differ in the number of classes and in nothing else: a plugin network's may have any name."""
    return {
        name
        for name in given.keys() & own.keys()
        if classes != own_classes
        and (classes, *own[name].shape[1:]) == given[name].shape
        and (own_classes, *given[name].shape[1:]) == own[name].shape
    }


def _weights(checkpoint: dict[str, object]) -> dict[str, Tensor]:
    return _tensors(network_weights(checkpoint))


def _tensors(state: dict[str, object]) -> dict[str, Tensor]:
    """Keep only tensors: the state of a plugin network may hold other objects."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _misfit(name: str, given: Tensor | None, own: Tensor | None) -> str:
    """Say why a tensor cannot be loaded; empty if it can."""
    if given is None or own is None:
        return f"{name} is {'not in the file' if given is None else 'only in the file'}"
    return "" if given.shape == own.shape else f"{name} is {_shape(given)} in the file, {_shape(own)} here"


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "a single number"
