"""Checkpoint files: written so that a kill or a full disk leaves the old one whole, read so that no code in them runs."""

import os
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from fer_ablate.errors import UserError

FORMAT = "1"
"""Version of what we add to Lightning's checkpoints under `fer_ablate`."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to the disk, then rename: the target is always one whole checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Replace `path` by this checkpoint, or raise `UserError` and leave it as it was."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for left in target.parent.glob(f".{target.name}.*.partial"):  # by a process that was killed as it wrote
                left.unlink()
            with partial.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            message = (
                f"Cannot write the checkpoint {target}: {str(error).splitlines()[0]}. The last whole one is kept. "
                "Free some space or choose another runs_dir=..., then start the same command again: it resumes."
            )
            raise UserError(message) from error
        finally:
            partial.unlink(missing_ok=True)  # Ctrl-C may come at any moment, too


def read(path: Path) -> dict[str, Any]:
    """Load a checkpoint of ours onto the CPU; nothing but tensors and plain values is unpickled.

    Raises:
        UserError: missing, truncated, not a checkpoint of fer_ablate, or one that asks for code to be run.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint. Name a .ckpt file, or a run by run=<id>.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = "it holds Python objects, which could run code when loaded, or it is damaged"
        raise UserError(f"{path}: refused, because {reason}. Only checkpoints of plain tensors are read.") from error
    except PermissionError as error:
        raise UserError(f"{path}: permission denied. Use another file, or have its owner let you read it.") from error
    except (RuntimeError, EOFError, BadZipFile, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: truncated, or not a checkpoint at all. Use another file, or train again with force=true."
        ) from error
    if not isinstance(checkpoint, dict) or "fer_ablate" not in checkpoint or "state_dict" not in checkpoint:
        raise UserError(f"{path}: a checkpoint, but not one of fer_ablate. Train one with `python -m fer_ablate`.")
    written = checkpoint["fer_ablate"].get("format")
    if written != FORMAT:
        raise UserError(
            f"{path}: written in format {written}, this version reads {FORMAT}. Evaluate it with the version that wrote it."
        )
    return checkpoint


def network_weights(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The network's part of a checkpoint's state (averaged weights, if the run averaged them)."""
    return {
        name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items() if name.startswith("network.")
    }


def load_weights(network: nn.Module, checkpoint: dict[str, Any], path: Path) -> None:
    """Fill a network with a checkpoint's weights.

    Raises:
        UserError: they belong to another network; the first differences are named.
    """
    try:
        network.load_state_dict(network_weights(checkpoint))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(
            f"{path}: these weights belong to another network. {' '.join(lines)} Give the model=... it was trained with."
        ) from error
