"""What fer_ablate takes from private parts of Optuna; a failure here names what a later release changed."""

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GridSampler, RandomSampler
from optuna.trial import TrialState

from fer_ablate.search.optuna_internals import distributions, grid_points, grid_size, known_params, reopened_trial
from fer_ablate.search.trial_store import default_address, open_store


def test_a_trial_of_another_process_can_be_ended(tmp_path):
    store = open_store(default_address(tmp_path))
    begun = optuna.create_study(storage=store, study_name="s", sampler=RandomSampler()).ask({"lr": FloatDistribution(0, 1)})
    study = optuna.load_study(storage=store, study_name="s", sampler=RandomSampler())
    trial = reopened_trial(study, study.get_trials()[0])
    trial.report(0.5, 1)
    study.tell(trial, 0.25)
    (ended,) = study.get_trials()
    assert (ended.state, ended.value, ended.params) == (TrialState.COMPLETE, 0.25, begun.params)
    assert ended.intermediate_values == {1: 0.5}


def test_a_waiting_trial_shows_its_parameters():
    study = optuna.create_study(sampler=RandomSampler())
    study.enqueue_trial({"lr": 0.125})
    (waiting,) = study.get_trials()
    assert waiting.params == {}
    assert known_params(waiting) == {"lr": 0.125}


def test_a_sweep_becomes_distributions():
    assert distributions("lr=tag(log, interval(0.001, 1))") == {"lr": FloatDistribution(0.001, 1, log=True)}
    assert distributions("model=choice(a,b)") == {"model": CategoricalDistribution(("a", "b"))}


def test_a_grid_has_points_that_can_be_counted():
    points = grid_points({"n": IntDistribution(1, 3), "model": CategoricalDistribution(("a", "b"))})
    assert {name: list(values) for name, values in points.items()} == {"n": [1, 2, 3], "model": ["a", "b"]}
    assert grid_size(GridSampler(points)) == 6
    assert grid_size(RandomSampler()) is None
