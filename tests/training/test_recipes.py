"""What a recipe for the data makes of a run's images, and what is told of it."""

import numpy as np

from fer_ablate.data.load import load_faces
from fer_ablate.training.assembly import build_batches, protocol, role_set

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


def test_a_protocol_tells_how_the_test_role_was_made(config_of):
    turned = protocol(config_of("data.balance.kind=copies", TURN), 48)
    assert protocol(config_of("data.balance.kind=majority", TURN), 48) == protocol(config_of(), 48)
    assert (protocol(config_of(), 48)["balance"], turned["balance"]) == ("none", "copies 10")
    mirrored = protocol(config_of("data.balance.kind=copies", "data.balance.steps=[{op: flip}]"), 48)
    assert {key for key in turned if turned[key] != mirrored[key]} == {"copies"}


def test_a_protocol_tells_of_images_left_out(config_of):
    assert "images" not in protocol(config_of(), 48)
    assert protocol(config_of("trainer.limit_test_batches=2"), 48)["images"] == "first 2 batches"
    assert protocol(config_of("trainer.limit_test_batches=0.25"), 48)["images"] == "the first 0.25 of each part"
