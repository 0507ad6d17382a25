"""Effects of a data recipe on the images of a run, and its notes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_ablate.config.choices import DivideBy, Init, Norm, Roles
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.data.load import load_faces
from fer_ablate.models.build import build_network
from fer_ablate.optim.optimizers import build_optimizer
from fer_ablate.training.assembly import build_batches
from fer_ablate.training.checks import run_faults
from fer_ablate.training.protocol import protocol
from fer_ablate.training.role_set import role_set

SIZE = (48, 48)
TURN = "data.balance.steps=[{op: affine, rotation: 10}]"


def set_of(config):
    return role_set(config, load_faces(config.data))


def test_balanced_classes_are_trained_and_tested_on(config_of):
    data = set_of(config_of("data.balance.kind=copies", "data.balance.copies=2", TURN))
    for role in ("train", "test"):
        counts = np.bincount(data.faces.labels[data.roles[role]])
        assert set(counts.tolist()) == {counts[0]}
        assert counts[0] % 3 == 0
    assert not np.intersect1d(data.roles["test"], data.official["private"]).size
    assert len(data.official["private"]) == 70


def test_batches_hold_the_copies(config_of):
    config = config_of("data.balance.kind=majority", TURN)
    data = set_of(config)
    faces, labels = zip(*build_batches(config, data, "train"), strict=True)
    assert sum(map(len, faces)) == len(data.roles["train"]) > 140
    counts = np.bincount(np.concatenate(labels))
    assert set(counts.tolist()) == {counts[0]}


def test_a_protocol_tells_how_test_was_made(config_of):
    turned = protocol(config_of("data.balance.kind=copies", TURN), SIZE)
    assert protocol(config_of("data.balance.kind=majority", TURN), SIZE) == protocol(config_of(), SIZE)
    assert (protocol(config_of(), SIZE)["balance"], turned["balance"]) == ("none", "copies 10")
    mirrored = protocol(config_of("data.balance.kind=copies", "data.balance.steps=[{op: flip}]"), SIZE)
    assert {key for key in turned if turned[key] != mirrored[key]} == {"copies"}


def test_a_protocol_tells_of_images_left_out(config_of):
    assert "images" not in protocol(config_of(), SIZE)
    assert protocol(config_of("trainer.limit_test_batches=2"), SIZE)["images"] == "first 2 batches"
    assert protocol(config_of("trainer.limit_test_batches=0.25"), SIZE)["images"] == "the first 0.25 of each part"


def test_a_protocol_tells_the_tested_crop(config_of):
    assert protocol(config_of(), SIZE)["crop"] == "48"
    assert protocol(config_of(), (56, 40))["crop"] == "56x40"
    assert protocol(config_of("evaluation.crop=[40,32]"), (56, 40))["crop"] == "40x32"
    assert protocol(config_of("data.prepare=[{op: resize, size: [40, 32]}]"), SIZE)["crop"] == "40x32"


def test_a_protocol_tells_what_the_roles_came_to(config_of):
    config = config_of("data.roles=auto")
    assert protocol(config, SIZE)["roles"] == "auto"
    assert protocol(config, SIZE, Roles.holdout)["roles"] == "holdout"


def test_a_protocol_tells_folds_and_groups(config_of):
    assert "folds" not in protocol(config_of(), SIZE)
    config = config_of("data.folds=10")
    assert protocol(config, SIZE, Roles.drawn, by_group=True)["folds"] == "10 by group"
    assert protocol(config, SIZE, Roles.drawn, by_group=False)["folds"] == "10 by class"
    assert protocol(config_of("data.folds=10", "data.group=null"), SIZE)["folds"] == "10 by class"


def test_a_protocol_tells_which_classes_were_merged(config_of):
    config = config_of()
    merges = (
        {"positive": ["happy", "neutral"], "negative": ["sad", "fear"]},
        {"positive": ["happy"], "negative": ["sad", "fear"]},
    )
    first, other = (protocol(replace(config, data=replace(config.data, merge=merge)), SIZE) for merge in merges)
    assert first["classes"] == other["classes"] == "positive+negative"
    assert (first["merged"], other["merged"]) == (
        "positive: happy+neutral, negative: fear+sad",
        "positive: happy, negative: fear+sad",
    )
    assert "merged" not in protocol(config_of(), SIZE)


def recipe(*words):
    """The config of these words and its network, which has shapes but no numbers."""
    with composer():
        config = to_config(composed(words))
    with torch.device("meta"):
        return config, build_network(config.model, SIZE, 7)


def norms_of(network):
    return [layer for layer in network.modules() if "BatchNorm" in type(layer).__name__]


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "norms"),
    [
        (["experiment=pisa"], 7),
        (["experiment=pisa_balanced"], 7),
        (["experiment=bits"], 6),
        (["experiment=bits", "model=bits_3bn"], 3),
        (["experiment=bits", "model=bits_alexnet"], 9),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_recipes_of_keras_programs_have_its_values(words, norms):
    config, network = recipe(*words)
    assert [(layer.momentum, layer.eps) for layer in norms_of(network)] == [(0.01, 1e-3)] * norms
    assert config.model.init is Init.xavier
    assert build_optimizer(config.optimizer, network.named_parameters()).defaults["eps"] == 1e-7
    assert (config.loss.divide_by is DivideBy.images) == (words == ["experiment=pisa"])  # the only one with class weights


@pytest.mark.parametrize("experiment", ["pisa_transfer", "pisa_transfer_balanced"])
def test_published_bodies_keep_their_normalisation(experiment):
    config, network = recipe(f"experiment={experiment}", "model=resnet50", "model.pretrained=resnet50")
    assert {layer.eps for layer in norms_of(network)} == {1e-5}
    assert all(layer.norm is Norm.none for layer in config.model.hidden)
    assert (config.model.init, config.optimizer["eps"]) == (Init.xavier, 1e-7)


THREE_HIDDEN = "{features:512,norm:none,dropout:0.1},{features:256,norm:none,dropout:0.1},{features:128,norm:none,dropout:0.1}"


@pytest.mark.parametrize(
    ("words", "hidden_inputs"),
    [
        (("experiment=fer_kd", "model.conv_layers=1"), [64 * 4]),
        (("experiment=fer_kd", "model.conv_layers=1", "model.stages.0.channels=128"), [128 * 4]),
        (("experiment=fer_kd", "model.conv_layers=1", "model.head_pool_size=8"), [4096]),
        (("experiment=fer_kd", "model.norm_position=after_activation", "trainer.precision=fp32"), [4096]),
        (("experiment=lenet5", f"model.hidden=[{THREE_HIDDEN}]"), [256 * 36, 512, 256]),
        (("experiment=lenet5", "model.dropout=0.1"), [256 * 36, 512]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_readings_of_documents_can_be_typed(words, hidden_inputs):
    assert not diagnose(words).faults
    config, network = recipe(*words)
    assert [fault.key for fault in run_faults(config) if fault.key != "data.path"] == []
    assert [layer.linear.in_features for layer in network.hidden] == hidden_inputs


def test_the_strength_of_copies_can_be_typed():
    first = "data.balance.steps.1"
    words = (
        f"{first}.rotation=180",
        f"{first}.scale=[0.5,2.0]",
        f"{first}.fill=zeros",
        f"{first}.shift=0.2",
        f"{first}.shear=20",
        "data.balance.steps.2.brightness=0.5",
    )
    found = diagnose(("experiment=lenet5_balanced", *words))
    assert not found.faults
    _, affine, brightness = to_config(found.tree).data.balance.steps
    expected = {"rotation": 180, "scale": [0.5, 2.0], "fill": "zeros", "shift": 0.2, "shear": 20}
    assert affine == {"op": "affine", "p": 1.0, **expected}
    assert brightness["brightness"] == 0.5


@pytest.mark.parametrize("experiment", ["fer_kd", "vggnet"])
@pytest.mark.parametrize(
    ("position", "order"),
    [("before_activation", "Conv2d BatchNorm2d ReLU"), ("after_activation", "Conv2d ReLU BatchNorm2d")],
)
def test_both_orders_of_a_block_can_be_typed(experiment, position, order):
    default, default_network = recipe(f"experiment={experiment}")
    _, network = recipe(f"experiment={experiment}", f"model.norm_position={position}")
    assert " ".join(type(layer).__name__ for layer in list(network.stages[0])[:3]) == order
    assert network.state_dict().keys() == default_network.state_dict().keys()
    assert default.model.norm_position.name == "before_activation"
