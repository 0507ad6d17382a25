"""Writes checkpoint files: a kill or a full disk while writing leaves the old file intact."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from fer_ablate.errors import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes to a temporary file, flushes it to the disk and renames it: the target is always a whole checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Replace `path` by this checkpoint, or raise `UserError` and leave it as it was."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for left in target.parent.glob(f".{target.name}.*.partial"):  # left by a process that was killed while writing
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
            partial.unlink(missing_ok=True)  # after Ctrl-C, too
