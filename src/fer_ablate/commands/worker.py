"""`worker`: one of the processes that share a run; only `train` starts it."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.execution.one_run import train_here
from fer_ablate.execution.run_log import output_to_log
from fer_ablate.tracking.disk.log import LOG
from fer_ablate.training.processes import follow_parent


def run(arguments: Sequence[str]) -> int:
    """Take part in the run that a file describes."""
    follow_parent()
    spec = RunSpec.load(Path(arguments[0]))
    with output_to_log(Path(spec.folder) / LOG, whole_process=True) if spec.quiet else nullcontext():
        train_here(spec)
    return 0
