"""A run that was broken off ends as one that never was."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.errors import UserError
from fer_ablate.training.run import assess, finished_epochs, fit

from .small_runs import Breaker, Broken, Notes, kept_weights, same

STOPPING = ("optimizer.lr=0", "trainer.max_epochs=9", "trainer.early_stopping.patience=2")
PLATEAU = ("optimizer=sgd_nesterov", "scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5")
RECIPES = {
    "adam with a constant rate": (),
    "nesterov, and a plateau that acts": PLATEAU,
    "one cycle": ("optimizer=sgd_nesterov", "scheduler=onecycle"),
    "warm-up, then cosine": ("scheduler=cosine", "scheduler.warmup_epochs=1.5"),
    "averaged weights": ("trainer.ema_decay=0.9", "trainer.keep=last"),
    "early stopping": STOPPING,
    "augmentation and dropout": ("augment=pisa", "model.dropout=0.5"),
    "random crops": ("augment=vggnet_one_crop",),
    "accumulated and clipped gradients": ("trainer.accumulate=2", "trainer.gradient_clip=0.5", "scheduler=cosine"),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_run_broken_off_twice_equals_an_unbroken_one(recipe, config_of, run, task_of, tmp_path):
    config = config_of("trainer.max_epochs=4", "evaluation.pool_epochs=true", *recipe)
    unbroken, expected = run(config, "unbroken")
    task, notes = task_of(config, "broken"), Notes()
    for epoch in (2, 3):
        with pytest.raises(Broken):
            fit(task, [notes, Breaker(epoch)])
        assert finished_epochs(task.checkpoint_dir) == epoch - 1
    outcome = assess(task, fit(task, [notes]))
    assert notes.rows == expected
    assert same(kept_weights(tmp_path / "unbroken"), kept_weights(tmp_path / "broken"))
    assert np.array_equal(outcome.predictions.probabilities, unbroken.predictions.probabilities)
    assert outcome.result.splits == unbroken.result.splits
    assert outcome.result.best_epoch == unbroken.result.best_epoch
    assert outcome.result.epochs == len(expected)


def test_the_plateau_of_these_tests_acts(config_of, run):
    _, rows = run(config_of("trainer.max_epochs=4", *PLATEAU))
    assert len({row["lr"] for row in rows.values()}) > 2


def test_a_stopped_run_killed_before_its_test_is_not_trained_further(config_of, task_of):
    task, notes = task_of(config_of(*STOPPING)), Notes()
    fit(task, [notes])
    assert len(notes.rows) == 3  # the first epoch, then two without improvement
    outcome = assess(task, fit(task, [Breaker(4)]))
    assert outcome.result.epochs == 3


def test_a_run_whose_folder_was_moved_still_knows_its_best_epoch(config_of, run, task_of):
    # All epochs are equal, so the first one is the best; a run without memory would take a later one.
    task = task_of(config_of("trainer.max_epochs=3", "optimizer.lr=0", "model.norm=none"), "there")
    with pytest.raises(Broken):
        fit(task, [Breaker(3)])
    moved = replace(task, checkpoint_dir=task.checkpoint_dir.with_name("here"))
    shutil.move(task.checkpoint_dir, moved.checkpoint_dir)
    assert assess(moved, fit(moved)).result.best_epoch == 1


def test_the_checkpoint_of_another_run_is_not_resumed(config_of, task_of):
    fit(task_of(config_of("trainer.max_epochs=1")))
    with pytest.raises(UserError, match=r"last.ckpt belongs to another run .*force=true"):
        fit(task_of(config_of("trainer.max_epochs=2", "optimizer.lr=0.1")))
