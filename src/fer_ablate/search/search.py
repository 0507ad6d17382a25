"""One search: trials asked for and answered, kept in a database, taken up again where an earlier process left them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from fer_ablate.errors import BusyError, UserError
from fer_ablate.search.trial_store import open_store, reachable
from fer_ablate.search.trials import COUNTED, INTERRUPTED, KEY, LOG, PROBLEM, RESUMES, TrialRecord, trial_records
from fer_ablate.tracking.disk.files import write_error

IDENTITY, CODE, PRUNER = "fer_ablate", "code", "pruner"
"""User attributes of Optuna's study: what makes two searches the same, the code it began with, how it prunes."""

FIXED_PARAMS = "fixed_params"
"""Where Optuna keeps the parameters of a trial that waits to be asked for."""

LISTED = 4
"""Differences named when a search is continued as another one."""


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, and how.

    Args:
        name: the same name in the same database is the same search.
        address: of the database.
        objectives: see `study.objectives`.
        directions: `minimize` or `maximize` for each.
        space: override key -> where its values come from.
        fixed: everything else that could change a value; JSON.
        sampler: number of a suggestion, from 0 -> what makes it. A fresh sampler for each, seeded by the number, makes an
            interrupted search suggest what an unbroken one would have.
        pruner: of this process.
        pruner_settings: from which the processes of the trials make the same one; JSON.
        code: digest of the code that trains.
        extend: suggests further parameters, which depend on the others.
    """

    name: str
    address: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    space: dict[str, BaseDistribution]
    fixed: dict[str, Any]
    sampler: Callable[[int], BaseSampler]
    pruner: BasePruner
    pruner_settings: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    extend: Callable[[optuna.Trial], None] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for values to be comparable; plain values as JSON gives them back."""
        space = {name: json.loads(distribution_to_json(one)) for name, one in self.space.items()}
        fixed = {name: value for name, value in self.fixed.items() if name not in space}
        parts = {"objectives": self.objectives, "directions": self.directions, "space": space, "fixed": fixed}
        found: dict[str, Any] = json.loads(json.dumps(parts, default=str))
        return found


@dataclass(frozen=True)
class Suggestion:
    """A trial to be run: its number, override key -> value, and the interrupted trial that it repeats, if it does."""

    number: int
    params: dict[str, Any]
    resumes: int | None = None


class Search:
    """A search in its database; the caller holds its `lock`, hence no other process is at it."""

    def __init__(self, plan: SearchPlan, study: optuna.Study) -> None:
        self.plan = plan
        self.study = study
        self._asked: dict[int, optuna.Trial] = {}

    @classmethod
    def open(cls, plan: SearchPlan, retry_failed: bool = False) -> "Search":
        """Begin a search, or take it up: what a killed process was at comes first again.

        Args:
            plan: of the search.
            retry_failed: whether trials that failed come again, too.

        Raises:
            UserError: the name belongs to a search of something else, or the database does not answer.
        """
        store = open_store(plan.address)
        with reachable(plan.address):
            study = optuna.create_study(
                storage=store,
                study_name=plan.name,
                directions=[_direction(word) for word in plan.directions],
                sampler=RandomSampler(),
                pruner=plan.pruner,
                load_if_exists=True,
            )
            search = cls(plan, study)
            search._identify()
            study.set_user_attr(PRUNER, plan.pruner_settings)
            search._reclaim(retry_failed)
        return search

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Every trial so far, by number."""
        with reachable(self.plan.address):
            return trial_records(self.study)

    @property
    def counted(self) -> int:
        """Trials that count towards the number asked for."""
        return sum(record.state in COUNTED for record in self.records)

    @property
    def note(self) -> str:
        """What a person should know who continues this search; empty if nothing."""
        if not self.counted or self.study.user_attrs.get(CODE) == self.plan.code:
            return ""
        return "the code has changed since this search began; earlier values are those of the earlier code"

    def ask(self) -> Suggestion:
        """The next trial to run."""
        with reachable(self.plan.address):
            originals = sum(RESUMES not in trial.user_attrs for trial in self.study.get_trials(deepcopy=False))
            self.study.sampler = self.plan.sampler(originals)
            trial = self.study.ask(dict(self.plan.space))
            if self.plan.extend is not None:
                self.plan.extend(trial)
            self._asked[trial.number] = trial
            return Suggestion(trial.number, dict(trial.params), trial.user_attrs.get(RESUMES))

    def begun(self, number: int, key: str) -> None:
        """A trial's run is known by its key and about to be trained."""
        with reachable(self.plan.address):
            self._asked[number].set_user_attr(KEY, key)

    def done(self, number: int, values: Sequence[float]) -> None:
        """A trial brought these values; none of them may be `nan`."""
        self._end(number, TrialState.COMPLETE, values=values)

    def pruned(self, number: int) -> None:
        """A trial was given up early; it counts with what it reported last."""
        self._end(number, TrialState.PRUNED)

    def failed(self, number: int, problem: str, log: str = "") -> None:
        """A trial ended with an error; the search goes on."""
        self._end(number, TrialState.FAIL, {PROBLEM: problem, LOG: log})

    def interrupted(self, number: int) -> None:
        """The process of a trial is gone, or another process is at its run: it comes again when the search is taken up."""
        self._end(number, TrialState.FAIL, {INTERRUPTED: True})

    def _end(
        self, number: int, state: TrialState, told: Mapping[str, Any] | None = None, values: Sequence[float] | None = None
    ) -> None:
        with reachable(self.plan.address):
            trial = self._asked.pop(number)
            for name, value in (told or {}).items():
                trial.set_user_attr(name, value)
            # The grid's sampler would try to stop Optuna's own loop, of which there is none.
            self.study.sampler = RandomSampler()
            self.study.tell(trial, list(values) if values is not None else None, state)

    def _identify(self) -> None:
        known, own = self.study.user_attrs.get(IDENTITY), self.plan.identity
        if known is None:
            if self.study.get_trials(deepcopy=False):
                raise UserError(f"The search '{self.plan.name}' in {self.plan.address} was not begun by fer_ablate. {_WAY_OUT}")
            self.study.set_user_attr(CODE, self.plan.code)
            self.study.set_user_attr(IDENTITY, own)
        elif known != own:
            lines = "\n".join(f"  {line}" for line in _differences(known, own))
            raise UserError(f"The search '{self.plan.name}' was begun as another one:\n{lines}\n{_WAY_OUT}")

    def _reclaim(self, retry_failed: bool) -> None:
        """Nobody is at this search, so whatever runs is dead; it is marked first, so that a kill in between loses nothing."""
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state is TrialState.RUNNING:
                self._asked[trial.number] = optuna.Trial(self.study, trial._trial_id)
                self.interrupted(trial.number)
        trials = self.study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get(RESUMES) for trial in trials}
        for trial in trials:
            again = trial.state is TrialState.FAIL and (retry_failed or trial.user_attrs.get(INTERRUPTED))
            params = {**trial.system_attrs.get(FIXED_PARAMS, {}), **trial.params}
            # One killed while it was asked for has not all its parameters; nothing was trained of it.
            if again and trial.number not in repeated and params.keys() >= self.plan.space.keys():
                self.study.enqueue_trial(params, user_attrs={RESUMES: trial.number})


@contextmanager
def lock(folder: Path, name: str) -> Iterator[None]:
    """Work at a search alone.

    Args:
        folder: of the search; made if missing.
        name: of the search.

    Raises:
        BusyError: another process is at it.
    """
    held = FileLock(folder / "search.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire(timeout=0)
    except Timeout:
        way_out = "Wait for it; hydra.sweeper.n_jobs and a parallel launcher run trials at once."
        raise BusyError(f"Another process is at the search '{name}' (lock in {folder}). {way_out}") from None
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        yield
    finally:
        held.release()


_WAY_OUT = "Give another hydra.sweeper.study_name, or leave it out: a changed search then gets a name of its own."


def _direction(word: str) -> Literal["minimize", "maximize"]:
    return "minimize" if word == "minimize" else "maximize"


def _differences(known: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """What was and what is now, part by part, the first few."""
    was, now = ({**one["space"], **one["fixed"], "objectives": one["objectives"]} for one in (known, own))
    lines = [f"{key}: {_shown(was, key)} then, {_shown(now, key)} now" for key in {**was, **now} if was.get(key) != now.get(key)]
    if known["directions"] != own["directions"]:
        lines.append(f"directions: {known['directions']} then, {own['directions']} now")
    return lines[:LISTED] + ([f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else [])


def _shown(parts: Mapping[str, Any], key: str) -> str:
    value = parts.get(key, "nothing")
    return json.dumps(value["attributes"]) if isinstance(value, dict) and "attributes" in value else str(value)
