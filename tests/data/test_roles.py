from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.config.choices import Roles, Source
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.roles import official_rows, role_rows
from fer_ablate.errors import UserError

SPLITS = ["Training"] * 40 + ["PublicTest"] * 3 + ["PrivateTest"] * 2
PUBLIC, PRIVATE = [40, 41, 42], [43, 44]


@pytest.fixture
def faces(set_of):
    return set_of(np.arange(45), [0] * 30 + [1] * 10 + [0] * 5, SPLITS)


def config(**fields):
    return DataConfig(source=Source.fer2013, cache_dir="", **{"roles": Roles.official} | fields)


@pytest.mark.parametrize(
    ("roles", "train", "val", "test"),
    [
        (Roles.official, 40, PUBLIC, PRIVATE),
        (Roles.swapped, 40, PRIVATE, PUBLIC),
        (Roles.combined, 43, PUBLIC, PRIVATE),
        (Roles.combined_swapped, 42, PRIVATE, PUBLIC),
        (Roles.auto, 40, PUBLIC, PRIVATE),
    ],
    ids=lambda value: value.name if isinstance(value, Roles) else None,
)
def test_a_preset_gives_each_split_its_role(faces, roles, train, val, test):
    rows = role_rows(faces, config(roles=roles))
    assert (len(rows["train"]), rows["val"].tolist(), rows["test"].tolist()) == (train, val, test)
    assert not set(rows["train"]) & set(test)


def test_holdout_takes_the_same_share_of_every_class_and_tests_on_all_other_splits(faces):
    rows = role_rows(faces, config(roles=Roles.holdout, val_fraction=0.1))
    assert np.bincount(faces.labels[rows["val"]]).tolist() == [3, 1]
    assert sorted([*rows["train"], *rows["val"]]) == list(range(40))
    assert rows["test"].tolist() == PUBLIC + PRIVATE


def test_holdout_is_drawn_by_its_own_seed(faces):
    first, again, other = (role_rows(faces, config(roles=Roles.holdout, split_seed=seed))["val"].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_a_smaller_train_fraction_is_part_of_a_larger_one_and_stratified(faces):
    tenth, half = (role_rows(faces, config(train_fraction=fraction))["train"] for fraction in (0.1, 0.5))
    assert set(tenth) < set(half)
    assert np.bincount(faces.labels[half]).tolist() == [15, 5]


def test_dropped_images_have_no_role(faces):
    fewer = replace(faces, rows=np.setdiff1d(faces.rows, [0, 41, 44]))
    rows = role_rows(fewer, config())
    assert (len(rows["train"]), rows["val"].tolist(), rows["test"].tolist()) == (39, [40, 42], [43])
    assert official_rows(fewer)["public"].tolist() == [40, 42]


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Training", "validation", "PrivateTest")])
def test_splits_of_other_spellings_are_known(set_of, names):
    faces = set_of([1, 2, 3], [0, 0, 0], names, names)
    assert {role: rows.tolist() for role, rows in role_rows(faces, config()).items()} == {"train": [0], "val": [1], "test": [2]}


def test_auto_holds_out_where_no_val_split_is(set_of):
    faces = set_of(np.arange(21), [0] * 21, ["train"] * 20 + ["test"], ("train", "test"))
    assert [len(rows) for rows in role_rows(faces, config(roles=Roles.auto)).values()] == [18, 2, 1]
    assert official_rows(faces) == {}


def test_a_missing_split_names_a_preset_that_works(set_of):
    faces = set_of(np.arange(5), [0] * 5, ["Training"] * 4 + ["test"], ("Training", "test"))
    with pytest.raises(UserError, match=r"needs a split val, but the splits are Training \(4 images\), test.*data.roles=holdout"):
        role_rows(faces, config())
    assert len(role_rows(faces, config(roles=Roles.holdout))["val"]) == 1


def test_a_role_without_images_is_refused(faces):
    with pytest.raises(UserError, match="leaves no image for test"):
        role_rows(replace(faces, rows=np.arange(43)), config())
