"""`sync`: uploads runs that MLflow missed while they ran."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.command_line import RunSpec, run_hydra
from fer_ablate.tracking.recorder import upload_pending


def run(arguments: Sequence[str]) -> int:
    """Bring every run below `runs_dir` that was marked as not uploaded into MLflow."""
    # Runs are uploaded as they are, so the images that they were trained on may be gone.
    return run_hydra(arguments, _sync, ignore=("data.path", "data.ferplus_path"))


def _sync(spec: RunSpec) -> int:
    config = spec.config
    number = upload_pending(Path(config.runs_dir), config.tracking)
    console.console.print(
        f"  {console.counted(number, 'run')} brought into {config.tracking.uri}" if number else "  MLflow has every run"
    )
    return 0
