"""What is said of parts of the user's own that do not fit, before anything is trained."""

import pytest
import torch

from fer_ablate.data.load import load_faces
from fer_ablate.errors import FaultyConfigError
from fer_ablate.training.checks import run_faults
from fer_ablate.training.dry_batch import dry_batch

PARTS = """
import pytorch_lightning as pl
import torch
from torch import nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassRecall

class Flat(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(2304 * in_channels, num_classes))
    def forward(self, x):
        return self.layers(x)

class Pair(Flat):
    def forward(self, x):
        return self.layers(x), self.layers(x)

class Five(Flat):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, 5)

class Auxiliary(Flat):
    def forward(self, x):
        return [self.layers(x)] if self.training else self.layers(x)

class NoChannels(Flat):
    def __init__(self, num_classes):
        super().__init__(1, num_classes)

class Raises(Flat):
    def forward(self, x):
        return self.layers(x.view(3))

class NotBuilt(Flat):
    def __init__(self, in_channels, num_classes):
        raise KeyError("weights")

class Root(Flat):
    def forward(self, x):
        return torch.sqrt(self.layers(x) * 0)

class Infinite(Flat):
    def forward(self, x):
        return self.layers(x) / 0

class Detached(Flat):
    def forward(self, x):
        return self.layers(x).detach()

class Soft(Flat):
    def forward(self, x):
        return self.layers(x).softmax(dim=1)

class Spare(Flat):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, num_classes)
        self.unused = nn.Linear(2, 2)

def no_network(in_channels, num_classes):
    return "net"

class Lit(pl.LightningModule):
    def __init__(self, in_channels, num_classes, gives="loss"):
        super().__init__()
        self.flat, self.gives = Flat(in_channels, num_classes), gives
    def forward(self, x):
        return self.flat(x)
    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        few = {"loss": loss, "scores": self(batch[0])[:, :2]}
        return {"loss": loss, "none": None, "many": loss.expand(3), "scores": few}[self.gives]
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

def each(scores, targets):
    return nn.functional.cross_entropy(scores, targets, reduction="none")
def flat(scores, targets):
    return (scores.argmax(dim=1) == targets).float().mean()
def text(scores, targets):
    return "low"
def fails(scores, targets, weight):
    return scores @ targets
class Weighted(nn.CrossEntropyLoss):
    pass

def smaller(faces):
    return faces[..., 1:]
def brighter(faces):
    return faces + 1
def shaken(faces):
    return (faces + 0.1 * torch.rand_like(faces)).clamp(0, 1)
def broken(faces, strength=1.0):
    raise RuntimeError("out of luck")

class NoScheduler:
    def __init__(self, optimizer): pass
class Negative(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self):
        return [-1.0 for _ in self.base_lrs]

class Steady(torch.optim.lr_scheduler.LRScheduler):
    def get_lr(self):
        return self.base_lrs

class NoCallback:
    pass
"""


@pytest.fixture(autouse=True)
def _parts(tmp_path, monkeypatch):
    (tmp_path / "bad_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def said(config_of):
    """Everything that is said of a run with these words: its faults, else the notes of the dry batch."""

    def all_of(*words):
        config = config_of("plugins=[bad_parts]", *words)
        if faults := run_faults(config):
            return "\n".join(map(str, faults))
        try:
            return "\n".join(dry_batch(config, load_faces(config.data, plugins=config.plugins)))
        except FaultyConfigError as error:
            return str(error)

    return all_of


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pair", "model.name: bad_parts.Pair returns a tuple of 2, not a tensor.\n    Return the scores (N, K) alone"),
        ("Five", "model.name: bad_parts.Five gives 5 outputs for 7 classes."),
        ("NoChannels", "model.name: bad_parts.NoChannels takes no in_channels."),
        ("Auxiliary", "bad_parts.Auxiliary returns a list of 1, not a tensor."),
        ("Raises", "bad_parts.Raises fails on the first batch of shape 8x1x48x48: RuntimeError: shape '[3]' is invalid"),
        ("NotBuilt", "model.name: bad_parts.NotBuilt fails: KeyError: 'weights' (bad_parts.py, line 37)."),
        ("Infinite", "returns scores that are not finite on the first batch."),
        ("Root", "the gradient of layers.1.weight, layers.1.bias is not finite on the first batch."),
        ("Detached", "model.name: bad_parts.Detached returns scores without a gradient."),
        ("no_network", "gives an object of the class str, and no network."),
        ("Flat", ""),
    ],
)
def test_a_wrong_network_is_a_fault_in_words(said, name, message):
    found = said(f"model.name=bad_parts.{name}")
    assert message in found
    assert bool(found) == bool(message)


def test_a_softmax_at_the_end_is_a_note(said):
    assert said("model.name=bad_parts.Soft").startswith("The scores of bad_parts.Soft look like probabilities")


def test_weights_without_a_gradient_are_named(said):
    assert said("model.name=bad_parts.Spare") == (
        "unused.weight, unused.bias of bad_parts.Spare get no gradient, so they keep their first values."
    )


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        ("loss", "Of bad_parts.Lit only forward and training_step are used, not configure_optimizers."),
        ("none", "bad_parts.Lit.training_step returned NoneType. Return the loss"),
        ("many", "bad_parts.Lit.training_step returned a tensor of (3,)."),
        ("scores", "bad_parts.Lit.training_step gives 2 outputs for 7 classes."),
    ],
)
def test_a_training_step_has_to_give_a_loss(said, gives, message):
    assert message in said("model.name=bad_parts.Lit", f"+model.arguments.gives={gives}")


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss.name=bad_parts.each"], "loss.name: bad_parts.each returns a tensor of shape 8.\n    Return one number"),
        (["loss.name=bad_parts.flat"], "loss.name: bad_parts.flat has no gradient."),
        (["loss.name=bad_parts.text"], "loss.name: bad_parts.text returns a str, not a tensor."),
        (["loss.name=bad_parts.fails"], "loss.arguments.weight: is missing"),
        (["loss.name=bad_parts.fails", "loss.arguments.weight=1"], "bad_parts.fails fails on the first batch of shape 8x7"),
        (["loss.name=bad_parts.each", "loss.class_weight=balanced"], "loss.class_weight: balanced, but bad_parts.each takes"),
        (["loss.name=bad_parts.each", "loss.label_smoothing=0.1"], "loss.label_smoothing: 0.1 does not reach bad_parts.each."),
        (["loss.name=bad_parts.Weighted", "loss.class_weight=balanced"], ""),
        (["loss.arguments.gamma=1"], "loss.arguments: gamma given, but only a plugin"),
        (["loss.name=crossentropy"], "loss.name: 'crossentropy' is not known.\n    Did you mean 'cross_entropy'?"),
        (["augment.steps=[{op: bad_parts.smaller}]"], "augment.steps[0].op: bad_parts.smaller turns images"),
        (["augment.steps=[{op: flip}, {op: bad_parts.brighter}]"], "augment.steps[1].op: bad_parts.brighter returns pixels"),
        (["augment.steps=[{op: bad_parts.broken, strong: 1}]"], "augment.steps[0].strong: broken takes no such argument.\n"),
        (["augment.steps=[{op: bad_parts.broken}]"], "RuntimeError: out of luck (bad_parts.py, line "),
        (["augment.steps=[{op: bad_parts.shaken}]"], ""),
        (["data.prepare=[{op: bad_parts.shaken}]"], "data.prepare[0].op: bad_parts.shaken changes an image in another way"),
        (["scheduler.name=bad_parts.NoScheduler"], "gives an object of the class NoScheduler, and no scheduler"),
        (["scheduler.name=bad_parts.Negative"], "scheduler.name: bad_parts.Negative sets the learning rate to -1.0"),
        (["scheduler.name=bad_parts.Negative", "+scheduler.interval=day"], "scheduler.interval: 'day' is unknown."),
        (["scheduler.name=bad_parts.Steady", "+scheduler.interval=epoch"], ""),
        (["scheduler.name=bad_parts.Steady", "scheduler.warmup_epochs=0.5"], ""),
        (["scheduler.name=bad_parts.Steady", "scheduler.warmup_epochs=0.5", "+scheduler.interval=epoch"], "warm-up counts"),
        (["data.reader=bad_parts.flat"], "data.reader: given with data=synthetic."),
        (["trainer.callbacks=[bad_parts.NoCallback]"], "trainer.callbacks[0].name: bad_parts.NoCallback gives an object"),
        (["evaluation.metrics={acc: bad_parts.MulticlassRecall}"], "evaluation.metrics.acc: there is such a metric already."),
        (["evaluation.metrics={a: {name: bad_parts.MulticlassRecall, average: none}}"], "evaluation.metrics.a: gives 7 numbers"),
        (["evaluation.metrics={a: {name: bad_parts.MulticlassRecall, averag: a}}"], "fails: ValueError: Unexpected"),
    ],
)  # fmt: skip
def test_another_wrong_part_is_a_fault_in_words(said, words, message):
    found = said(*words)
    assert message in found
    assert bool(found) == bool(message)


def test_all_faults_are_shown_at_once(said):
    found = said("model.name=bad_parts.Five", "trainer.callbacks=[bad_parts.NoCallback]", "loss.name=bad_parts.each")
    assert found.startswith("2 faults")  # the loss of a wrong network says nothing


def test_a_dry_batch_leaves_random_numbers_alone(said):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    said("model.name=bad_parts.Flat", "augment.steps=[{op: bad_parts.shaken}]")
    assert torch.equal(torch.get_rng_state(), before)
