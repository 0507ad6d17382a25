import time
from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from fer_ablate.config.choices import Balance, Drop, Labels, Roles, ValDraw
from fer_ablate.config.schema import BalanceConfig
from fer_ablate.data.audit import audit, copies_across
from fer_ablate.data.balance import balanced
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import role_rows
from fer_ablate.data.summary import split_counts

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def faces(real_config):
    return load_faces(real_config)


def test_counts_are_the_published_ones(faces):
    assert {row.split: row.total for row in split_counts(faces)} == {
        "Training": 28709, "PublicTest": 3589, "PrivateTest": 3589, "all": 35887,
    }  # fmt: skip
    assert split_counts(faces)[-1].per_class == (4953, 547, 5121, 8989, 6077, 4002, 6198)
    assert faces.faces[0, 0, 0, :4].tolist() == [70, 80, 82, 72]


@pytest.mark.slow
def test_a_fresh_cache_has_the_same_faces(real_config, faces, tmp_path):
    fresh = load_faces(replace(real_config, cache_dir=str(tmp_path)))
    assert fresh.digest == faces.digest
    assert np.array_equal(fresh.faces, faces.faces)
    assert np.array_equal(fresh.labels, faces.labels)


@pytest.mark.slow
def test_the_audit_finds_the_known_copies_and_conflicts(faces):
    found = audit(faces)
    assert (found.distinct, len(found.surplus), found.groups, len(found.copied)) == (34034, 1853, 1516, 3369)
    assert (found.crossing_groups, len(found.crossing)) == (557, 1323)
    assert {split: len(rows) for split, rows in found.in_train.items()} == {"PublicTest": 280, "PrivateTest": 288}
    assert len(found.in_earlier["PrivateTest"]) == 314
    assert (found.conflict_groups, len(found.conflicts)) == (57, 160)
    assert (len(found.black), len(found.blank)) == (12, 12)


@pytest.mark.slow
def test_dropping_frees_test_splits_of_training_images(real_config):
    clean = load_faces(replace(real_config, drop=list(Drop)))
    assert 35887 - 280 - 288 - 160 - 12 <= len(clean) < 35887 - 280 - 288
    assert all(len(rows) == 0 for rows in audit(clean).in_train.values())


def test_copies_between_roles_are_reported(real_config, faces):
    rows = role_rows(faces, real_config).rows
    (note,) = copies_across(faces, rows, [])
    assert note.startswith("Copies: 280 val and 288 test images have exactly the pixels of a training image.")


def test_roles_cover_the_official_splits(real_config, faces):
    assert [len(rows) for rows in role_rows(faces, real_config).rows.values()] == [28709, 3589, 3589]
    assert len(role_rows(faces, replace(real_config, roles=Roles.holdout)).rows["val"]) == pytest.approx(2871, abs=4)


def test_balanced_sets_have_their_published_sizes(real_config, faces):
    steps = [{"op": "flip", "p": 0.5}]
    filled = BalanceConfig(kind=Balance.majority, steps=steps)
    # pisa: its val accuracies are whole numbers of 5,744 images with equal classes, and of 5,742 without.
    fifth = replace(real_config, roles=Roles.holdout, val_fraction=0.2)
    assert len(role_rows(faces, replace(fifth, val_draw=ValDraw.mixed)).rows["val"]) == 5742
    roles = role_rows(faces, replace(fifth, val_draw=ValDraw.up)).rows
    assert (len(roles["val"]), len(roles["train"])) == (5744, 22965)
    made, roles = balanced(faces, roles, filled)
    assert np.bincount(made.labels[roles["train"]]).tolist() == [5772] * 7
    # Its log has 633 steps of 64 per epoch, so some class was filled further.
    assert ceil(len(roles["train"]) / 64) == 632
    copied = BalanceConfig(kind=Balance.copies, steps=steps)  # lenet5: 4,796 per class in train, 12,320 / 20 epochs in test
    made, roles = balanced(faces, role_rows(faces, replace(real_config, roles=Roles.swapped)).rows, copied)
    assert np.bincount(made.labels[roles["train"]]).tolist() == [4796] * 7
    assert np.bincount(made.labels[roles["test"]]).tolist() == [616] * 7


@pytest.mark.parametrize(
    ("labels", "classes", "images"),
    [
        (Labels.majority, 8, (25060, 3199, 3153)),  # the sizes that papers on FER+ report
        (Labels.majority, 7, (24941, 3186, 3137)),
        (Labels.cross_entropy, 8, (27956, 3505, 3505)),
    ],
)
def test_votes_keep_these_many_images(real_config, labels, classes, images):
    voted = load_faces(replace(real_config, labels=labels, num_classes=classes))
    assert tuple(row.total for row in split_counts(voted)[:-1]) == images
    assert (voted.labels[voted.rows] >= 0).all()


def test_a_warm_start_takes_half_a_second(real_config):
    start = time.process_time()
    load_faces(real_config)
    assert time.process_time() - start < 0.5
