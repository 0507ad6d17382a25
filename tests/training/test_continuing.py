"""A run with more epochs that continues a finished one ends like one that was trained from its first epoch."""

import numpy as np
import pytest
import torch

from fer_ablate.errors import UserError
from fer_ablate.optim.schedules import SCHEDULES
from fer_ablate.training.checkpoints import read
from fer_ablate.training.continuing import ContinuedState, continued_state, copy_state
from fer_ablate.training.length import why_length_matters
from fer_ablate.training.run import assess, fit

from ..cases import cases
from .small_runs import Breaker, Notes, kept_weights, same

RECIPES = {
    "plateau that acts, averaged weights": (
        "scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5", "trainer.ema_decay=0.9", "model.dropout=0.5",
        "augment=pisa",
    ),
}  # fmt: skip
MORE = {
    "constant rate, pooled epochs": ("evaluation.pool_epochs=true", "trainer.keep=last"),
    "stopped early by what came before": ("optimizer.lr=0", "model.norm=none", "trainer.early_stopping.patience=3"),
    "stopped early before": ("optimizer.lr=0", "model.norm=none", "trainer.early_stopping.patience=1"),
    "warm-up and steps, momentum": (
        "optimizer=sgd_nesterov", "scheduler=step", "scheduler.every_epochs=1.5", "scheduler.warmup_epochs=0.5",
        "trainer.accumulate=2",
    ),
    "warm-up and plateau": (
        "scheduler=plateau", "scheduler.warmup_epochs=0.5", "scheduler.patience=0", "scheduler.threshold=0.5",
    ),
    "exponential": ("scheduler=exponential",),
    "warm restarts": ("scheduler=warm_restarts", "scheduler.period_epochs=1.5"),
    "cosine of a given period": ("scheduler=cosine", "scheduler.period_epochs=3"),
}  # fmt: skip


def equal(first, second):
    """Whether two states are equal to the last bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second or (first != first and second != second)


def state(folder):
    """The whole state after the last epoch, but for how long it took and where it came from."""
    found = read(folder / "last.ckpt")
    del found["fer_ablate_seconds"]
    found["fer_ablate"].pop("continued", None)
    return found


@pytest.mark.long
@pytest.mark.parametrize("recipe", cases(RECIPES | MORE, slow=MORE))
def test_a_continued_run_equals_an_unbroken_one(recipe, config_of, run, task_of, tmp_path, request):
    short, long = (config_of(f"trainer.max_epochs={epochs}", *recipe) for epochs in (3, 5))
    assert why_length_matters(long) == ""
    whole, expected = run(long, "whole")
    first, rows = run(short, "short")
    prepared, notes = task_of(long, "continued"), Notes()
    origin = ContinuedState(first.result.key, "short", first.result.epochs)
    copy_state(tmp_path / "short", prepared.checkpoint_dir, origin, {first.result.key}, prepared.key, long)
    assert continued_state(prepared.checkpoint_dir) == origin
    trained = assess(prepared, fit(prepared, [notes, Breaker(1), Breaker(2)]))
    assert rows | notes.rows == expected
    assert same(kept_weights(tmp_path / "whole"), kept_weights(tmp_path / "continued"))
    assert equal(state(tmp_path / "whole"), state(tmp_path / "continued"))
    assert np.array_equal(trained.predictions.probabilities, whole.predictions.probabilities)
    timed = ("seconds", "seconds_per_epoch", "finished_at", "peak_memory_mb")
    results = [{**found.result.to_json(), **dict.fromkeys(timed)} for found in (trained, whole)]
    assert results[0] == results[1]
    if "stopped early" in request.node.callspec.id:
        assert len(expected) < long.trainer.max_epochs


def test_only_the_state_of_that_run_is_copied(config_of, task_of, tmp_path):
    prepared = task_of(config_of(), "short")
    fit(prepared)
    copy = (tmp_path / "short", tmp_path / "long")
    with pytest.raises(UserError, match=r"best.ckpt belongs to another run"):
        copy_state(*copy, ContinuedState("other", "short", 1), {"other"}, "key", prepared.config)
    with pytest.raises(UserError, match=r"last.ckpt is not the state of its last epoch"):
        copy_state(*copy, ContinuedState(prepared.key, "short", 2), {prepared.key}, "key", prepared.config)
    assert not (tmp_path / "long").exists()


LENGTH_MATTERS = {
    "cosine": ("scheduler=cosine",),
    "onecycle": ("scheduler=onecycle",),
    "takes total_steps": ("scheduler.name=torch.optim.lr_scheduler.OneCycleLR", "+scheduler.max_lr=0.1", "plugins=[torch]"),
    "trainer.callbacks": ("trainer.callbacks=[pytorch_lightning.callbacks.Timer]", "plugins=[pytorch_lightning]"),
    "LightningModule": ("model.name=pytorch_lightning.LightningModule", "plugins=[pytorch_lightning]"),
    "is a function": ("model.name=torch.nn.functional.relu", "plugins=[torch]"),
}


@pytest.mark.parametrize(("reason", "words"), LENGTH_MATTERS.items())
def test_why_the_length_of_a_run_matters(reason, words, config_of):
    assert reason in why_length_matters(config_of(*words))


@pytest.mark.long
def test_every_schedule_is_known_to_depend_or_not(config_of):
    dependent = {name for name in SCHEDULES if why_length_matters(config_of(f"scheduler={name}"))}
    assert dependent == {"cosine", "onecycle"}
    free = ("scheduler.name=torch.optim.lr_scheduler.MultiStepLR", "+scheduler.milestones=[2,4]", "plugins=[torch]")
    assert why_length_matters(config_of(*free)) == ""
