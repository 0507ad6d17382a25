import numpy as np

from fer_ablate.config.choices import Drop
from fer_ablate.data.audit import audit, without_flawed
from fer_ablate.data.summary import flaws, split_counts

# Rows:    0  1  2  3  4  5  6  7  8
VALUES = [5, 5, 6, 7, 5, 7, 8, 0, 8]
LABELS = [1, 1, 2, 3, 1, 4, 5, 0, 5]
SPLITS = ["Training"] * 4 + ["PublicTest"] * 3 + ["PrivateTest"] * 2


def test_flaws_agree_with_a_count_by_hand(set_of):
    found = audit(set_of(VALUES, LABELS, SPLITS))
    assert (found.images, found.distinct, found.groups) == (9, 5, 3)
    assert found.copied.tolist() == [0, 1, 3, 4, 5, 6, 8]
    assert found.surplus.tolist() == [1, 4, 5, 8]
    assert (found.crossing_groups, found.crossing.tolist()) == (3, [0, 1, 3, 4, 5, 6, 8])
    assert (found.conflict_groups, found.conflicts.tolist()) == (1, [3, 5])
    assert (found.blank.tolist(), found.black.tolist()) == ([7], [7])
    assert {split: rows.tolist() for split, rows in found.in_train.items()} == {"PublicTest": [4, 5], "PrivateTest": []}
    assert {split: rows.tolist() for split, rows in found.in_earlier.items()} == {"PublicTest": [4, 5], "PrivateTest": [8]}
    assert dict(flaws(found))["images in groups with conflicting labels"] == 2


def test_dropping_removes_exactly_what_the_audit_found(set_of):
    faces = set_of(VALUES, LABELS, SPLITS)
    assert without_flawed(faces, []) is faces
    dropped = without_flawed(faces, [Drop.duplicates_of_train])
    assert (dropped.rows.tolist(), dropped.digest) == ([0, 1, 2, 3, 6, 7, 8], faces.digest)
    assert without_flawed(faces, [Drop.conflicts]).rows.tolist() == [0, 1, 2, 4, 6, 7, 8]
    assert without_flawed(faces, [Drop.blank, Drop.conflicts]).rows.tolist() == [0, 1, 2, 4, 6, 8]


def test_dropping_tells_how_many_of_each_kind(set_of):
    faces = without_flawed(set_of(VALUES, LABELS, SPLITS), [Drop.blank, Drop.conflicts])
    assert faces.notes == ("data.drop leaves out 3 of 9 images: blank 1, conflicts 2.",)


def test_every_training_split_counts_as_one(set_of):
    faces = set_of([1, 2, 1, 2, 3], [0] * 5, ["train", "training", "training", "test", "test"], ("train", "training", "test"))
    assert {split: rows.tolist() for split, rows in audit(faces).in_train.items()} == {"test": [3]}
    dropped = without_flawed(faces, [Drop.duplicates_of_train])
    assert dropped.rows.tolist() == [0, 1, 2, 4]
    assert dropped.digest != faces.digest  # a run of another version with these settings had other images


def test_after_dropping_a_second_audit_finds_nothing(set_of):
    found = audit(without_flawed(set_of(VALUES, LABELS, SPLITS), list(Drop)))
    assert [len(found.conflicts), len(found.blank), len(found.in_train["PublicTest"])] == [0, 0, 0]


def test_without_training_split_there_are_no_copies(set_of):
    faces = set_of([1, 1], [0, 0], ["a", "b"], ("a", "b"))
    assert audit(faces).in_train == {}
    assert len(without_flawed(faces, [Drop.duplicates_of_train])) == 2


def test_counts_add_up_by_split_and_by_class(set_of):
    table = split_counts(set_of(VALUES, LABELS, SPLITS))
    assert [(row.split, row.total) for row in table] == [("Training", 4), ("PublicTest", 3), ("PrivateTest", 2), ("all", 9)]
    assert table[0].per_class == (0, 2, 1, 1, 0, 0, 0)
    assert np.sum([row.per_class for row in table[:-1]], axis=0).tolist() == list(table[-1].per_class)
