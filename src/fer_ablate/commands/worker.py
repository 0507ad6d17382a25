"""`worker`: one of the processes that share a run; only `train` starts it."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli.command_line import RunSpec
from fer_ablate.execution.one_run import train_here
from fer_ablate.training.processes import follow_parent


def run(arguments: Sequence[str]) -> int:
    """Take part in the run that a file describes."""
    follow_parent()
    train_here(RunSpec.load(Path(arguments[0])))
    return 0
