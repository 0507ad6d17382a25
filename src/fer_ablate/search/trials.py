"""Trials of a search as records, and their summary: the best ones, the Pareto front, which parameters matter."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median_low, mode
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from fer_ablate.search.objectives import MAXIMIZE

RUN_KEY, PROBLEM, ERROR_LOG, INTERRUPTED, RESUMES, EXCLUDED = "key", "problem", "log", "interrupted", "resumes", "excluded"
"""User attributes of a trial: key of its run, error, log of the error, whether its process died, which trial it repeats, whether
the search leaves it out."""

TrialStatus = Literal["done", "pruned", "impossible", "excluded", "failed", "interrupted", "repeated", "open"]
COUNTED: tuple[TrialStatus, ...] = ("done", "pruned", "impossible", "excluded", "failed")
"""States that count towards the number of trials of a search; an interrupted trial, and a failed one whose repetition was asked
for, has another number there."""

VALUED = (TrialState.COMPLETE, TrialState.PRUNED)

ENOUGH_TRIALS, FOR_EACH_PARAMETER = 10, 2
"""Trials with a value needed to say which parameters matter, in all and for each parameter; with fewer, chance decides."""


@dataclass(frozen=True)
class TrialRecord:
    """A trial and how it ended.

    Args:
        number: from 0.
        state: see `COUNTED`; `impossible` if its network shrinks to nothing, `excluded` if the search leaves it out,
            `repeated` if it failed and is run once more, `open` if it runs or waits to be run.
        params: override key -> value.
        values: of the objectives; empty unless done.
        key: of its run; empty if it never began.
        problem: the whole error of a failed trial; why one that was not trained is impossible or excluded.
        log: file with the traceback.
        resumes: the interrupted or failed trial that it repeats.
        last: epoch and value reported last; None if it reported none.
    """

    number: int
    state: TrialStatus
    params: dict[str, Any]
    values: tuple[float, ...] = ()
    key: str = ""
    problem: str = ""
    log: str = ""
    resumes: int | None = None
    last: tuple[int, float] | None = None


@dataclass(frozen=True)
class SearchSummary:
    """A search with its results.

    Args:
        name: of the search.
        objectives: such as `val/acc`.
        directions: `minimize` or `maximize` for each.
        trials: all of them, by number.
        best: the best trial; with several objectives those of the Pareto front, best first in the first objective.
        importances: objective -> parameter -> share of the objective's variance that it explains, largest first; empty while
            there are too few trials to say.
    """

    name: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    trials: tuple[TrialRecord, ...]
    best: tuple[TrialRecord, ...]
    importances: dict[str, dict[str, float]]

    def of(self, state: TrialStatus) -> tuple[TrialRecord, ...]:
        """The trials with this state."""
        return tuple(trial for trial in self.trials if trial.state == state)


def trial_records(study: optuna.Study) -> tuple[TrialRecord, ...]:
    """Every trial so far, by number."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(RESUMES) for trial in trials}
    return tuple(_record(trial, trial.number in repeated) for trial in trials)


def search_summary(study: optuna.Study, objectives: tuple[str, ...], directions: tuple[str, ...]) -> SearchSummary:
    """Summary of the trials so far."""
    records = trial_records(study)
    return SearchSummary(
        name=study.study_name,
        objectives=objectives,
        directions=directions,
        trials=records,
        best=_front([record for record in records if record.state == "done"], directions),
        importances=_importances(study, objectives),
    )


def _record(trial: FrozenTrial, repeated: bool) -> TrialRecord:
    attributes, state = trial.user_attrs, _state(trial, repeated)
    step = trial.last_step
    return TrialRecord(
        number=trial.number,
        state=state,
        params=dict(trial.params),
        values=tuple(trial.values) if state == "done" else (),
        key=attributes.get(RUN_KEY, ""),
        problem=attributes.get(PROBLEM, ""),
        log=attributes.get(ERROR_LOG, ""),
        resumes=attributes.get(RESUMES),
        last=(step, trial.intermediate_values[step]) if step is not None else None,
    )


def _state(trial: FrozenTrial, repeated: bool) -> TrialStatus:
    if trial.state is TrialState.COMPLETE:
        return "done"
    if trial.state is TrialState.PRUNED:
        if trial.user_attrs.get(EXCLUDED):
            return "excluded"
        return "impossible" if trial.user_attrs.get(PROBLEM) else "pruned"
    if trial.state is TrialState.FAIL:
        if trial.user_attrs.get(INTERRUPTED):
            return "interrupted"
        return "repeated" if repeated else "failed"
    return "open"


def _front(done: list[TrialRecord], directions: tuple[str, ...]) -> tuple[TrialRecord, ...]:
    """Trials that no other trial equals or beats in every objective; of equal ones the first."""
    losses = {trial.number: _losses(trial, directions) for trial in done}
    front = [
        trial
        for trial in done
        if not any(_beats(losses[other.number], losses[trial.number], other.number < trial.number) for other in done)
    ]
    return tuple(sorted(front, key=lambda trial: losses[trial.number]))


def _losses(trial: TrialRecord, directions: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(-value if way == MAXIMIZE else value for value, way in zip(trial.values, directions, strict=True))


def _beats(first: tuple[float, ...], second: tuple[float, ...], earlier: bool) -> bool:
    return all(a <= b for a, b in zip(first, second, strict=True)) and (first != second or earlier)


def _importances(study: optuna.Study, objectives: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Shares by fANOVA (Hutter et al., 2014), which with tens of trials errs far less than PED-ANOVA, Optuna's default.

    Pruned trials count with the value that they reported last: a search that prunes well has few others to compare. A key that
    some trials do not have counts there with its median or commonest value, as if it made no difference.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances  # with scikit-learn, a second of each training

    known = [trial for trial in study.get_trials(deepcopy=False) if trial.state in VALUED and trial.values]
    space = _shared_space(known)
    if len(known) < max(ENOUGH_TRIALS, FOR_EACH_PARAMETER * len(space)):
        return {}
    middle = {name: _middle(one, [trial.params[name] for trial in known if name in trial.params]) for name, one in space.items()}
    # fANOVA takes complete trials only, so pruned ones are copied with their last value.
    plain = optuna.create_study(directions=study.directions)
    for trial in known:
        params = {name: trial.params.get(name, middle[name]) for name in space}
        plain.add_trial(create_trial(values=trial.values, params=params, distributions=space))
    evaluator, found = FanovaImportanceEvaluator(seed=0), {}
    for number, name in enumerate(objectives):
        with suppress(RuntimeError):  # the value never changes, so nothing decides it
            shares = get_param_importances(plain, evaluator=evaluator, target=partial(_value, number))
            found[name] = {parameter: float(share) for parameter, share in shares.items()}
    return found


def _shared_space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The distributions that are the same in all trials that have them; a function of the user's own may change one."""
    found = dict(item for trial in trials for item in trial.distributions.items())
    changed = {name for trial in trials for name, one in trial.distributions.items() if one != found[name]}
    return {name: one for name, one in found.items() if name not in changed}


def _middle(one: BaseDistribution, values: Sequence[Any]) -> Any:
    """The median of numbers, the commonest of choices."""
    return mode(values) if isinstance(one, CategoricalDistribution) else median_low(values)


def _value(number: int, trial: FrozenTrial) -> float:
    return float(trial.values[number])
