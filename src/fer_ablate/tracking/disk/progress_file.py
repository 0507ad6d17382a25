"""progress.json: how far a run is within its epochs, for whoever watches it. It exists only while the run is trained."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import partial_file, read_dataclass

PROGRESS = "progress.json"


@dataclass(frozen=True)
class StepProgress:
    """How far a training is.

    Args:
        epochs: trained so far, with the fraction of the present one.
        trained: those of them that were trained since the run was started or resumed.
        seconds: that these took.
    """

    epochs: float
    trained: float
    seconds: float

    @property
    def seconds_per_epoch(self) -> float | None:
        """None before the first step."""
        return self.seconds / self.trained if self.trained > 0 else None


def write_progress(path: Path, progress: StepProgress) -> None:
    """Replace the file, or leave it as it was: training must not fail because nobody can watch it."""
    partial = partial_file(path)
    # Not `write_json`, which waits for the disk: after a power failure nobody needs this file.
    with suppress(OSError):
        partial.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        partial.replace(path)


def read_progress(path: Path) -> StepProgress | None:
    """The content; None if there is no such file or it cannot be read."""
    try:
        return read_dataclass(path, StepProgress)
    except UserError:
        return None


def remove_progress(path: Path) -> None:
    """Delete the file if it is there."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
