"""The trials of a search: composed and checked, given to the launcher, and what became of them told to the search."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fer_ablate.cli import console
from fer_ablate.cli.request import Request
from fer_ablate.config.schema import SearchConfig
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.execution.hydra_sweeper import Launching
from fer_ablate.execution.job import request_file
from fer_ablate.execution.outcome import Ended, RunOutcome
from fer_ablate.execution.search import output
from fer_ablate.execution.search.plan import Prepared
from fer_ablate.execution.search.settings import KEY
from fer_ablate.search.objectives import values
from fer_ablate.search.search import Search, Suggestion, lock
from fer_ablate.study.cells import Cell
from fer_ablate.tracking.disk.places import run_path
from fer_ablate.tracking.disk.run_folder import RunFolder


@dataclass(frozen=True)
class Trial:
    """A suggestion and the run that it makes."""

    suggestion: Suggestion
    cell: Cell
    place: str

    @property
    def number(self) -> int:
        """Within the search, from 0."""
        return self.suggestion.number

    @property
    def folder(self) -> RunFolder:
        """Of its run, whether or not it exists yet."""
        config, cell = self.cell.config, self.cell
        return RunFolder(run_path(Path(config.runs_dir), config.tracking.experiment, cell.row.label, config.seed, cell.key))


def searched(wanted: Prepared, launch: Launching, requests: Path) -> int:
    """Run the trials that are missing, then show the best.

    Args:
        wanted: the search.
        launch: starts runs.
        requests: folder in which a run finds its request; made here.

    Returns:
        1 if a trial of this start failed or was interrupted, else 0.
    """
    with lock(wanted.folder, wanted.plan.name):
        search = Search.open(wanted.plan, wanted.settings.retry_failed)
        missing = max(0, wanted.n_trials - search.counted)
        output.begin(search, wanted.config, wanted.n_trials, missing, wanted.settings.n_jobs)
        parent = output.open_parent(search, wanted.config) if missing else None
        requests.mkdir(parents=True, exist_ok=True)
        trials = Trials(wanted, search, launch, requests, parent)
        try:
            trials.run(missing)
        except KeyboardInterrupt:
            output.finish(search, wanted.config, wanted.words.fixed, wanted.folder, "KILLED")
            raise
        status = "FAILED" if trials.lost else "FINISHED"
        output.finish(search, wanted.config, wanted.words.fixed, wanted.folder, status)
        return int(bool(trials.lost))


class Trials:
    """Runs trials in batches, since a launcher returns when all that it was given have ended.

    Args:
        wanted: the search.
        search: the same, open.
        launch: starts runs.
        requests: folder in which a run finds its request.
        parent: MLflow run below which the trials are shown.

    Attributes:
        lost: trials of this start that failed or were interrupted.
    """

    def __init__(self, wanted: Prepared, search: Search, launch: Launching, requests: Path, parent: str | None) -> None:
        self.wanted, self.search, self.launch = wanted, search, launch
        self.requests, self.parent = requests, parent
        self.lost = 0
        self._written = 0

    def run(self, missing: int) -> None:
        """Run so many.

        Raises:
            UserError: more of them failed than `max_failure_rate` allows.
        """
        begun, rate = 0, self.wanted.settings.max_failure_rate
        while begun < missing:
            batch = [self.search.ask() for _ in range(min(self.wanted.settings.n_jobs, missing - begun))]
            done = self.wanted.n_trials - missing + begun
            begun += len(batch)
            self._run_batch(batch, [f"{done + number}/{self.wanted.n_trials}" for number in range(1, len(batch) + 1)])
            if self.lost / begun > rate:
                problem = f"{self.lost} of {begun} trials failed, more than {KEY}.max_failure_rate={rate:g} allows."
                raise UserError(f"{problem} Mend what is told above; the same command goes on.")

    def _run_batch(self, batch: Sequence[Suggestion], places: Sequence[str]) -> None:
        trials: list[Trial] = []
        for suggestion, place in zip(batch, places, strict=True):
            label = f"trial {suggestion.number:03} {_told(suggestion.params)}"
            words = [*self.wanted.words.fixed, *(f"{key}={value}" for key, value in suggestion.params.items())]
            try:
                trials.append(Trial(suggestion, self.wanted.compose(label, words), place))
            except FaultyConfigError as error:  # values that do not fit together
                self._fail(suggestion.number, label, "\n".join(str(fault) for fault in error.faults))
                continue
            self.search.begun(suggestion.number, trials[-1].cell.key)
        # Each key once: two trials with the same values are one run.
        outcomes = self._launched({trial.cell.key: trial for trial in trials})
        for trial in trials:
            self._settle(trial, outcomes[trial.cell.key])

    def _launched(self, trials: dict[str, Trial]) -> dict[str, RunOutcome]:
        """How the runs ended; a finished one is not even given to the launcher."""
        outcomes: dict[str, RunOutcome] = {}
        for key, trial in trials.items():
            if trial.folder.status == "finished" and not trial.cell.config.force:
                console.console.print(f"  [{trial.place}] {trial.cell.row.label}: finished before")
                outcomes[key] = RunOutcome(Ended.finished, key)
        waiting = {key: trial for key, trial in trials.items() if key not in outcomes}
        if not waiting:
            return outcomes
        first = self._written
        for trial in waiting.values():
            self._request(trial).save(request_file(self.requests, self._written))
            self._written += 1
        try:
            ended = self.launch([trial.cell.overrides for trial in waiting.values()], first)
            return outcomes | dict(zip(waiting, ended, strict=True))
        except Exception as error:  # of any launcher: a worker was killed, a cluster is gone
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            sys.stdout.flush()
            print(f"fer_ablate: the launcher broke off: {first_line}", file=sys.stderr, flush=True)
            return outcomes | {key: _seen(trial) for key, trial in waiting.items()}

    def _request(self, trial: Trial) -> Request:
        plan, config = self.wanted.plan, trial.cell.config
        search = SearchConfig(objective=config.search.objective, storage=plan.address, study_name=plan.name, trial=trial.number)
        own = replace(config, search=search, tracking=replace(config.tracking, parent=self.parent))
        params = {key.lstrip("+"): str(value) for key, value in trial.suggestion.params.items()}
        return Request(own, trial.cell.row.label, list(trial.cell.overrides), params, key=trial.cell.key, place=trial.place)

    def _settle(self, trial: Trial, outcome: RunOutcome) -> None:
        label = trial.cell.row.label
        if outcome.ended is Ended.pruned:
            self.search.pruned(trial.number)
        elif outcome.ended is Ended.busy:
            self.lost += 1
            self.search.interrupted(trial.number)
            console.console.print(f"  {label}: interrupted; it comes again when the same command is started")
        elif outcome.ended is Ended.failed:
            self.lost += 1
            self.search.failed(trial.number, outcome.problem, outcome.log)  # the job has told it
        elif trial.folder.status != "finished":
            self._fail(trial.number, label, "its result is of another key: data or code changed while the search ran")
        else:
            found = values(trial.folder.result, self.wanted.plan.objectives)
            if any(math.isnan(value) for value in found):
                self._fail(trial.number, label, f"{', '.join(self.wanted.plan.objectives)} = {found}")
            else:
                self.search.done(trial.number, found)

    def _fail(self, number: int, label: str, problem: str) -> None:
        self.lost += 1
        sys.stdout.flush()  # in a pipe the message would otherwise stand above what came before it
        print(f"fer_ablate: {label}: failed: {problem}", file=sys.stderr, flush=True)
        self.search.failed(number, problem)


def _seen(trial: Trial) -> RunOutcome:
    """What the files say of a run whose process did not answer."""
    key, folder = trial.cell.key, trial.folder
    if folder.status == "finished":
        return RunOutcome(Ended.finished, key)
    if folder.pruned is not None:
        return RunOutcome(Ended.pruned, key)
    if (failure := folder.failure) is not None:
        return RunOutcome(Ended.failed, key, failure.problem, str(failure.log))
    return RunOutcome(Ended.busy, key)


def _told(params: dict[str, Any]) -> str:
    """Parameters as short as they are still told apart: `conv_layers=4 lr=0.00123`."""
    short = {key.lstrip("+").rsplit(".", 1)[-1]: value for key, value in params.items()}
    return " ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in short.items())
