"""Metrics that are measured during training."""

import pytest
import torch

from fer_ablate.errors import UserError
from fer_ablate.training.assembly import build_batches, build_module
from fer_ablate.training.run import assess, fit

from .small_runs import Notes


@pytest.mark.long
@pytest.mark.parametrize("loss", ["class_weight=balanced", "label_smoothing=0.3", "name=focal"])
def test_the_val_loss_is_always_plain_cross_entropy(config_of, task_of, loss):
    prepared, notes = task_of(config_of(f"loss.{loss}", "trainer.precision=fp32")), Notes()
    trained = assess(prepared, fit(prepared, [notes]))
    assert trained.result.splits["val"].metrics["loss"] == pytest.approx(notes.rows[1]["val/loss"], rel=1e-4)


class TwoViews(torch.nn.Module):
    """Adds the mirror of every image."""

    def forward(self, faces):
        seen = torch.stack([faces, faces.flip(-1)], dim=1).flatten(0, 1).float()
        return (seen / 255 - 0.5) / 0.5


@pytest.mark.parametrize("soft", [False, True], ids=["classes", "distributions"])
def test_every_view_is_trained_on_its_label(soft, config_of, task_of):
    prepared = task_of(config_of("model.norm=none", "model.dropout=0"))
    module = build_module(prepared.config, prepared.data, prepared.key)
    module.preprocess = TwoViews()
    faces, labels = next(iter(build_batches(prepared.config, prepared.data, "train")))
    targets = torch.nn.functional.one_hot(labels, 7).float() if soft else labels
    loss = module.training_step((faces, targets), 0).detach()
    with torch.no_grad():
        scores = torch.cat([module.network(module.preprocess(faces)[view::2]) for view in (0, 1)])
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, labels.repeat(2)))
    right = (scores.argmax(dim=1) == labels.repeat(2)).float().mean()
    module._measure("train")
    torch.testing.assert_close(module.train_metrics["acc"].compute(), right)


def freeze(network, names):
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in names)


def test_frozen_weights_stay_out_of_the_optimizer(config_of, task_of, monkeypatch):
    prepared = task_of(config_of("trainer.ema_decay=0.5", "optimizer.weight_decay=0.1"))
    module = build_module(prepared.config, prepared.data, prepared.key)
    frozen = {name for name, _ in module.network.named_parameters() if name.startswith("stages.0")}
    freeze(module.network, frozen)
    monkeypatch.setattr("fer_ablate.training.run.build_module", lambda *_: module)
    before = {name: parameter.clone() for name, parameter in module.network.named_parameters()}
    fit(prepared)
    (optimizer,) = module.trainer.optimizers
    given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert given == {id(parameter) for name, parameter in module.network.named_parameters() if name not in frozen}
    stayed = {name for name, parameter in module.network.named_parameters() if torch.equal(parameter, before[name])}
    assert stayed == frozen


def test_a_network_with_nothing_to_train_is_refused(config_of, task_of, monkeypatch):
    prepared = task_of(config_of())
    module = build_module(prepared.config, prepared.data, prepared.key)
    module.network.requires_grad_(False)
    monkeypatch.setattr("fer_ablate.training.run.build_module", lambda *_: module)
    with pytest.raises(UserError, match=r"nothing to train\. Raise model\.trainable_convs"):
        fit(prepared)
