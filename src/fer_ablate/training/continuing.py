"""Puts the state of a finished run where a longer one goes on with it, which ends as if trained from its first epoch."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_ablate.config.compose import to_yaml
from fer_ablate.config.schema import Config
from fer_ablate.errors import UserError
from fer_ablate.training import checkpoints
from fer_ablate.training.checkpoint_writer import AtomicCheckpointIO
from fer_ablate.training.result import BEST, LAST

ENTRY = "continued"
"""Entry of a `last.ckpt` that came from a shorter run; those of later epochs have none."""


@dataclass(frozen=True)
class ContinuedState:
    """Where the state of a run came from.

    Args:
        key: of the shorter run.
        name: of its folder.
        epochs: that it had.
    """

    key: str
    name: str
    epochs: int


def copy_state(source: Path, target: Path, origin: ContinuedState, keys: Collection[str], key: str, config: Config) -> None:
    """Copy both checkpoints of a finished run under the key and the config of a longer one.

    Args:
        source: folder of the checkpoints of the finished run.
        target: that of the longer run.
        origin: the finished run.
        keys: keys that the finished run may have in its checkpoints.
        key: of the longer run.
        config: of the longer run.

    Raises:
        UserError: a checkpoint is missing, damaged or of another run, or cannot be written.
    """
    found = {name: checkpoints.read(source / name) for name in (BEST, LAST)}
    for name, checkpoint in found.items():
        if checkpoint["fer_ablate"]["key"] not in keys:
            raise UserError(f"{source / name} belongs to another run.")
    last = found[LAST]["fer_ablate"]
    if last["epoch"] != origin.epochs:
        raise UserError(f"{source / LAST} is not the state of its last epoch.")
    last[ENTRY] = asdict(origin)
    # `last.ckpt` comes last, since a run that has one is resumed from it.
    for name, checkpoint in found.items():
        checkpoint["fer_ablate"] |= {"key": key, "config": to_yaml(config)}
        AtomicCheckpointIO().save_checkpoint(checkpoint, target / name)


def continued_state(folder: Path) -> ContinuedState | None:
    """Where the state in a folder of checkpoints came from; None if it is the run's own, or there is none."""
    last = folder / LAST
    entry = checkpoints.read(last)["fer_ablate"].get(ENTRY) if last.is_file() else None
    return ContinuedState(**entry) if entry is not None else None
