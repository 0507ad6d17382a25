from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.config.choices import Roles, Source, ValDraw
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.draws import draw_part
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
    rows = role_rows(faces, config(roles=roles)).rows
    assert (len(rows["train"]), rows["val"].tolist(), rows["test"].tolist()) == (train, val, test)
    assert not set(rows["train"]) & set(test)


def test_holdout_is_stratified_and_tests_on_other_splits(faces):
    rows = role_rows(faces, config(roles=Roles.holdout, val_fraction=0.1)).rows
    assert np.bincount(faces.labels[rows["val"]]).tolist() == [3, 1]
    assert sorted([*rows["train"], *rows["val"]]) == list(range(40))
    assert rows["test"].tolist() == PUBLIC + PRIVATE


def test_val_may_be_rounded_up_or_mixed(faces):
    """Of 30 and 10 images, 0.12 are 3.6 and 1.2, together 4.8."""
    drawn = {
        kind: role_rows(faces, config(roles=Roles.holdout, val_fraction=0.12, val_draw=kind)).rows["val"] for kind in ValDraw
    }
    assert np.bincount(faces.labels[drawn[ValDraw.nearest]]).tolist() == [4, 1]
    assert np.bincount(faces.labels[drawn[ValDraw.up]]).tolist() == [4, 2]
    assert len(drawn[ValDraw.mixed]) == 5
    # Of all images together a class gets what the draw gives it, which is not the same number for every seed.
    mixed = config(roles=Roles.holdout, val_draw=ValDraw.mixed)
    shares = {(faces.labels[role_rows(faces, replace(mixed, split_seed=seed)).rows["val"]] == 0).sum() for seed in range(20)}
    assert len(shares) > 1


def test_groups_stay_whole_only_with_nearest(faces):
    people = replace(faces, groups=np.arange(45) // 3)
    with pytest.raises(UserError, match=r"data\.val_draw=up draws single images.*data\.group=null"):
        role_rows(people, config(roles=Roles.holdout, val_draw=ValDraw.up))


def test_holdout_is_drawn_by_its_own_seed(faces):
    first, again, other = (
        role_rows(faces, config(roles=Roles.holdout, split_seed=seed)).rows["val"].tolist() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_train_fractions_are_nested_and_stratified(faces):
    tenth, half = (role_rows(faces, config(train_fraction=fraction)).rows["train"] for fraction in (0.1, 0.5))
    assert set(tenth) < set(half)
    assert np.bincount(faces.labels[half]).tolist() == [15, 5]


def test_dropped_images_have_no_role(faces):
    fewer = replace(faces, rows=np.setdiff1d(faces.rows, [0, 41, 44]))
    rows = role_rows(fewer, config()).rows
    assert (len(rows["train"]), rows["val"].tolist(), rows["test"].tolist()) == (39, [40, 42], [43])
    assert official_rows(fewer)["public"].tolist() == [40, 42]


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Training", "validation", "PrivateTest")])
def test_splits_of_other_spellings_are_known(set_of, names):
    faces = set_of([1, 2, 3, 4], [0, 1, 0, 1], (names[0], *names), names)
    assert {role: rows.tolist() for role, rows in role_rows(faces, config()).rows.items()} == {
        "train": [0, 1],
        "val": [2],
        "test": [3],
    }


def test_auto_holds_out_where_no_val_split_is(set_of):
    faces = set_of(np.arange(21), [0, 1] * 10 + [0], ["train"] * 20 + ["test"], ("train", "test"))
    assert [len(rows) for rows in role_rows(faces, config(roles=Roles.auto)).rows.values()] == [18, 2, 1]
    assert official_rows(faces) == {}


def test_a_missing_split_names_a_preset_that_works(set_of):
    faces = set_of(np.arange(5), [0, 0, 1, 1, 1], ["Training"] * 4 + ["test"], ("Training", "test"))
    with pytest.raises(UserError, match=r"needs a split val, but the splits are Training \(4 images\), test.*data.roles=holdout"):
        role_rows(faces, config())
    assert len(role_rows(faces, config(roles=Roles.holdout)).rows["val"]) == 2


def test_a_role_without_images_is_refused(faces):
    with pytest.raises(
        UserError, match=r"needs a split test, but the splits are .*PrivateTest \(0 images\).*data\.roles=holdout"
    ):
        role_rows(replace(faces, rows=np.arange(43)), config())


def test_a_set_without_splits_is_stratified(set_of):
    faces = set_of(np.arange(60), [0] * 40 + [1] * 20, ["all"] * 60, ("all",))
    found = role_rows(faces, config(roles=Roles.auto))
    assert found.preset is Roles.drawn
    assert {role: np.bincount(faces.labels[rows]).tolist() for role, rows in found.rows.items()} == {
        "train": [28, 14], "val": [4, 2], "test": [8, 4],
    }  # fmt: skip
    assert sorted(np.concatenate(list(found.rows.values()))) == list(range(60))
    assert found.notes == ("No test split is used: 6 val and 12 test images were drawn from 60.",)


def test_a_table_without_usage_is_drawn(set_of):
    faces = set_of(np.arange(20), [0, 1] * 10, ["all"] * 20, ("all",))
    assert role_rows(faces, config()).preset is Roles.drawn


def test_a_split_of_unknown_name_is_never_used(set_of):
    splits = ["train"] * 8 + ["test"] * 2 + ["eval"] * 2 + ["train_augmented"] * 8
    faces = set_of(np.arange(20), [0, 1] * 10, splits, ("eval", "test", "train", "train_augmented"))
    found = role_rows(faces, config(roles=Roles.auto))
    assert sorted(np.concatenate(list(found.rows.values()))) == list(range(10))
    assert found.notes[1].startswith("Not used: eval (2 images), train_augmented (8 images); neither trained nor tested on.")


def test_splits_without_a_known_name_are_refused(set_of):
    faces = set_of(np.arange(4), [0, 1, 0, 1], ["a", "a", "b", "b"], ("a", "b"))
    with pytest.raises(UserError, match=r"None of the splits is known by its name; they are a \(2 images\), b"):
        role_rows(faces, config(roles=Roles.auto))


def test_an_only_image_stays_in_train(set_of):
    faces = set_of(np.arange(21), [0] * 20 + [1], ["train"] * 21, ("train",))
    found = role_rows(faces, config(roles=Roles.auto))
    assert 20 in found.rows["train"]
    assert found.notes[1:] == (
        "All 2 images of val are angry, so that its accuracy means little.",
        "All 4 images of test are angry, so that its accuracy means little.",
        "Only one training image of disgust.",
    )


def test_a_tested_class_without_training_images_is_refused(set_of):
    faces = set_of(np.arange(5), [0, 1, 0, 1, 2], ["train", "train", "val", "test", "test"], ("train", "val", "test"))
    with pytest.raises(UserError, match=r"test has 1 images of fear, but train has none.*data\.merge"):
        role_rows(faces, config())


def test_one_class_is_refused(set_of):
    faces = set_of(np.arange(3), [4, 4, 4], ["train", "val", "test"], ("train", "val", "test"))
    with pytest.raises(UserError, match="one class to train on \\(sad, images: 1\\); a classifier needs two"):
        role_rows(faces, config())


@pytest.fixture
def persons(set_of):
    """Twelve persons with two images of each of two classes, and no splits."""
    faces = set_of(np.arange(48), [0, 0, 1, 1] * 12, ["all"] * 48, ("all",))
    return replace(faces, groups=np.repeat(np.arange(12), 4))


def test_persons_stay_in_one_role(persons):
    rows = role_rows(persons, config(roles=Roles.auto)).rows
    seen = {role: set(persons.groups[own].tolist()) for role, own in rows.items()}
    assert sum(map(len, seen.values())) == len(set.union(*seen.values())) == 12
    assert 2 <= len(seen["test"]) <= 3  # a fifth of twelve
    assert 1 <= len(seen["val"]) <= 2


def test_every_person_is_tested_in_one_fold(persons):
    tested = [role_rows(persons, config(folds=4, fold=fold)).rows["test"] for fold in range(4)]
    assert sorted(np.concatenate(tested)) == list(range(48))
    assert sorted(person for rows in tested for person in set(persons.groups[rows].tolist())) == list(range(12))


def test_groups_give_at_most_about_a_half(persons, recwarn):
    for fraction, drawn in ((0.2, 8), (0.5, 24), (0.6, 24)):
        assert len(draw_part(persons, persons.rows, fraction, 0, 1)) == pytest.approx(drawn, abs=4)
    with pytest.raises(UserError, match=r"want 80% of the images.*data\.group=null"):
        draw_part(persons, persons.rows, 0.8, 0, 1)
    assert not recwarn.list


def test_folds_without_groups_are_stratified(set_of):
    faces = set_of(np.arange(60), [0] * 40 + [1] * 20, ["train"] * 30 + ["test"] * 30, ("train", "test"))
    found = [role_rows(faces, config(folds=5, fold=fold)) for fold in range(5)]
    assert [np.bincount(faces.labels[one.rows["test"]]).tolist() for one in found] == [[8, 4]] * 5
    assert sorted(np.concatenate([one.rows["test"] for one in found])) == list(range(60))
    assert found[1].notes[0] == "Fold 1 of 5 is tested (0 to 4, stratified by class); the splits train, test are united."


def test_more_folds_than_persons_are_refused(persons):
    with pytest.raises(UserError, match=r"data\.folds=13, but there are 12 groups"):
        role_rows(persons, config(folds=13))


def test_holdout_keeps_persons_together_too(persons):
    faces = replace(persons, splits=("train", "test"), usage=np.repeat([0, 1], [40, 8]).astype(np.uint8))
    rows = role_rows(faces, config(roles=Roles.auto)).rows
    assert rows["test"].tolist() == list(range(40, 48))
    assert not set(faces.groups[rows["train"]]) & set(faces.groups[rows["val"]])


def test_a_split_without_images_is_no_split(set_of):
    faces = set_of(np.arange(10), [0, 1] * 5, ["Training"] * 8 + ["PrivateTest"] * 2)
    assert role_rows(faces, config(roles=Roles.auto)).preset is Roles.holdout


def test_a_set_without_training_images_says_so(set_of):
    faces = set_of(np.arange(4), [0, 1, 0, 1], ["val", "val", "test", "test"], ("val", "test"))
    with pytest.raises(UserError, match=r"There is no split train; the splits are val \(2 images\), test \(2 images\)\."):
        role_rows(faces, config(roles=Roles.auto))
