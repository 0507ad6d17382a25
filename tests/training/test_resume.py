"""A run that was interrupted and resumed ends like one that never was."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.errors import UserError
from fer_ablate.training.run import assess, finished_epochs, fit

from ..cases import cases
from .small_runs import Breaker, Broken, Notes, kept_weights, same

STOPPING = ("optimizer.lr=0", "trainer.max_epochs=9", "trainer.early_stopping.patience=2")
PLATEAU = (
    "trainer.max_epochs=4", "optimizer=sgd_nesterov", "scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=0.5",
    "trainer.accumulate=2", "trainer.gradient_clip=0.5",
)  # fmt: skip
RECIPES = {
    "random images, averaged weights, warm-up": (
        "augment=pisa", "model.dropout=0.5", "trainer.ema_decay=0.9", "trainer.keep=last", "scheduler=cosine",
        "scheduler.warmup_epochs=1.5",
    ),
}  # fmt: skip
MORE = {
    "accumulated and clipped gradients, and a plateau that acts": PLATEAU,
    "early stopping": STOPPING,
    "adam with a constant rate": (),
    "one cycle": ("optimizer=sgd_nesterov", "scheduler=onecycle"),
    "random crops": ("augment=vggnet_one_crop",),
}
"""Further parts whose state is kept like that of the above."""


@pytest.mark.parametrize("recipe", cases(RECIPES | MORE, slow=MORE))
def test_an_interrupted_run_equals_an_unbroken_one(recipe, config_of, run, task_of, tmp_path):
    config = config_of("trainer.max_epochs=3", "evaluation.pool_epochs=true", *recipe)
    unbroken, expected = run(config, "unbroken")
    prepared, notes = task_of(config, "broken"), Notes()
    for epoch in (2, 3):
        with pytest.raises(Broken):
            fit(prepared, [notes, Breaker(epoch)])
        assert finished_epochs(prepared.checkpoint_dir) == epoch - 1
    trained = assess(prepared, fit(prepared, [notes]))
    assert notes.rows == expected
    assert same(kept_weights(tmp_path / "unbroken"), kept_weights(tmp_path / "broken"))
    assert np.array_equal(trained.predictions.probabilities, unbroken.predictions.probabilities)
    assert trained.result.splits == unbroken.result.splits
    assert trained.result.best_epoch == unbroken.result.best_epoch
    assert trained.result.epochs == len(expected)
    if recipe is PLATEAU:
        assert len({row["lr"] for row in expected.values()}) > 2


def test_a_stopped_run_is_not_trained_further(config_of, task_of):
    prepared, notes = task_of(config_of(*STOPPING)), Notes()
    fit(prepared, [notes])
    assert len(notes.rows) == 3  # the first epoch, then two without improvement
    trained = assess(prepared, fit(prepared, [Breaker(4)]))
    assert trained.result.epochs == 3


def test_a_moved_run_knows_its_best_epoch(config_of, run, task_of):
    # All epochs are equal, so the first one is the best; a run without memory would take a later one.
    prepared = task_of(config_of("trainer.max_epochs=3", "optimizer.lr=0", "model.norm=none"), "there")
    with pytest.raises(Broken):
        fit(prepared, [Breaker(3)])
    moved = replace(prepared, checkpoint_dir=prepared.checkpoint_dir.with_name("here"))
    shutil.move(prepared.checkpoint_dir, moved.checkpoint_dir)
    assert assess(moved, fit(moved)).result.best_epoch == 1


def test_the_checkpoint_of_another_run_is_not_resumed(config_of, task_of):
    fit(task_of(config_of("trainer.max_epochs=1")))
    with pytest.raises(UserError, match=r"last.ckpt belongs to another run .*force=true"):
        fit(task_of(config_of("trainer.max_epochs=2", "optimizer.lr=0.1")))
