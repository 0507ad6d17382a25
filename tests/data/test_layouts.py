import os
from collections import Counter

import numpy as np
import pytest

from fer_ablate.data.sources.layouts import folder_inventory
from fer_ablate.data.sources.published import AFFECTNET, CK_PLUS, RAF_DB
from fer_ablate.errors import UserError


def found(folder):
    """(split, class) -> number of pictures."""
    return Counter((picture.split, picture.label) for picture in folder_inventory(folder).pictures)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/happy/1.png", "test/sad/1.png"], {("train", "happy"): 1, ("test", "sad"): 1}),
        (["a/b/train/happy/1.png", "a/b/test/sad/1.png"], {("train", "happy"): 1, ("test", "sad"): 1}),
        (["train/happy/p1/1.png", "train/sad/p1/2.png"], {("train", "happy"): 1, ("train", "sad"): 1}),
        (["train/images/happy/1.png", "train/images/sad/1.png"], {("train", "happy"): 1, ("train", "sad"): 1}),
        (["train/train/happy/1.png", "test/test/sad/1.png"], {("train", "happy"): 1, ("test", "sad"): 1}),
        (["happy/1.png", "sad/1.png", "sad/2.png"], {("all", "happy"): 1, ("all", "sad"): 2}),
        (["faces/happy/1.png", "faces/sad/1.png"], {("all", "happy"): 1, ("all", "sad"): 1}),
        (["cats/kittens/1.png", "cats/2.png", "dogs/1.png"], {("all", "cats"): 2, ("all", "dogs"): 1}),
        (["happy/train/1.png", "sad/test/1.png"], {("train", "happy"): 1, ("test", "sad"): 1}),
        (["Train/cat/1.png", "preview.png", "TEST/dog/1.JPG"], {("Train", "cat"): 1, ("TEST", "dog"): 1}),
        (["train/p1/happy/1.png", "train/p1/sad/2.png", "train/p2/sad/3.png"], {("train", "happy"): 1, ("train", "sad"): 2}),
        (["in/train/cat/1.png", "in/test/dog/2.png", "previews/3.png"], {("train", "cat"): 1, ("test", "dog"): 1}),
        (["preview.png", "in/train/cat/1.png", "in/test/dog/1.png"], {("train", "cat"): 1, ("test", "dog"): 1}),
    ],
    ids=[
        "splits and classes",
        "two levels too high",
        "persons below classes",
        "a folder between split and classes",
        "a split unpacked into itself",
        "classes alone",
        "classes one level too high",
        "a folder within a class",
        "classes before splits",
        "any case, and a picture beside",
        "persons between splits and classes",
        "a folder of previews beside",
        "a picture beside the only folder",
    ],
)
def test_folders_are_understood(folder_of, names, expected):
    assert found(folder_of(*names)) == expected


def test_every_file_that_is_not_read_is_counted(folder_of):
    folder = folder_of(
        "train/cat/1.png", "train/dog/1.png", "train/.ipynb_checkpoints/1.png", "train/cat/._1.png", "__MACOSX/1.png"
    )
    for name in ("notes.txt", "train/cat/README", "train/stray.png"):
        (folder / name).write_text("")
    os.symlink(folder, folder / "train" / "cat" / "up")
    os.symlink(folder / "nowhere", folder / "train" / "cat" / "gone.png")
    assert folder_inventory(folder).left_out == {
        "hidden": 2, "__MACOSX": 1, ".txt": 1, "no ending": 1, "not below a class": 1,
        "links to a folder above": 1, "links to nothing": 1,
    }  # fmt: skip


def test_a_pipe_is_not_waited_for(folder_of):
    folder = folder_of("happy/1.png", "sad/1.png")
    os.mkfifo(folder / "happy" / "2.png")
    assert folder_inventory(folder).left_out == {"pipes and devices": 1}


def test_one_odd_file_leaves_persons_together(folder_of):
    names = [f"{label}/s00{person}_001_0000000{person}.png" for label in ("happy", "sad") for person in range(1, 4)]
    inventory = folder_inventory(folder_of(*names, "happy/extra.png"))
    assert [picture.group for picture in inventory.pictures] == ["", "S001", "S002", "S003", "S001", "S002", "S003"]
    assert inventory.notes[0].endswith("1 others count as a person each.")


def test_a_linked_folder_counts_as_a_folder(folder_of):
    folder = folder_of("train/cat/1.png", "train/dog/1.png")
    os.symlink(folder / "train", folder / "test")
    assert sum(found(folder).values()) == 4


def test_rows_are_in_the_order_of_paths(folder_of):
    folder = folder_of("b/2.png", "b/10.png", "a/1.png")
    assert [picture.file.path for picture in folder_inventory(folder).pictures] == ["a/1.png", "b/10.png", "b/2.png"]


def test_rafdb_is_read_by_its_list(folder_of):
    folder = folder_of(
        "Image/aligned/train_00001_aligned.jpg", "Image/aligned/test_0001_aligned.jpg", "Image/original/train_00001.jpg"
    )
    (folder / "EmoLabel").mkdir()
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 4\ntest_0001.jpg\t1.0\r\ntest_0002.jpg,7\n")
    inventory = folder_inventory(folder)
    assert found(folder) == {("train", "happy"): 1, ("test", "surprise"): 1}
    assert inventory.left_out == {"other versions of an image that is read": 1}
    assert inventory.notes[1] == "1 of 3 images of list_patition_label.txt are not there."


def test_rafdb_is_known_by_its_file_names(folder_of):
    names = [f"train/{label}/train_0000{label}_aligned.jpg" for label in range(1, 8)]
    assert found(folder_of(*names)) == {("train", name): 1 for name in RAF_DB}


def test_numbers_of_other_data_sets_stay_numbers(folder_of):
    inventory = folder_inventory(folder_of("train/0/a.png", "train/3/b.png"))
    assert {picture.label for picture in inventory.pictures} == {"0", "3"}
    assert "The classes are numbers (0, 3); data.merge=" in inventory.notes[0]


def test_ferplus_is_read_by_its_votes(folder_of):
    folder = folder_of("FER2013Train/fer0.png", "FER2013Train/fer1.png", "FER2013Test/fer2.png")
    line = '{},"(0, 0, 48, 48)",{}\n'
    (folder / "FER2013Train" / "label.csv").write_text(line.format("fer0.png", "4,6,0,0,0,0,0,0,0,0"))
    (folder / "FER2013Test" / "label.csv").write_text(line.format("fer2.png", "0,0,0,10,0,0,0,0,0,0"))
    inventory = folder_inventory(folder)
    assert [(one.split, one.votes[:4]) for one in inventory.pictures] == [
        ("FER2013Test", (0, 0, 0, 10)), ("FER2013Train", (4, 6, 0, 0)),
    ]  # fmt: skip
    assert inventory.left_out == {"without a label": 1}


def test_affectnet_is_read_by_its_annotations(folder_of):
    names = [f"train_set/images/{label}.jpg" for label in range(-1, 9)]
    folder = folder_of(*names)
    (folder / "train_set" / "annotations").mkdir()
    for label in range(-1, 9):
        np.save(folder / "train_set" / "annotations" / f"{label}_exp.npy", np.array(str(label) if label % 2 else float(label)))
        np.save(folder / "train_set" / "annotations" / f"{label}_aro.npy", np.array("0.1"))
    assert found(folder) == {("train_set", name): 1 for name in AFFECTNET}
    assert folder_inventory(folder).left_out == {"no expression by their label": 2}


def test_ckplus_is_read_by_its_emotion_files(folder_of):
    frames = [f"cohn-kanade-images/S005/001/S005_001_0000000{number}.png" for number in range(1, 6)]
    folder = folder_of(*frames, "cohn-kanade-images/S006/002/S006_002_00000001.png")
    (folder / "Emotion" / "S005" / "001").mkdir(parents=True)
    (folder / "Emotion" / "S005" / "001" / "S005_001_00000005_emotion.txt").write_text("   3.0000000e+00\n")
    inventory = folder_inventory(folder)
    assert [picture.file.name for picture in inventory.pictures] == [f"S005_001_0000000{number}.png" for number in (3, 4, 5)]
    assert {(picture.label, picture.group) for picture in inventory.pictures} == {(CK_PLUS[3], "S005")}
    assert inventory.left_out == {"without a label": 3}


def test_ckplus_without_labels_is_not_sorted_by_person(folder_of):
    folder = folder_of("S005/001/S005_001_00000001.png", "S006/001/S006_001_00000001.png")
    with pytest.raises(UserError, match=r"S005, S006 are persons of CK\+, not classes"):
        folder_inventory(folder)


def test_persons_of_ckplus_are_read_from_file_names(folder_of):
    inventory = folder_inventory(folder_of("anger/S010_004_00000017.png", "happy/S011_001_00000001.png"))
    assert [picture.group for picture in inventory.pictures] == ["S010", "S011"]


def test_jaffe_is_read_from_its_file_names(folder_of):
    inventory = folder_inventory(folder_of("KA.AN1.39.tiff", "KA.HA2.30.tiff", "YM.NE1.49.tiff", "README.png"))
    assert [(one.group, one.label) for one in inventory.pictures] == [("KA", "angry"), ("KA", "happy"), ("YM", "neutral")]
    assert inventory.left_out == {"not named like JAFFE": 1}


@pytest.mark.parametrize(
    ("images", "labels"), [("train/images/1.jpg", "train/labels/1.txt"), ("images/val/1.jpg", "labels/val/1.txt")]
)
def test_a_detectors_export_is_refused_with_remedy(folder_of, images, labels):
    folder = folder_of(images)
    (folder / labels).parent.mkdir(parents=True)
    (folder / labels).write_text("3 0.5 0.5 1 1\n")
    with pytest.raises(UserError, match=r"this is a detector's export .*data=list data\.path=labels\.csv"):
        folder_inventory(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no images below it\. Expected <split>/<class>/<image>"),
        (["1.png", "2.png"], r"its 2 images are not in folders of classes"),
        (
            ["a/cat/1.png", "a/dog/1.png", "b/cat/1.png", "b/dog/1.png"],
            r"a, b hold the same classes but none of them is a known split",
        ),
        (
            ["raf/train/cat/1.png", "raf/test/dog/1.png", "ck/train/cat/1.png", "ck/test/dog/1.png"],
            r"in several folders: ck, raf",
        ),
        (["raf/train/cat/1.png", "ck/train/cat/1.png", "raf/x/1.png"], r"splits are found in several folders: ck, raf"),
    ],
    ids=["nothing", "a flat folder", "splits of unknown name", "two whole data sets", "two data sets"],
)
def test_what_cannot_be_understood_says_what_was_seen(folder_of, tmp_path, names, message):
    (tmp_path / "faces").mkdir()
    with pytest.raises(UserError, match=message):
        folder_inventory(folder_of(*names))


def test_a_folder_of_other_files_lists_their_endings(folder_of, tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "video.mp4").write_text("")
    with pytest.raises(UserError, match=r"no images below it; 1 file not read \(\.mp4 1\)"):
        folder_inventory(tmp_path / "faces")


def test_a_flat_folder_points_to_its_list(folder_of):
    folder = folder_of("1.png")
    (folder / "train_labels.csv").write_text("image,label\n1.png,3\n")
    with pytest.raises(UserError, match=r"data=list data\.path=\.\.\. Such a list may be train_labels\.csv"):
        folder_inventory(folder)


def test_persons_above_emotions_are_not_classes(folder_of):
    names = ["anna/happy/1.png", "anna/sad/2.png", "bob/Happy/3.png", "bob/fear/4.png", "carl/fear/5.png"]
    inventory = folder_inventory(folder_of(*names))
    assert [(one.label, one.group) for one in inventory.pictures] == [
        ("happy", "anna"), ("sad", "anna"), ("Happy", "bob"), ("fear", "bob"), ("fear", "carl"),
    ]  # fmt: skip
    assert inventory.layout == "<person>/<class>/<image>"
    assert inventory.notes == (
        "Folders above the classes are persons: images of one person stay together where splits or folds are drawn.",
    )


def test_classes_that_divide_emotions_stay_classes(folder_of):
    names = ["positive/happy/1.png", "positive/surprise/2.png", "negative/sad/3.png"]
    assert found(folder_of(*names)) == {("all", "positive"): 2, ("all", "negative"): 1}
    # Surprise may be either, so that one of the names occurs in both.
    more = [*names, "negative/surprise/4.png", "neutral/neutral/5.png"]
    assert found(folder_of(*more, root="more")) == {("all", "positive"): 2, ("all", "negative"): 2, ("all", "neutral"): 1}


def test_persons_with_equal_emotions_learn_what_helps(folder_of):
    names = [f"{person}/{label}/1.png" for person in ("anna", "bob") for label in ("happy", "sad")]
    with pytest.raises(UserError, match=r"If they are persons, move them into a folder called train\."):
        folder_inventory(folder_of(*names))
    assert found(folder_of(*(f"train/{name}" for name in names), root="moved")) == {("train", "happy"): 2, ("train", "sad"): 2}


@pytest.mark.parametrize("splits", [["train", "test"], [""]], ids=["in all splits", "without splits"])
def test_empty_folders_of_classes_are_noted(folder_of, splits):
    folder = folder_of(*(f"{split or '.'}/{label}/1.png" for split in splits for label in ("happy", "sad")))
    for split in splits:
        (folder / split / "fear" / "deeper").mkdir(parents=True)
    assert folder_inventory(folder).notes == ("Folders without images, which are not classes: fear.",)


def test_a_class_lacking_in_one_split_is_known(folder_of):
    folder = folder_of("train/happy/1.png", "train/sad/2.png", "test/happy/3.png")
    (folder / "test" / "Sadness").mkdir()
    assert folder_inventory(folder).notes == ()


def test_absent_sequences_of_ckplus_are_counted(folder_of):
    folder = folder_of("images/S005_001_00000001.png")
    for sequence in ("S005_001", "S006_001", "S007_001"):
        (folder / f"{sequence}_00000005_emotion.txt").write_text("3")
    assert folder_inventory(folder).notes == (
        "The last 3 frames of each of the 1 labelled sequences of CK+ are read.",
        "2 of 3 labelled sequences are not there.",
    )


def test_a_folder_nobody_may_enter_is_locked(folder_of, shared, forbidden):
    folder = folder_of("happy/1.png", "sad/2.png", "fear/3.png", "fear/4.png", root=shared / "faces")
    with forbidden(folder / "fear", mode=0o444):
        inventory = folder_inventory(folder)
    assert inventory.left_out == {"folders without read permission": 1}
