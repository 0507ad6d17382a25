"""Which images of other data are tested, and under which class of the network."""

import numpy as np
import pytest

from fer_ablate.config.choices import Roles
from fer_ablate.data.faces import FaceSet
from fer_ablate.errors import UserError
from fer_ablate.inference.other_data import IncompatibleDataError, match_classes, match_data, other_data_roles

CLASSES = ("angry", "happy", "sad")


def face_set(labels, classes, usage=None, splits=("all",)):
    n = len(labels)
    return FaceSet(
        faces=np.zeros((n, 1, 48, 48), np.uint8),
        labels=np.array(labels, np.int64),
        targets=None,
        usage=np.array([0] * n if usage is None else usage, np.uint8),
        splits=splits,
        classes=classes,
        rows=np.arange(n),
        digest="d",
    )


@pytest.fixture
def unseen(config_of):
    """The roles of a set under `data.roles`."""

    def build(faces, roles=Roles.auto):
        config = config_of("model.width=0.125")
        config.data.roles = roles
        return other_data_roles(config, faces, (48, 48))

    return build


def test_spellings_meet_whatever_the_order():
    assert match_classes(["Surprised", "HAPPINESS", "Anger "], ["angry", "happy", "surprise"], {}) == {
        "Surprised": "surprise",
        "HAPPINESS": "happy",
        "Anger ": "angry",
    }


def test_other_class_names_match_by_their_letters():
    assert match_classes(["Class_A", "class c"], ["class a", "class b"], {}) == {"Class_A": "class a"}


def test_of_two_spellings_only_the_exact_one_matches():
    assert match_classes(["happy", "joy"], ["happy", "Happiness"], {}) == {"happy": "happy"}


def test_joined_classes_match_their_parts():
    merge = {"positive": ["happy", "neutral"], "negative": ["angry", "sad"]}
    found = match_classes(["Sadness", "happiness", "contempt", "negative"], ["positive", "negative"], merge)
    assert found == {"Sadness": "negative", "happiness": "positive", "negative": "negative"}


def test_labels_follow_the_names(unseen):
    data = unseen(face_set([0, 1, 2, 2], ("Sadness", "anger", "joy"))).data
    found = match_data(data, CLASSES, {})
    assert found.data.faces.classes == CLASSES
    assert found.data.faces.labels[found.data.roles["test"]].tolist() == [2, 0, 1, 1]


def test_unknown_classes_are_left_out_and_counted(unseen):
    found = match_data(unseen(face_set([0, 1, 2, 2], ("angry", "happy", "contempt"))).data, CLASSES, {})
    assert found.data.roles["test"].tolist() == [0, 1]
    assert (found.left_out, found.missing) == ({"contempt": 2}, ("sad",))
    assert "Left out, since the network does not know their classes: images of contempt (2)." in found.data.notes
    assert any(note.startswith("No tested image is of sad") for note in found.data.notes)


def test_one_shared_class_is_too_few(unseen):
    data = unseen(face_set([0, 1], ("cat", "Happy"))).data
    with pytest.raises(IncompatibleDataError, match=r"only the class happy.*knows angry, happy, sad; the data has cat, Happy"):
        match_data(data, CLASSES, {})


def test_a_class_without_an_image_is_not_shared(unseen):
    with pytest.raises(IncompatibleDataError, match="only the class angry"):
        match_data(unseen(face_set([0, 0], ("angry", "happy"))).data, CLASSES, {})


def test_a_test_split_without_known_classes_is_refused(unseen):
    faces = face_set([0, 1, 2], ("angry", "happy", "contempt"), [0, 0, 1], ("train", "test"))
    with pytest.raises(IncompatibleDataError, match=r"No image to be tested is of a class .*: 1 image of contempt"):
        match_data(unseen(faces).data, CLASSES, {})


def test_a_set_without_splits_is_tested_whole(unseen):
    found = unseen(face_set([0, 1, 1], ("angry", "happy")))
    assert (found.data.roles["test"].tolist(), found.tested) == ([0, 1, 2], "all images")
    assert found.data.notes == ("The set has no test split: all of it is tested (3 images).",)


def test_a_train_split_alone_is_tested_whole(unseen):
    found = unseen(face_set([0, 1], ("angry", "happy"), splits=("train",)))
    assert (found.data.roles["test"].tolist(), found.data.roles["train"].tolist()) == ([0, 1], [])


SPLIT = {
    "as named": (Roles.auto, [2], [1], "test"),
    "as named under official": (Roles.official, [2], [1], "test"),
    "the other way round": (Roles.swapped, [1], [2], "val"),
    "both together": (Roles.holdout, [1, 2], [], "val and test"),
}


@pytest.mark.parametrize(("roles", "test", "val", "tested"), SPLIT.values(), ids=SPLIT)
def test_splits_play_their_parts(unseen, roles, test, val, tested):
    found = unseen(face_set([0, 1, 0, 1], ("angry", "happy"), [0, 1, 2, 0], ("Training", "valid", "Test_Set")), roles)
    assert (found.data.roles["test"].tolist(), found.data.roles["val"].tolist()) == (test, val)
    assert (found.data.roles["train"].tolist(), found.tested) == ([0, 3], tested)


def test_val_is_tested_where_there_is_no_test(unseen):
    found = unseen(face_set([0, 1], ("angry", "happy"), [0, 1], ("train", "val")))
    assert (found.data.roles["test"].tolist(), found.tested) == ([1], "val")
    assert found.data.notes == ("The set has no split test: val is tested (1 image).",)


def test_splits_of_unknown_names_are_never_tested(unseen):
    known = unseen(face_set([0, 1, 0], ("angry", "happy"), [0, 1, 1], ("eval", "train")))
    assert known.data.roles["test"].tolist() == [1, 2]
    assert any(note.startswith("Not tested: eval") for note in known.data.notes)
    with pytest.raises(UserError, match="None of the splits is known by its name"):
        unseen(face_set([0, 1], ("angry", "happy"), [0, 1], ("eval", "more")))


def test_a_requested_split_must_exist(unseen):
    with pytest.raises(UserError, match=r"data.roles=swapped tests on the split val, but the splits are train \(1 image\), test"):
        unseen(face_set([0, 1], ("angry", "happy"), [0, 1], ("train", "test")), Roles.swapped)
