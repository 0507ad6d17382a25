"""Trains what a plan wants through any launcher, and loses nothing when a run, a worker or a launcher dies."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from fer_ablate.config.study_rows import waves
from fer_ablate.execution.outcome import Ended, RunOutcome
from fer_ablate.study.plan import Plan, Planned

Launch = Callable[[Sequence[Planned]], Sequence[RunOutcome]]
"""Trains these runs, in whatever processes, and returns when all have ended."""

POLL_SECONDS = 1.0


class Watcher(Protocol):
    """Somebody who tells the person at the screen."""

    def waits(self, runs: Sequence[Planned]) -> None:
        """Other processes are training these; the sweep goes on when one of them is done."""
        ...

    def lost(self, problem: str, runs: Sequence[Planned]) -> None:
        """The launcher broke off with this error; these runs had not ended."""
        ...


def train_wanted(plan: Plan, launch: Launch, watcher: Watcher) -> dict[str, RunOutcome]:
    """Train every wanted run, rows behind the rows they start from.

    Args:
        plan: says which.
        launch: see `Launch`.
        watcher: told about waiting and about broken launchers.

    Returns:
        Key -> how it ended. Runs whose start failed are failed, too.
    """
    outcomes: dict[str, RunOutcome] = {}
    wanted = {planned.cell.key: planned for planned in plan.wanted}
    for wave in waves(plan.asked.rows):
        labels = {row.label for row in wave}
        ready = [planned for planned in wanted.values() if planned.cell.row.label in labels]
        orphans = [planned for planned in ready if _start_failed(planned, outcomes)]
        for planned in orphans:
            problem = f"not trained: the row it starts from, '{planned.cell.row.start_from}', failed"
            outcomes[planned.cell.key] = RunOutcome(Ended.failed, planned.cell.key, problem)
        outcomes |= _train_all([planned for planned in ready if planned not in orphans], launch, watcher)
    return outcomes


def _start_failed(planned: Planned, outcomes: dict[str, RunOutcome]) -> bool:
    start = planned.cell.start_key
    return start in outcomes and outcomes[start].ended is not Ended.finished


def _train_all(pending: Sequence[Planned], launch: Launch, watcher: Watcher) -> dict[str, RunOutcome]:
    outcomes: dict[str, RunOutcome] = {}
    while pending:
        ended = _launched(pending, launch, watcher)
        outcomes |= {key: outcome for key, outcome in ended.items() if outcome.ended is not Ended.busy}
        pending = [planned for planned in pending if planned.cell.key not in outcomes]
        if pending and all(planned.folder.in_training for planned in pending):
            watcher.waits(pending)
            while all(planned.folder.in_training for planned in pending):
                time.sleep(POLL_SECONDS)
    return outcomes


def _launched(pending: Sequence[Planned], launch: Launch, watcher: Watcher) -> dict[str, RunOutcome]:
    """One go at these runs. A broken launcher fails the runs it was at; those it never came to are left for the next go."""
    try:
        results = launch(pending)
    except Exception as error:  # of any launcher: a worker was killed, a cluster is gone
        problem = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
        ended = {planned.cell.key: _seen(planned, problem) for planned in pending}
        lost = [planned for planned in pending if ended[planned.cell.key].ended is Ended.failed]
        if not any(outcome.ended is not Ended.busy for outcome in ended.values()):
            ended = {planned.cell.key: RunOutcome(Ended.failed, planned.cell.key, problem) for planned in pending}
            lost = list(pending)
        watcher.lost(problem, lost)
        return ended
    return {planned.cell.key: outcome for planned, outcome in zip(pending, results, strict=True)}


def _seen(planned: Planned, problem: str) -> RunOutcome:
    """What the files say of a run whose process did not answer."""
    key, folder = planned.cell.key, planned.folder
    if folder.status == "finished":
        return RunOutcome(Ended.finished, key)
    if (failure := folder.failure) is not None:
        return RunOutcome(Ended.failed, key, failure.problem, str(failure.log))
    if folder.status == "started" and not folder.in_training:
        return RunOutcome(Ended.failed, key, f"its process ended without a word ({problem}); the same command resumes it")
    return RunOutcome(Ended.busy, key)
