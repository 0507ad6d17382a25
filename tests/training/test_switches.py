"""What the switches of `trainer` do to a run."""

from itertools import pairwise
from shutil import which

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback
from sklearn.metrics import confusion_matrix

from fer_ablate.errors import UserError
from fer_ablate.training.assembly import build_evaluator, build_module
from fer_ablate.training.run import assess, fit

from .small_runs import kept_weights, same

PLAIN = ("model.norm=none", "model.dropout=0", "optimizer=sgd", "optimizer.lr=0.1")
"""No randomness but the order, and a step that is a multiple of the gradient."""


class Steps(Callback):
    """Notes the labels of every training batch, the weights after every step, and how validation is run."""

    def __init__(self):
        self.train, self.val, self.weights, self.modes = [], [], [], set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.train.append((trainer.current_epoch, batch[1].tolist()))
        self.weights.append({name: value.clone() for name, value in pl_module.network.state_dict().items()})

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.modes.add((pl_module.network.training, torch.is_grad_enabled()))

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.val.append(len(batch[1]))


def steps_of(prepared):
    seen = Steps()
    fit(prepared, callbacks=[seen])
    return seen


def norm_of(first, second):
    return sum(((first[name] - second[name]) ** 2).sum() for name in first).sqrt()


@pytest.mark.long
def test_only_equal_seeds_give_equal_weights(config_of, run, tmp_path):
    for folder, seed in (("first", 5), ("again", 5), ("other", 6)):
        run(config_of(f"seed={seed}", "augment=pisa", "trainer.limit_train_batches=2"), folder)
    first = kept_weights(tmp_path / "first")
    assert same(first, kept_weights(tmp_path / "again"))
    assert not same(first, kept_weights(tmp_path / "other"))


def test_what_is_validated_is_what_is_tested(config_of, run):
    trained, rows = run(config_of("trainer.max_epochs=2", "trainer.keep=last", "trainer.evaluation_batch_size=17"))
    tested = trained.result.splits["val"].metrics
    for name in ("acc", "top2", "macro_f1", "loss"):
        assert rows[2][f"val/{name}"] == pytest.approx(tested[name], rel=1e-4)


def test_validation_is_in_evaluation_mode_and_without_gradients(config_of, task_of):
    assert steps_of(task_of(config_of())).modes == {(False, False)}


def test_bf16_keeps_weights_in_32_bits(config_of, task_of):
    prepared, types = task_of(config_of("trainer.precision=bf16", "trainer.limit_train_batches=1")), set()

    class Types(Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.network.register_forward_hook(lambda _module, _given, scores: types.add(scores.dtype))

    module = fit(prepared, callbacks=[Types()])
    assert types == {torch.bfloat16}
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert assess(prepared, module).result.environment["precision"] == "bf16-mixed"


@pytest.mark.parametrize(("limit", "batches"), [("0.5", 2), ("3", 3)])
def test_a_limit_is_a_fraction_or_number(limit, batches, config_of, task_of):
    small = "trainer.evaluation_batch_size=16"  # 70 val images: 5 batches, as there are of training
    seen = steps_of(task_of(config_of(f"trainer.limit_train_batches={limit}", f"trainer.limit_val_batches={limit}", small)))
    assert (len(seen.train), len(seen.val)) == (batches, batches)


@pytest.mark.long
@pytest.mark.parametrize(
    ("limit", "n"),
    [("2", 32), ("0.1", 7), ("1", 70), ("0.001", 1)],
    ids=["batches", "a fraction", "all of it", "never nothing"],
)
def test_limited_tests_take_the_first_images(limit, n, config_of, run):
    pooled = ("evaluation.pool_epochs=true", "trainer.limit_train_batches=1", "trainer.evaluation_batch_size=16")
    trained, _ = run(config_of(*pooled, f"trainer.limit_test_batches={limit}"))
    found = {name: split.n for name, split in trained.result.splits.items() if not name.startswith("train")}
    assert found == dict.fromkeys(("val", "test", "public", "private", "test_pooled"), n)


def test_train_is_tested_as_it_is(config_of, task_of):
    """With the kept weights, without dropout and augmentation; the predictions of these images are not kept."""
    given = ("model.dropout=0.5", "augment=flip", "trainer.max_epochs=1", "trainer.limit_train_batches=2")
    prepared = task_of(config_of("evaluation.train=true", *given))
    module = fit(prepared)
    tested = assess(prepared, module)
    rows = prepared.data.roles["train"]
    evaluator = build_evaluator(prepared.config, prepared.data.image_size, prepared.hardware)
    by_hand = evaluator.predict(module.network, module.preprocess, prepared.data.faces, rows)
    counts = confusion_matrix(by_hand.labels, by_hand.probabilities.argmax(axis=1), labels=range(7)).tolist()
    assert tested.result.splits["train_eval"].confusion == counts
    assert tested.result.splits["train"].n < tested.result.splits["train_eval"].n == len(rows)
    assert not np.isin(rows, tested.predictions.rows).any()


@pytest.mark.parametrize(
    ("key", "batches"), [("limit_train_batches", "5 batches"), ("overfit_batches", "5 batches"), ("limit_val_batches", "1 batch")]
)
def test_a_fraction_below_one_batch_is_refused(config_of, task_of, key, batches):
    with pytest.raises(UserError, match=rf"trainer.{key} = 0.1 of {batches} leaves none"):
        fit(task_of(config_of(f"trainer.{key}=0.1")))


def test_overfitting_sees_the_same_batches_in_every_epoch(config_of, task_of):
    seen = steps_of(task_of(config_of("trainer.overfit_batches=2", "trainer.max_epochs=3"))).train
    epochs = [[labels for number, labels in seen if number == epoch] for epoch in range(3)]
    assert len(epochs[0]) == 2
    assert epochs[0] == epochs[1] == epochs[2]


def test_fast_dev_run_keeps_nothing(config_of, task_of):
    prepared = task_of(config_of("trainer.fast_dev_run=2", "trainer.evaluation_batch_size=32"))
    seen = steps_of(prepared)
    assert (len(seen.train), len(seen.val)) == (2, 2)
    assert assess(prepared, fit(prepared)).result.splits["val"].n == 64
    one = task_of(config_of("trainer.fast_dev_run=1", "trainer.evaluation_batch_size=32"))
    assert assess(one, fit(one)).result.splits["test"].n == 32
    assert not prepared.checkpoint_dir.exists()


def test_accumulating_two_batches_equals_one_large(config_of, run, tmp_path):
    run(config_of(*PLAIN, "trainer.batch_size=64", "trainer.limit_train_batches=2"), "large")
    run(config_of(*PLAIN, "trainer.accumulate=2", "trainer.limit_train_batches=4"), "accumulated")
    large, accumulated = kept_weights(tmp_path / "large"), kept_weights(tmp_path / "accumulated")
    for name in large:
        torch.testing.assert_close(accumulated[name], large[name], rtol=1e-5, atol=1e-6)


def test_a_clipped_step_has_the_clips_length(config_of, task_of):
    prepared = task_of(config_of(*PLAIN, "trainer.gradient_clip=0.01"))
    weights = [build_module(prepared.config, prepared.data, prepared.key).network.state_dict(), *steps_of(prepared).weights]
    lengths = [float(norm_of(before, after)) for before, after in pairwise(weights)]
    assert lengths == pytest.approx([0.1 * 0.01] * 5, rel=1e-3)  # lr x clip


def test_averaged_weights_are_kept_and_are_the_average(config_of, task_of):
    prepared = task_of(config_of("trainer.ema_decay=0.9", "model.norm=none"))
    weights = steps_of(prepared).weights
    average = weights[0]
    for step in weights[1:]:
        average = {name: 0.9 * average[name] + 0.1 * step[name] for name in average}
    kept = kept_weights(prepared.checkpoint_dir)
    for name in kept:
        torch.testing.assert_close(kept[name], average[name])
    assert not same(kept, weights[-1])


def test_averaged_weights_are_what_is_validated_and_tested(config_of, run):
    trained, rows = run(config_of("trainer.ema_decay=0.9", "trainer.keep=last"))
    assert rows[1]["val/loss"] == pytest.approx(trained.result.splits["val"].metrics["loss"], rel=1e-4)


def test_keep_last_tests_the_last_epoch(config_of, task_of):
    prepared = task_of(config_of("trainer.keep=last", "trainer.max_epochs=3", "optimizer.lr=0", "model.norm=none"))
    trained = assess(prepared, fit(prepared))
    assert trained.result.best_epoch == 3  # all are equal, and of equals `best` keeps the first
    assert same(kept_weights(prepared.checkpoint_dir), kept_weights(prepared.checkpoint_dir, "last.ckpt"))


def test_best_is_the_epoch_with_the_best_metric(config_of, run):
    trained, rows = run(config_of("trainer.max_epochs=3", "trainer.monitor=val/loss", "trainer.mode=min", "optimizer.lr=0.01"))
    losses = [rows[epoch]["val/loss"] for epoch in sorted(rows)]
    assert trained.result.best_epoch == 1 + int(np.argmin(losses))
    assert trained.result.splits["val"].metrics["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_the_profile_lies_beside_the_checkpoints(config_of, task_of):
    prepared = task_of(config_of("trainer.profiler=simple"))
    fit(prepared)
    assert "training_step" in (prepared.checkpoint_dir / "fit-profile.txt").read_text()


def test_deterministic_switches_torch_to_deterministic_algorithms(config_of, task_of):
    try:
        fit(task_of(config_of("trainer.deterministic=true", "augment=vggnet", "trainer.limit_train_batches=1")))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_an_infinite_loss_names_the_learning_rate(config_of, task_of):
    with pytest.raises(UserError, match=r"training loss became nan in epoch 1. Lower optimizer.lr"):
        fit(task_of(config_of("optimizer.lr=1e30")))


LOST = ("optimizer=sgd", "optimizer.lr=1e30", "trainer.limit_train_batches=0.2", "trainer.max_epochs=1")
"""The only step of the epoch ruins the weights, and its own loss is that of the weights before."""


@pytest.mark.parametrize("words", [("trainer.early_stopping.patience=1",), ("trainer.keep=last",)])
def test_weights_lost_after_training_are_no_result(config_of, task_of, words):
    with pytest.raises(UserError, match=r"val loss became nan in epoch 1. Lower optimizer.lr"):
        fit(task_of(config_of(*LOST, *words)))


def test_unseen_lost_weights_are_no_result(config_of, task_of):
    unseen = task_of(config_of(*LOST, "trainer.limit_val_batches=0", "trainer.keep=last", "trainer.monitor=train/acc"))
    with pytest.raises(UserError, match="no finite probabilities"):
        assess(unseen, fit(unseen))


@pytest.mark.slow
@pytest.mark.skipif(which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own use of it
def test_a_compiled_network_trains_alike(config_of, run, tmp_path):
    eager, _ = run(config_of(*PLAIN), "eager")
    compiled, _ = run(config_of(*PLAIN, "trainer.compile=true"), "compiled")
    first, second = kept_weights(tmp_path / "eager"), kept_weights(tmp_path / "compiled")
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4)
    assert compiled.result.macs == eager.result.macs > 0
