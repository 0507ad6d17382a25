"""Effects of a data recipe on the images of a run, and its notes."""

from dataclasses import replace

import numpy as np

from fer_ablate.config.choices import Roles
from fer_ablate.data.load import load_faces
from fer_ablate.training.assembly import build_batches
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
