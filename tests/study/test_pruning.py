"""Hopeless trials of a search, in real runs of a second."""

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import RandomSampler

from fer_ablate.config.key import relevant, run_key
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.search.pruners import build_pruner, check_pruner
from fer_ablate.search.pruning import Pruned, Pruning, build_pruning
from fer_ablate.search.search import Search, SearchPlan
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training.role_set import role_set
from fer_ablate.training.run import PreparedRun, assess, finished_epochs, fit

HARD = {"name": "threshold", "lower": 1.1, "n_warmup_steps": 0}
"""Finds everything hopeless: no accuracy is above 1."""


class Broken(Exception):
    pass


class Breaker:
    """An observer that kills the run behind the report of an epoch, before its checkpoint."""

    def __init__(self, epoch):
        self.broken_epoch = epoch

    def epoch(self, epoch, metrics, time_ms):
        if epoch == self.broken_epoch:
            raise Broken


class Recording:
    """An observer that keeps metrics.csv."""

    def __init__(self, folder):
        self.folder = folder

    def epoch(self, epoch, metrics, time_ms):
        self.folder.append_epoch(epoch, metrics, time_ms)


@pytest.fixture
def search_of(search_address):
    def build(settings, directions=("maximize",)):
        plan = SearchPlan(
            name="small",
            address=search_address,
            objectives=("val/acc", "run/macs")[: len(directions)],
            directions=directions,
            space={"lr": FloatDistribution(0.0, 1.0)},
            fixed={},
            sampler=lambda number: RandomSampler(seed=number),
            pruner=build_pruner(settings, 4),
            pruner_settings=settings,
        )
        return Search.open(plan)

    return build


@pytest.fixture
def trial_of(config_of, search_address, tmp_path):
    """The config of a trial of the search, and its run in a folder of its own."""

    def build(number, *overrides):
        words = [f"search.storage='{search_address}'", "search.study_name=small", f"search.trial={number}"]
        config = config_of("trainer.num_threads=1", "trainer.precision=fp32", "trainer.max_epochs=4", *words, *overrides)
        data = role_set(config, load_faces(config.data))
        folder = RunFolder(tmp_path / f"run{number}")
        return (
            config,
            folder,
            PreparedRun(config, "test", run_key(relevant(config), data.faces.digest, "code"), data, folder.checkpoints),
        )

    return build


def reported(search, number):
    return search.study.get_trials(deepcopy=False)[number].intermediate_values


@pytest.mark.long
def test_a_hopeless_run_ends_and_can_resume(search_of, trial_of):
    search = search_of(HARD)
    config, folder, prepared = trial_of(search.ask().number)
    pruning = build_pruning(config)
    with pytest.raises(Pruned, match="pruned after epoch 1 with val/acc 0") as ended:
        fit(prepared, [Recording(folder), pruning], [pruning])
    assert (ended.value.epoch, ended.value.metric) == (1, "val/acc")
    assert reported(search, 0) == {1: ended.value.value}
    assert finished_epochs(folder.checkpoints) == 1
    module = fit(prepared, [Recording(folder)])
    assert assess(prepared, module).result.epochs == 4


@pytest.mark.slow
def test_a_promising_run_reports_every_epoch(search_of, trial_of):
    search = search_of({"name": "median", "n_startup_trials": 1})
    search.done(search.ask().number, [0.0])
    config, folder, prepared = trial_of(search.ask().number)
    pruning = build_pruning(config)
    fit(prepared, [Recording(folder), pruning], [pruning])
    assert reported(search, 1) == {row["epoch"]: pytest.approx(row["val/acc"]) for row in folder.history}
    assert len(folder.history) == 4


@pytest.mark.slow
def test_a_run_below_the_median_is_pruned(search_of, trial_of):
    search = search_of({"name": "median", "n_startup_trials": 1, "n_warmup_steps": 2})
    good = search.ask().number
    trial = optuna.Trial(search.study, search.study.trials[good]._trial_id)
    for epoch in range(1, 5):
        trial.report(1.0, epoch)
    search.done(good, [1.0])
    config, _, prepared = trial_of(search.ask().number)
    pruning = build_pruning(config)
    with pytest.raises(Pruned) as ended:
        fit(prepared, [pruning], [pruning])
    assert ended.value.epoch == 2  # not before the warm-up is over
    search.pruned(1)
    assert search.records[1].last == (2, ended.value.value)


@pytest.mark.slow
def test_a_resumed_run_reports_its_earlier_epochs(search_of, trial_of):
    search = search_of({"name": "median", "n_startup_trials": 9})
    first = search.ask().number
    config, folder, prepared = trial_of(first)
    pruning = build_pruning(config)
    with pytest.raises(Broken):
        fit(prepared, [Recording(folder), pruning, Breaker(3)], [pruning])
    assert set(reported(search, first)) == {1, 2, 3}
    # The same trial goes on: epoch 3 is trained again, which Optuna must not be told twice.
    pruning = build_pruning(config, folder.history)
    with pytest.raises(Broken):
        fit(prepared, [Recording(folder), pruning, Breaker(4)], [pruning])
    # Another trial takes the run over, as after a kill of the whole search.
    search = search_of({"name": "median", "n_startup_trials": 9})
    second = search.ask()
    assert second.resumes == first
    config, _, _ = trial_of(second.number)
    pruning = build_pruning(config, folder.history)
    fit(prepared, [Recording(folder), pruning], [pruning])
    assert reported(search, second.number) == {row["epoch"]: pytest.approx(row["val/acc"]) for row in folder.history}


def test_a_trial_of_several_objectives_is_not_pruned(search_of, config_of, trial_of):
    number = search_of(HARD, ("maximize", "minimize")).ask().number
    config, _, _ = trial_of(number, "search.objective=[val/acc,run/macs]")
    assert build_pruning(config) is None
    assert build_pruning(config_of()) is None  # no trial at all


def test_a_search_may_do_without_a_pruner(search_of, trial_of):
    config, _, _ = trial_of(search_of({"name": "none"}).ask().number)
    assert build_pruning(config) is None


def test_a_finished_trial_is_not_trained_again(search_of, trial_of):
    search = search_of(HARD)
    search.pruned(search.ask().number)
    config, _, _ = trial_of(0)
    with pytest.raises(UserError, match=r"search\.trial=0 is no open trial of 'small'"):
        build_pruning(config)


FAULTS = {
    "an unknown name": ({"name": "medain"}, 1, "Did you mean 'median'"),
    "an argument it does not take": ({"name": "median", "n_startup": 3}, 1, "Did you mean 'n_startup_trials'"),
    "a missing argument": ({"name": "percentile"}, 1, "percentile: is missing"),
    "a value it refuses": ({"name": "percentile", "percentile": 200}, 1, "PercentilePruner rejects these arguments"),
    "several devices": ({"name": "median"}, 2, "cannot end a run that 2 processes share"),
}


@pytest.mark.parametrize(("given", "devices", "message"), FAULTS.values(), ids=FAULTS)
def test_a_pruner_that_cannot_be_is_answered(given, devices, message):
    (fault,) = check_pruner(given, devices)
    assert message in str(fault)


@pytest.mark.parametrize("name", ["median", "asha", "hyperband", "none"])
def test_the_pruners_need_no_arguments(name):
    assert check_pruner({"name": name}, 1) == []
    assert check_pruner({"name": "none"}, 4) == []


def test_first_epochs_are_no_reason_to_prune():
    assert build_pruner({"name": "median"}, 20)._n_warmup_steps == 5
    assert build_pruner({"name": "median", "n_warmup_steps": 0}, 20)._n_warmup_steps == 0
    assert build_pruner({"name": "hyperband"}, 20)._max_resource == 20


def test_an_epoch_without_the_metric_says_nothing(search_of):
    search = search_of(HARD)
    number = search.ask().number
    trial = optuna.Trial(search.study, search.study.trials[number]._trial_id)
    pruning = Pruning(trial, search.plan.address, "val/acc")
    pruning.epoch(1, {"train/acc": np.nan}, 0)
    pruning.on_train_epoch_start(None, None)
    assert reported(search, 0) == {}
