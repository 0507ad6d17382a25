import numpy as np
import pytest
from PIL import Image

from fer_ablate.data.pictures import read_folder, read_kaggle_folder
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS


def save(path, size=(6, 4), mode="L", value=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, value + 1, value + 2)).save(path)


def test_splits_classes_and_size_come_from_the_folders(tmp_path):
    save(tmp_path / "train/cat/1.png", value=1)
    save(tmp_path / "train/dog/1.bmp", value=2)
    save(tmp_path / "val/dog/1.png", value=3)
    parsed = read_folder(tmp_path)
    assert (parsed.splits, parsed.classes) == (("train", "val"), ("cat", "dog"))
    assert parsed.faces.shape == (3, 1, 4, 6)
    assert parsed.faces[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert (parsed.labels.tolist(), parsed.usage.tolist()) == ([0, 1, 1], [0, 0, 1])


def test_one_colour_image_makes_all_of_them_rgb(tmp_path):
    save(tmp_path / "train/cat/1.png", value=1)
    save(tmp_path / "train/cat/2.png", mode="RGB", value=5)
    faces = read_folder(tmp_path).faces
    assert faces[:, :, 0, 0].tolist() == [[1, 1, 1], [5, 6, 7]]


def test_odd_sizes_are_resized_to_the_most_frequent_one(tmp_path):
    for name, size in [("1", (8, 8)), ("2", (5, 5)), ("3", (5, 5))]:
        save(tmp_path / f"train/cat/{name}.png", size=size)
    parsed = read_folder(tmp_path)
    assert parsed.faces.shape == (3, 1, 5, 5)
    assert parsed.notes == ("1 of 3 images had another size than 5x5 and were resized.",)


@pytest.mark.parametrize("content", [b"", b"not an image"], ids=["empty", "text"])
def test_an_unreadable_image_is_named(tmp_path, content):
    save(tmp_path / "train/cat/1.png")
    (tmp_path / "train/cat/2.png").write_bytes(content)
    with pytest.raises(UserError, match=r"train/cat/2\.png cannot be read as an image"):
        read_folder(tmp_path)


def test_a_cut_image_is_named(tmp_path):
    path = tmp_path / "train/cat/1.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"1\.png cannot be read as an image"):
        read_folder(tmp_path)


def test_sixteen_bit_images_are_refused_rather_than_cut_off(tmp_path):
    save(tmp_path / "train/cat/1.png")
    Image.fromarray(np.full((4, 4), 5000, np.uint16)).save(tmp_path / "train/cat/2.png")
    with pytest.raises(UserError, match=r"2\.png has more than 8 bits per channel"):
        read_folder(tmp_path)


def test_a_folder_without_images_says_which_layout_is_expected(tmp_path):
    with pytest.raises(UserError, match=r"no images below it\. Expected <split>/<class>/<image>"):
        read_folder(tmp_path)
    save(tmp_path / "cat/1.png")
    with pytest.raises(UserError, match="its images are not in folders of splits and classes"):
        read_folder(tmp_path)


def test_official_splits_of_kaggle_images_are_recovered_from_their_names(tmp_path):
    save(tmp_path / "train/angry/Training_1.jpg", (48, 48))
    save(tmp_path / "test/disgusted/PrivateTest_7.jpg", (48, 48))
    save(tmp_path / "test/surprise/PublicTest_5.jpg", (48, 48))
    parsed = read_kaggle_folder(tmp_path)
    assert parsed.classes == EMOTIONS
    found = {(parsed.splits[usage], EMOTIONS[label]) for usage, label in zip(parsed.usage, parsed.labels, strict=True)}
    assert found == {("Training", "angry"), ("PrivateTest", "disgust"), ("PublicTest", "surprise")}


def test_kaggle_test_images_without_such_names_are_one_split(tmp_path):
    save(tmp_path / "train/fearful/im1.png", (48, 48))
    save(tmp_path / "test/happy/im1.png", (48, 48))
    save(tmp_path / "test/happy/PublicTest_1.png", (48, 48))
    parsed = read_kaggle_folder(tmp_path)
    assert parsed.splits == ("Training", "test")
    assert np.bincount(parsed.usage).tolist() == [1, 2]


def test_a_class_that_fer2013_does_not_have_points_to_data_folder(tmp_path):
    save(tmp_path / "train/bored/1.png", (48, 48))
    with pytest.raises(UserError, match=r"'bored' is not a class of FER2013.*data=folder"):
        read_kaggle_folder(tmp_path)
