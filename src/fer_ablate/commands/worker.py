"""`worker`: one of the processes that share a run; started by `train`, not by people."""

from collections.abc import Sequence
from pathlib import Path

from fer_ablate.cli.request import Request
from fer_ablate.execution.one_run import train_here
from fer_ablate.training.processes import follow_parent


def run(arguments: Sequence[str]) -> int:
    """Take part in the run that a file describes."""
    follow_parent()
    train_here(Request.load(Path(arguments[0])))
    return 0
