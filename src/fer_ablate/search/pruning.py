"""Ends hopeless trials while they train: reports each epoch to the search, and stops the run if the pruner decides so.

This needs Lightning, which `pruners` does not: a search checks its pruner before anything is imported that trains.
"""

from collections.abc import Mapping, Sequence

import optuna
import pytorch_lightning as pl
from optuna.samplers import RandomSampler

from fer_ablate.config.schema import Config, SearchConfig
from fer_ablate.errors import UserError
from fer_ablate.search.objectives import objective_names, why_not_pruned
from fer_ablate.search.optuna_internals import reopened_trial
from fer_ablate.search.pruners import NONE, build_pruner
from fer_ablate.search.search import PRUNER
from fer_ablate.search.trial_store import open_store, reachable
from fer_ablate.tracking.disk.history import EpochRow


class Pruned(Exception):
    """The pruner gave up a trial. Its finished epochs and their checkpoint are kept.

    Args:
        epoch: the last one trained, from 1.
        value: of the metric in this epoch.
        metric: such as `val/acc`.
    """

    def __init__(self, epoch: int, value: float, metric: str) -> None:
        super().__init__(f"pruned after epoch {epoch} with {metric} {value:.4f}")
        self.epoch, self.value, self.metric = epoch, value, metric


class Pruning(pl.Callback):
    """Reports epochs to a trial as an `Observer`, and stops the run as a callback.

    It stops the run when the next epoch would begin, which is after the checkpoint of the last one, so that a pruned run can be
    resumed. After the last epoch it does nothing, since that would save nothing.

    Args:
        trial: of the search.
        address: of the search's database.
        metric: such as `val/acc`.
        history: epochs of an earlier part of this run, which may not have been reported to this trial.
    """

    def __init__(self, trial: optuna.Trial, address: str, metric: str, history: Sequence[EpochRow] = ()) -> None:
        self.trial, self.address, self.metric = trial, address, metric
        self.history = list(history)
        self._reported = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        self._last: tuple[int, float] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epochs before the checkpoint from which the run resumes; later ones are trained again."""
        for row in self.history:
            if row["epoch"] <= trainer.current_epoch:
                self.epoch(int(row["epoch"]), row, int(row["time_ms"]))

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Report an epoch, from 1."""
        value = metrics.get(self.metric)
        if value is None:
            return
        self._last = (epoch, value)
        if epoch not in self._reported:
            with reachable(self.address):
                self.trial.report(value, epoch)
            self._reported.add(epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the run if its reports are hopeless."""
        if self._last is None:
            return
        with reachable(self.address):
            hopeless = self.trial.should_prune()
        if hopeless:
            raise Pruned(*self._last, self.metric)


def build_pruning(config: Config, history: Sequence[EpochRow] = ()) -> Pruning | None:
    """The pruning of this run; None if it is not a trial of a search, or cannot be pruned.

    Args:
        config: of the run.
        history: of the run's folder.

    Raises:
        UserError: the search's database does not answer, or does not know the trial.
    """
    search = config.search
    if search.trial is None or search.storage is None or search.study_name is None or why_not_pruned(config):
        return None
    trial = _trial(search, config.trainer.max_epochs)
    return Pruning(trial, search.storage, objective_names(search.objective)[0], history) if trial is not None else None


def _trial(search: SearchConfig, max_epochs: int) -> optuna.Trial | None:
    """The trial in its search; None if the search does not prune."""
    assert search.storage is not None
    store = open_store(search.storage)
    with reachable(search.storage):
        # Nothing is suggested here, and other samplers would write into the trial.
        study = optuna.load_study(study_name=search.study_name, storage=store, sampler=RandomSampler())
        settings = study.user_attrs.get(PRUNER, {})
        if settings.get("name", NONE) == NONE:
            return None
        study.pruner = build_pruner(settings, max_epochs)
        found = [trial for trial in study.get_trials(deepcopy=False) if trial.number == search.trial]
        if not found or found[0].state.is_finished():
            problem = f"search.trial={search.trial} is no open trial of '{search.study_name}'."
            raise UserError(f"{problem} Do not set search.*: the search sets these keys itself.")
        return reopened_trial(study, found[0])
