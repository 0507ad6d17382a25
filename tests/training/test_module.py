"""What is measured beside the training."""

import pytest

from fer_ablate.training.run import assess, fit

from .small_runs import Notes


@pytest.mark.parametrize("loss", ["class_weight=balanced", "label_smoothing=0.3", "name=focal"])
def test_the_val_loss_is_the_plain_cross_entropy_whatever_trains(config_of, task_of, loss):
    task, notes = task_of(config_of(f"loss.{loss}", "trainer.precision=fp32")), Notes()
    outcome = assess(task, fit(task, [notes]))
    assert outcome.result.splits["val"].metrics["loss"] == pytest.approx(notes.rows[1]["val/loss"], rel=1e-4)
