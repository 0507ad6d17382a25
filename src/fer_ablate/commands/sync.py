"""`sync`: runs that MLflow missed."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.request import Request, run_hydra
from fer_ablate.tracking.recorder import upload_pending


def run(arguments: Sequence[str]) -> int:
    """Bring every marked run below `runs_dir` into MLflow."""
    return run_hydra(arguments, _sync, ignore=("data.path", "data.ferplus_path"))


def _sync(request: Request) -> int:
    console.quiet_libraries()
    config = request.config
    number = upload_pending(Path(config.runs_dir), config.tracking)
    console.console.print(
        f"  {console.counted(number, 'run')} brought into {config.tracking.uri}" if number else "  MLflow has every run"
    )
    return 0
