"""Images that a function of the user's own gives."""

import numpy as np
import pytest

from fer_ablate.data.sources.own import read_own
from fer_ablate.errors import FaultyConfigError

READERS = """
import numpy as np

IMAGES = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)

def all_said(count=4):
    said = {"labels": ["sad", "happy", "sad", "sad"], "splits": ["train", "train", "val", "test"], "groups": [2, 1, 2, 3]}
    return {"images": IMAGES[:count], "classes": ["sad", "happy"], **said}

def only_labels():
    return {"images": IMAGES[:, None], "labels": [3, 1, 3, 1]}

def nothing():
    return IMAGES

def floats():
    return {"images": IMAGES / 255, "labels": "abab"}

def changed(**entries):
    return {"images": IMAGES, "labels": "abab", **entries}

def sizes():
    return changed(images=[np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)])

def generator():
    return changed(labels=(one for one in "abab"))

def many():
    return {"images": np.zeros((257, 1, 1), np.uint8), "labels": [0] * 257, "splits": range(257)}

def unknown():
    return {"images": IMAGES, "labels": "abac", "classes": "ab"}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read with a function of the module above."""
    (tmp_path / "readers.py").write_text(READERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name, grouped=True, **arguments: read_own(f"readers.{name}", arguments, ["readers"], grouped)


def test_images_get_their_labels_splits_and_groups(read):
    faces = read("all_said")
    assert (faces.classes, faces.labels.tolist()) == (("sad", "happy"), [0, 1, 0, 0])
    assert [faces.split_rows(split).tolist() for split in ("train", "val", "test")] == [[0, 1], [2], [3]]
    assert (faces.size, faces.channels, faces.groups.tolist()) == ((6, 5), 1, [1, 0, 1, 2])


def test_labels_are_enough(read):
    faces = read("only_labels")
    assert (faces.classes, faces.splits, faces.groups) == (("1", "3"), ("all",), None)
    assert np.array_equal(faces.faces[1, 0], np.arange(30, 60).reshape(6, 5))


def test_used_groups_are_part_of_the_identity(read):
    assert read("all_said").digest != read("all_said", grouped=False).digest
    assert read("all_said").digest == read("all_said").digest


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("all_said", {"count": 3}, "returns 3 images, but 4 labels, 4 splits, 4 groups"),
        ("nothing", {}, "returns a ndarray, without images and labels"),
        ("floats", {}, r"returns images of shape \(4, 6, 5\) and type float64"),
        ("unknown", {}, "returns labels that are not among its classes: c"),
        ("sizes", {}, "returns images that make no array, as those of different sizes"),
        ("changed", {"labels": None}, "returns labels as NoneType, not as a list of names"),
        ("changed", {"labels": 5, "classes": 3}, "returns labels as int and classes as int, not as a list of names"),
        ("changed", {"labels": np.array(5)}, "returns labels as ndarray, not as a list of names"),
        ("generator", {}, "returns labels as generator, not as a list of names"),
        ("many", {}, "returns 257 different splits, more than 256"),
        ("all_said", {"count": "four"}, "fails: TypeError: slice indices"),
    ],
)
def test_what_is_no_data_set_is_answered(read, name, arguments, message):
    with pytest.raises(FaultyConfigError, match=message):
        read(name, **arguments)
