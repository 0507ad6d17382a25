"""What is the same in every epoch is computed once, and the run is the same as if it were not."""

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from fer_ablate.models.build import StageNetwork
from fer_ablate.models.transfer import after_parts, before_parts, frozen_parts, network_parts
from fer_ablate.training import kept_inputs
from fer_ablate.training.assembly import build_module
from fer_ablate.training.run import assess, fit

from .small_runs import Breaker, Broken, Notes, kept_weights, same


@pytest.fixture
def slow(monkeypatch):
    """Leaves no memory for what could be kept."""

    def switch():
        monkeypatch.setattr(kept_inputs, "FEATURES_SHARE", 0)
        monkeypatch.setattr(kept_inputs, "PIXELS_MB", 0)

    return switch


class Seen(Callback):
    """Notes how many parts of the network the batches of each epoch have passed, and unfreezes all in one epoch."""

    def __init__(self, unfrozen=None):
        self.unfrozen, self.computed, self.shapes = unfrozen, [], []

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.unfrozen:
            pl_module.network.requires_grad_(True)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.computed.append(dict(pl_module.computed))
            self.shapes.append(tuple(batch[0].shape[1:]))


@pytest.mark.long
@pytest.mark.parametrize(
    ("trained", "last"),
    [
        pytest.param(0, "true", id="features of the whole body, channels last", marks=pytest.mark.slow),
        pytest.param(2, "false", id="maps before the last convolutions, channels first"),
        pytest.param(0, "false", id="features of the whole body, channels first", marks=pytest.mark.slow),
        pytest.param(2, "true", id="maps before the last convolutions, channels last", marks=pytest.mark.slow),
    ],
)
def test_kept_features_train_the_same_head(trained, last, config_of, task_of, slow):
    config = config_of(
        "trainer.max_epochs=3", "model.dropout=0", f"model.trainable_convs={trained}", f"trainer.channels_last={last}"
    )
    results = {}
    for name in ("fast", "slow"):
        if name == "slow":
            slow()
        prepared, notes, seen = task_of(config, name), Notes(), Seen()
        trained_run = assess(prepared, fit(prepared, [notes], [seen]))
        results[name] = notes.rows, trained_run.predictions.probabilities, kept_weights(prepared.checkpoint_dir), seen
    assert results["fast"][3].computed[0].keys() == {"train", "val"}
    assert not any(results["slow"][3].computed)
    for epoch, row in results["slow"][0].items():
        assert results["fast"][0][epoch] == pytest.approx(row, rel=1e-5)
    np.testing.assert_allclose(results["fast"][1], results["slow"][1], atol=1e-5)
    assert results["fast"][2].keys() == results["slow"][2].keys()  # the checkpoint holds the whole network


def test_kept_pixels_change_no_bit(config_of, task_of, slow):
    found = []
    for name in ("fast", "slow"):
        if name == "slow":
            slow()
        prepared, notes = task_of(config_of("trainer.max_epochs=2", "data.prepare=[{op: equalize, p: 1}]"), name), Notes()
        fit(prepared, [notes])
        found.append((notes.rows, kept_weights(prepared.checkpoint_dir)))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])


def test_augmented_images_are_not_kept(config_of, task_of):
    seen = Seen()
    fit(task_of(config_of("augment=flip", "model.trainable_convs=0")), callbacks=[seen])
    assert seen.computed[0].keys() == {"val"}
    assert seen.shapes[0][-1] == 48


def test_a_resumed_head_gets_the_same_features(config_of, task_of):
    config = config_of("trainer.max_epochs=3", "model.trainable_convs=0")
    whole, broken = task_of(config, "whole"), task_of(config, "broken")
    fit(whole)
    with pytest.raises(Broken):
        fit(broken, [Breaker(2)])
    fit(broken)
    assert same(kept_weights(whole.checkpoint_dir, "last.ckpt"), kept_weights(broken.checkpoint_dir, "last.ckpt"))


def test_unfrozen_layers_get_faces_again(config_of, task_of):
    seen = Seen(unfrozen=1)
    fit(task_of(config_of("trainer.max_epochs=3", "model.trainable_convs=0")), callbacks=[seen])
    assert [bool(computed) for computed in seen.computed] == [True, False, False]
    assert seen.shapes[0] != seen.shapes[1] == (1, 48, 48)


def test_parts_make_up_the_network(config_of, task_of):
    prepared = task_of(config_of("model.trainable_convs=1", "model.dropout=0"))
    network = build_module(prepared.config, prepared.data, prepared.key).network.train()
    faces, count = torch.rand(4, 1, 48, 48), frozen_parts(network)
    assert 0 < count < len(network_parts(network))
    torch.manual_seed(0)
    expected = network(faces)
    torch.manual_seed(0)
    assert torch.equal(after_parts(network, before_parts(network, faces, count), count), expected)


def test_a_forward_of_ones_own_is_kept_whole(config_of, task_of):
    prepared = task_of(config_of("model.trainable_convs=0", "model.dropout=0"))
    network = build_module(prepared.config, prepared.data, prepared.key).network
    assert frozen_parts(network) > 0
    network.__class__ = type("Own", (StageNetwork,), {"forward": lambda self, faces: self.output(faces)})
    assert network_parts(network) == [network]
    assert frozen_parts(network) == 0


def test_dropout_in_a_frozen_stage_ends_the_features(config_of, task_of):
    prepared = task_of(config_of("model.trainable_convs=0", "model.dropout=0.5"))
    network = build_module(prepared.config, prepared.data, prepared.key).network
    passed = [module for part in network_parts(network)[: frozen_parts(network)] for module in part.modules()]
    assert not any(isinstance(module, torch.nn.Dropout) for module in passed)
