"""Plain steps are done without Lightning's hooks and give what Lightning's own steps give."""

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import LambdaCallback

from fer_ablate.training import epoch_loop
from fer_ablate.training.checkpoints import read
from fer_ablate.training.run import fit

from ..cases import cases
from .small_runs import Notes


class Hooks(Callback):
    """Notes the hooks of every step, the loss it reports, and whether the step was a plain one."""

    def __init__(self):
        self.called, self.losses, self.plain = [], [], set()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.called.append(("start", batch_idx))
        self.plain.add(trainer.fit_loop.epoch_loop._plain)

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        self.called.append(("zero", pl_module.network.output.weight.grad is None))

    def on_before_backward(self, trainer, pl_module, loss):
        self.called.append(("backward", loss.requires_grad))

    def on_after_backward(self, trainer, pl_module):
        self.called.append(("gradients", pl_module.network.output.weight.grad is not None))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.called.append(("step", trainer.global_step))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.called.append(("end", trainer.global_step))
        self.losses.append(float(outputs["loss"]))


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


RECIPES = {
    "adam and one cycle": ("scheduler=onecycle",),
    "clipped gradients and averaged weights": ("trainer.gradient_clip=0.1", "trainer.ema_decay=0.9", "optimizer=sgd_nesterov"),
    "plateau with a warm-up": ("scheduler=plateau", "scheduler.warmup_epochs=1", "scheduler.patience=0"),
}


@pytest.mark.long
@pytest.mark.parametrize("recipe", cases(RECIPES, slow=["adam and one cycle"]))
def test_plain_steps_equal_those_of_lightning(recipe, config_of, task_of, monkeypatch):
    config, found = config_of("trainer.max_epochs=2", *recipe), []
    monkeypatch.setattr(epoch_loop, "_is_known", lambda _: True)
    for folder in ("ours", "theirs"):
        if folder == "theirs":
            monkeypatch.setattr(epoch_loop, "_is_plain", lambda *_: False)
        prepared, notes, hooks = task_of(config, folder), Notes(), Hooks()
        fit(prepared, [notes], [hooks])
        checkpoint = read(prepared.checkpoint_dir / "last.ckpt")
        del checkpoint["fer_ablate_seconds"]
        found.append((notes.rows, hooks, checkpoint))
    (ours, our_hooks, our_checkpoint), (theirs, their_hooks, their_checkpoint) = found
    assert (our_hooks.plain, their_hooks.plain) == ({True}, {False})
    assert ours == theirs
    assert our_hooks.called == their_hooks.called
    assert our_hooks.losses == their_hooks.losses
    assert our_checkpoint.keys() == their_checkpoint.keys()
    for key in our_checkpoint:  # weights, optimizer, schedules, and the counts of steps and batches
        assert equal(our_checkpoint[key], their_checkpoint[key]), key


@pytest.mark.parametrize("words", ["trainer.accumulate=2", "trainer.profiler=simple"])
def test_other_steps_are_left_to_lightning(words, config_of, task_of, monkeypatch):
    monkeypatch.setattr(epoch_loop, "_is_known", lambda _: True)
    hooks = Hooks()
    fit(task_of(config_of(words)), callbacks=[hooks])
    assert hooks.plain == {False}


def test_callbacks_of_others_may_log_in_steps(config_of, task_of):
    logged = []

    def log(trainer, pl_module, *_):
        pl_module.log("mine", 1.0, on_step=True)
        logged.append(trainer.fit_loop.epoch_loop._plain)

    fit(task_of(config_of()), callbacks=[LambdaCallback(on_train_batch_end=log)])
    assert set(logged) == {False}
