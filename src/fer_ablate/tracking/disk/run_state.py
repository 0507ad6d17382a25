"""The states of a run: one vocabulary for folders, plans, sweeps, MLflow and what people read."""

from enum import Enum


class RunState(Enum):
    """How far a run is.

    `missing` covers a run that was interrupted: it has no result either, and the command that began it resumes it.
    `stale` is known only by comparison with a plan: the run is finished, but its config, data or code is not today's.
    """

    missing = "missing"
    running = "running"
    failed = "failed"
    pruned = "pruned"
    stale = "stale"
    finished = "finished"


_MLFLOW_WORDS = {RunState.missing: "KILLED", RunState.pruned: "KILLED", RunState.stale: "FINISHED"}
"""States for which MLflow has no word of its own."""


def mlflow_status(state: RunState, begun: bool = True) -> str:
    """MLflow's word for a state.

    Args:
        state: state of a run, a row or a study.
        begun: whether it was ever started: what is missing was interrupted if it was, and is still to come if not.
    """
    if state is RunState.missing and not begun:
        return "SCHEDULED"
    return _MLFLOW_WORDS.get(state, state.name.upper())
