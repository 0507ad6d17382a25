"""Runs that start from the weights of another run."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_ablate.config.behaviour import code_digest
from fer_ablate.config.key import relevant, run_key
from fer_ablate.errors import UserError
from fer_ablate.training.assembly import build_module
from fer_ablate.training.checkpoints import file_start, load_start
from fer_ablate.training.identity import machine_settings, run_identity
from fer_ablate.training.run import assess, fit
from fer_ablate.training.start import Start, output_notes

from ..cases import cases
from .small_runs import Breaker, Broken, kept_weights, same

STILL = ("optimizer.lr=0", "model.norm=none")  # trains without changing a weight


@pytest.fixture
def start_of(task_of):
    """Weights that a run of this config was trained to."""

    def build(config, folder="first"):
        prepared = task_of(config, folder)
        fit(prepared)
        return file_start(prepared.checkpoint_dir / "best.ckpt")

    return build


STARTED = {
    "plainly": (),
    "averaged": ("trainer.ema_decay=0.5",),
    "in the other memory format": ("trainer.channels_last=false",),
    "with another seed": ("trainer.keep=last", "seed=5"),
}


@pytest.mark.long
@pytest.mark.parametrize("overrides", cases(STARTED, slow=["plainly", "with another seed"]))
def test_a_still_run_keeps_its_first_weights(overrides, config_of, task_of, start_of):
    start = start_of(config_of("model.norm=none"))
    prepared = replace(task_of(config_of(*STILL, *overrides)), start=start)
    fit(prepared)
    assert same(kept_weights(prepared.checkpoint_dir), kept_weights(start.path.parent))
    assert file_start(prepared.checkpoint_dir / "best.ckpt").identity == start.identity


def test_without_a_start_the_seed_draws_the_weights(config_of, task_of, start_of):
    first = start_of(config_of("model.norm=none"))
    fit(prepared := task_of(config_of(*STILL)))
    assert file_start(prepared.checkpoint_dir / "best.ckpt").identity != first.identity


def test_statistics_of_the_normalisation_come_along(config_of, task_of, start_of):
    start = start_of(config_of())
    network = fit(replace(task_of(config_of("trainer.fast_dev_run=1")), start=start)).network
    assert int(network.get_buffer("stages.0.norm0.num_batches_tracked")) == 5 + 1  # of an epoch there, of a step here


@pytest.mark.long
def test_the_optimizer_begins_anew(config_of, task_of, start_of):
    last = start_of(config_of("trainer.keep=last")).path.with_name("last.ckpt")
    prepared = replace(task_of(config_of()), start=Start(last, "any"))
    fit(prepared)
    steps = torch.load(prepared.checkpoint_dir / "last.ckpt", weights_only=True)["optimizer_states"][0]["state"][0]["step"]
    assert int(steps) == 5


@pytest.mark.long
def test_an_interrupted_run_does_not_start_over(config_of, task_of, start_of, tmp_path):
    start, config = start_of(config_of()), config_of("trainer.max_epochs=2", "seed=1")
    fit(replace(task_of(config, "unbroken"), start=start))
    broken = replace(task_of(config, "broken"), start=start)
    with pytest.raises(Broken):
        fit(broken, [Breaker(2)])
    fit(broken)
    assert same(kept_weights(tmp_path / "unbroken"), kept_weights(tmp_path / "broken"))


def test_an_identity_depends_on_weights_alone(config_of, start_of, tmp_path):
    start, other = start_of(config_of()), start_of(config_of("seed=1"), "other")
    moved = shutil.copy(start.path, tmp_path / "moved.ckpt")
    assert file_start(moved).identity == start.identity
    assert len({start.identity, other.identity}) == 2
    assert len(start.identity) == 32


@pytest.fixture
def published(config_of, task_of, tmp_path):
    """A run that begins with a file of torchvision's kind, given the rest of its config, and the weights in the file.

    The weights were drawn from another seed. The network is a small one, so the config is changed after its check.
    """
    prepared = task_of(config_of("seed=9", *STILL))
    weights = build_module(prepared.config, prepared.data, "any").network.get_submodule("stages").state_dict()
    file = tmp_path / "published.pth"
    torch.save({f"features.{name}": value for name, value in weights.items()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def build(config, folder="run"):
        model = replace(config.model, pretrained="vgg16", pretrained_path=str(file), pretrained_sha256=digest)
        return replace(task_of(config, folder), config=replace(config, model=model))

    return build, {f"stages.{name}": value for name, value in weights.items()}


def test_a_run_begins_with_published_weights(config_of, task_of, published):
    build, weights = published
    fit(own := task_of(config_of(*STILL), "own"))
    fit(prepared := build(config_of(*STILL)))
    head = {name: value for name, value in kept_weights(own.checkpoint_dir).items() if name not in weights}
    assert head
    assert same(kept_weights(prepared.checkpoint_dir), weights | head)


@pytest.mark.slow
def test_only_a_fresh_run_needs_published_weights(config_of, start_of, published):
    build, _ = published
    start, config = start_of(config_of("model.norm=none")), config_of("model.norm=none", "trainer.max_epochs=2")
    with pytest.raises(Broken):
        fit(prepared := build(config), [Breaker(2)])
    Path(prepared.config.model.pretrained_path).unlink()
    fit(prepared)
    fit(replace(build(config, "started"), start=start))  # another start goes before
    with pytest.raises(UserError, match="there is no file"):
        fit(build(config, "anew"))


NAMES = [f"class {number}" for number in range(8)]


class Plain(torch.nn.Module):
    """A plugin network, whose output layer has an unknown name."""

    def __init__(self, classes):
        super().__init__()
        self.last = torch.nn.Linear(4, classes)
        self.first = torch.nn.Linear(6, 4)


@pytest.fixture
def stored(tmp_path):
    """A checkpoint of a network with this number of classes."""

    def write(network, classes):
        state = {f"network.{name}": value for name, value in network.state_dict().items()}
        described = {"format": "1", "classes": json.dumps(NAMES[:classes])}
        torch.save({"state_dict": state, "fer_ablate": described}, tmp_path / "stored.ckpt")
        return tmp_path / "stored.ckpt"

    return write


def test_an_output_layer_of_other_classes_stays(stored):
    given, own = Plain(8), Plain(7)
    drawn = own.last.weight.clone()
    load_start(own, stored(given, 8), NAMES[:7])
    assert torch.equal(own.first.weight, given.first.weight)
    assert torch.equal(own.last.weight, drawn)


def test_an_output_layer_of_equal_classes_is_loaded(stored):
    given, own = Plain(7), Plain(7)
    load_start(own, stored(given, 7), NAMES[:7])
    assert torch.equal(own.last.weight, given.last.weight)


class Staged(torch.nn.Module):
    """A network whose output layer has the name that those of stages give it."""

    def __init__(self):
        super().__init__()
        self.output = torch.nn.Linear(4, 3)
        self.first = torch.nn.Linear(6, 4)


def test_outputs_are_brought_into_the_order_of_classes(stored):
    given, own = Staged(), Staged()
    load_start(own, stored(given, 3), ["Class 2", "class 0", "class_1"])
    assert torch.equal(own.output.weight, given.output.weight[[2, 0, 1]])
    assert torch.equal(own.output.bias, given.output.bias[[2, 0, 1]])
    assert torch.equal(own.first.weight, given.first.weight)


def test_an_output_layer_of_foreign_classes_stays(stored):
    given, own = Staged(), Staged()
    drawn = own.output.weight.clone()
    load_start(own, stored(given, 3), ["class 0", "class 1", "class 5"])
    assert torch.equal(own.output.weight, drawn)
    assert torch.equal(own.first.weight, given.first.weight)


def test_own_networks_begin_with_the_same_classes(stored):
    deeper = torch.nn.ModuleDict({"output": torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))})
    for network in (Plain(3), deeper):
        with pytest.raises(UserError, match=r"layers gives them is not known.*data\.merge"):
            load_start(network, stored(network, 3), NAMES[2::-1])


@pytest.mark.long
def test_a_start_recognises_faces_in_any_order(config_of, task_of):
    given = task_of(config_of("model.norm=none"), "first")
    before = assess(given, fit(given)).result
    start = file_start(given.checkpoint_dir / "best.ckpt")
    turned = ", ".join(f"{name}: [{name}]" for name in reversed(before.classes))
    prepared = replace(task_of(config_of(*STILL, f"data.merge={{{turned}}}"), "turned"), start=start)
    after = assess(prepared, fit(prepared)).result
    assert after.classes == before.classes[::-1]
    assert after.splits["test"].confusion == np.array(before.splits["test"].confusion)[::-1, ::-1].tolist()


def test_the_key_knows_what_becomes_of_outputs(config_of):
    known = ("happy", "sad", "fear")
    start = Start(Path(), "weights", known)

    def key(classes, start=start):
        return run_identity(config_of(), "data", start, classes).key

    as_before = run_key(relevant(config_of(), machine_settings(config_of())), "data", code_digest(), "weights")
    for classes in (known, ("Happiness", "sadness", "afraid"), known[:2]):
        assert key(classes) == as_before
    assert len({as_before, key(known[::-1]), key(("happy", "sad", "angry"))}) == 3
    assert key(known[::-1], Start(Path(), "weights")) == as_before  # of an earlier version
    (note,) = output_notes(start, known[::-1])
    assert note.startswith("init_from: the output layer is brought into this order")
    assert output_notes(start, known) == output_notes(None, known) == output_notes(Start(Path(), "weights"), known) == []
    (note,) = output_notes(start, known[:2])
    assert note.startswith(
        "init_from: the output layer is drawn anew, since its classes are happy, sad, fear, and these happy, sad."
    )


def test_misfits_are_listed_and_nothing_is_loaded(stored):
    own = torch.nn.ModuleDict({"first": torch.nn.Linear(5, 4), "new": torch.nn.Linear(1, 1)})
    before = {name: value.clone() for name, value in own.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_start(own, stored(Plain(7), 7), NAMES[:7])
    for line in (
        "do not fit this network",
        "first.weight is 4x6 in the file, 4x5 here",
        "new.weight is not in the file",
        "last.bias is only in the file",
        "leave init_from out",
    ):
        assert line in str(error.value)
    assert same(own.state_dict(), before)


def test_at_most_five_misfits_are_named(config_of, task_of, start_of):
    start = start_of(config_of())
    with pytest.raises(UserError, match=r"stages.0.conv0.weight is 4x1x5x5 in the file, 8x1x5x5 here(.*\n){5}  and \d+ more"):
        fit(replace(task_of(config_of("model.width=0.5")), start=start))
