from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.data.classes import merge_classes, merge_faults
from fer_ablate.data.faces import NO_LABEL
from fer_ablate.errors import UserError

MOODS = {"positive": ["Happiness", "neutral", "surprise"], "negative": ["angry", "fear", "sad"]}


@pytest.fixture
def faces(set_of):
    """One image of each of the seven emotions."""
    return set_of(np.arange(7), np.arange(7), ["Training"] * 7)


def test_listed_classes_are_joined_and_others_dropped(faces):
    joined = merge_classes(faces, MOODS)
    assert joined.classes == ("positive", "negative")
    assert joined.labels.tolist() == [1, NO_LABEL, 1, 0, 1, 0, 0]
    assert joined.rows.tolist() == [0, 2, 3, 4, 5, 6]
    assert joined.notes[-1].endswith("Left out: disgust (1 images).")


def test_no_merge_changes_nothing(faces):
    assert merge_classes(faces, {}) is faces


def test_votes_are_added_up_within_a_new_class(faces):
    targets = np.zeros((7, 7), np.float32)
    targets[0, [0, 1, 3]] = 0.5, 0.25, 0.25  # angry, disgust (left out), happy
    joined = merge_classes(replace(faces, targets=targets), MOODS)
    assert joined.targets[0].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_labels_follow_the_votes_of_joined_classes(faces):
    targets = np.eye(7, dtype=np.float32)
    assert merge_classes(replace(faces, targets=targets), MOODS).digest == faces.digest
    targets[3, [0, 2, 3]] = 0.3, 0.3, 0.4  # angry and fear together have more than happy
    joined = merge_classes(replace(faces, targets=targets), MOODS)
    assert joined.targets[3].tolist() == pytest.approx([0.4, 0.6])
    assert joined.labels.tolist() == [1, NO_LABEL, 1, 1, 1, 0, 0]
    assert joined.digest != faces.digest


def test_a_class_that_is_not_there_is_named(faces):
    with pytest.raises(UserError, match=r"no class 'hapy'\. Did you mean 'happy'\?"):
        merge_classes(faces, {"a": ["hapy"], "b": ["sad"]})


def test_faults_of_a_merge_are_found_without_images():
    def problems(merge):
        return " ".join(str(fault) for fault in merge_faults(merge))

    assert merge_faults(MOODS) == []
    assert "sadness is in a and in b" in problems({"a": ["sad"], "b": ["sadness", "happy"]})
    assert "a would be the only class" in problems({"a": ["sad"]})
    assert "data.merge.b: has no classes" in problems({"a": ["sad"], "b": []})
