"""Counts of every epoch: of the training steps, and of the test role if all epochs are pooled."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from fer_ablate.training.assembly import build_evaluator
from fer_ablate.training.module import confusion
from fer_ablate.training.run import assess, fit

from .small_runs import kept_weights, same

POOLED = "evaluation.pool_epochs=true"
STILL = ("optimizer.lr=0", "model.norm=none", "model.dropout=0", "augment=none")
"""Trains without changing a weight, on images as they are."""


def test_pairs_are_counted_as_sklearn_counts_them():
    generator = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(50, 4, generator=generator), torch.randint(0, 3, (50,), generator=generator)
    expected = confusion_matrix(labels, scores.argmax(dim=1), labels=range(4))
    assert np.array_equal(confusion(scores, labels), expected)


def test_the_train_split_is_the_kept_epochs(config_of, run, task_of):
    config = config_of("trainer.max_epochs=3", "trainer.monitor=val/loss", "trainer.mode=min", "augment=pisa")
    trained, rows = run(config)
    found, measured = trained.result.splits["train"], rows[trained.result.best_epoch]
    for name in ("acc", "top2", "macro_f1", "loss"):
        assert found.metrics[name] == pytest.approx(measured[f"train/{name}"], rel=1e-5)
    data = task_of(config).data
    counts = np.bincount(data.faces.labels[data.roles["train"]], minlength=7)
    assert (found.n, np.sum(found.confusion, axis=1).tolist()) == (140, counts.tolist())
    assert [scores["support"] for scores in found.per_class.values()] == counts.tolist()
    assert list(trained.result.splits) == ["train", "val", "test", "public", "private"]


def test_still_training_counts_like_a_test(config_of, task_of):
    prepared = task_of(config_of(*STILL))
    module = fit(prepared)
    counted = assess(prepared, module).result.splits["train"]
    evaluator, data = build_evaluator(prepared.config, prepared.data.image_size, prepared.hardware), prepared.data
    found = evaluator.predict(module.network, module.preprocess, data.faces, data.roles["train"])
    guess = found.probabilities.argmax(axis=1)
    assert counted.confusion == confusion_matrix(found.labels, guess, labels=range(7)).tolist()


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param((), id="plain weights", marks=pytest.mark.slow),
        pytest.param(("trainer.ema_decay=0.9",), id="averaged weights"),
    ],
)
def test_pooled_predictions_are_those_of_all_epochs_together(recipe, config_of, run):
    def splits(epochs):
        config = config_of(POOLED, f"trainer.max_epochs={epochs}", "trainer.keep=last", "optimizer.lr=0.01", *recipe)
        return run(config, f"{epochs} epochs")[0].result.splits

    alone = [splits(epochs) for epochs in (1, 2)]
    for role in ("train", "test"):
        parts, whole = [each[role] for each in alone], alone[-1][f"{role}_pooled"]
        assert whole.n == sum(part.n for part in parts) == 2 * parts[0].n
        assert np.array_equal(whole.confusion, sum(np.array(part.confusion) for part in parts))
        for name in ("acc", "top2", "loss"):  # means over images; all epochs have equally many
            assert whole.metrics[name] == pytest.approx(np.mean([part.metrics[name] for part in parts]), rel=1e-5)
    # Epochs differ, or the above would say nothing; on some processors all of them predict one class, so not by their counts.
    assert len({each["test"].metrics["loss"] for each in alone}) == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(("augment=pisa", "model.dropout=0.5", "trainer.ema_decay=0.9"), id="random numbers and averaged weights"),
        pytest.param(
            ("model.trainable_convs=1", "scheduler=plateau", "scheduler.patience=0"),
            id="parts that stay in evaluation mode and a schedule that watches",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode")  # frozen parts are meant to be
def test_testing_after_every_epoch_changes_nothing(recipe, config_of, run, tmp_path):
    plain, rows = run(config_of("trainer.max_epochs=2", *recipe), "plain")
    pooled, watched = run(config_of("trainer.max_epochs=2", POOLED, *recipe), "pooled")
    assert rows == watched
    assert same(kept_weights(tmp_path / "plain"), kept_weights(tmp_path / "pooled"))
    assert same(kept_weights(tmp_path / "plain", "last.ckpt"), kept_weights(tmp_path / "pooled", "last.ckpt"))
    assert pooled.result.splits.keys() - plain.result.splits.keys() == {"train_pooled", "test_pooled"}
    assert all(pooled.result.splits[name] == plain.result.splits[name] for name in plain.result.splits)


@pytest.mark.slow
def test_every_crop_counts_in_training(config_of, task_of, run):
    config = config_of("augment.steps=[{op: ten_crop, size: 44}]", "trainer.max_epochs=2", POOLED)
    trained, rows = run(config)
    splits = trained.result.splits
    assert (splits["train"].n, splits["train_pooled"].n, splits["test"].n) == (1400, 2800, 70)
    assert splits["train"].metrics["acc"] == pytest.approx(rows[trained.result.best_epoch]["train/acc"], rel=1e-5)
