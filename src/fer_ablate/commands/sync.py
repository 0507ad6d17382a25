"""`sync`: uploads runs that MLflow missed while they ran."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec, run_hydra
from fer_ablate.tracking.mlflow.study_ids import unsent_studies
from fer_ablate.tracking.recorder import pending, upload_pending


def run(arguments: Sequence[str]) -> int:
    """Bring every run below `runs_dir` that was marked as not uploaded into MLflow."""
    # Runs are uploaded as they are, so the images that they were trained on may be gone.
    return run_hydra(arguments, _sync, ignore=("data.path", "data.ferplus_path"))


def _sync(spec: RunSpec) -> int:
    config, runs_dir = spec.config, Path(spec.config.runs_dir)
    others = sum(not folder.waits_for(config.tracking.uri) for folder in pending(runs_dir))
    number = upload_pending(runs_dir, config.tracking)
    waiting = len(pending(runs_dir))
    if number:
        also = f", {others} of them recorded for another store until now" if others else ""
        console.console.print(f"  {console.counted(number, 'run')} brought into {config.tracking.uri}{also}")
    elif waiting:
        console.console.print(f"  another process is bringing {console.counted(waiting, 'run')} into {config.tracking.uri}")
    else:
        console.console.print("  MLflow has every run" if runs_dir.is_dir() else f"  no runs: there is no folder {runs_dir}")
    for study in unsent_studies(runs_dir, config.tracking.uri):
        console.console.print(f"  note: the outcome of the study {study} is not there; its next start brings it", style="yellow")
    return 0
