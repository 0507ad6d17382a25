"""The weights that a run starts from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Start:
    """Initial weights of a run.

    Args:
        path: checkpoint with the weights.
        identity: hash of the weights, see `checkpoints.weights_identity`; part of the key of the run.
    """

    path: Path
    identity: str
