"""`data`: counts, roles, what was left out, and contact sheets, as a person asks for them."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    """Writes a gray picture under each of some names, and gives the words for the folder."""

    def write(*names):
        draw = np.random.default_rng(0)
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (12, 16), dtype=np.uint8)).save(path)
        return "data=folder", f"data.path={tmp_path / 'images'}", f"runs_dir={tmp_path / 'runs'}"

    return write


def named(*splits, classes=("happy", "sad"), count=3):
    return [f"{split}/{name}/{number}.png" for split in splits for name in classes for number in range(count)]


def test_counts_roles_and_omissions_are_shown(typed, images, tmp_path):
    words = images(*named("train", "val", "test"))
    (tmp_path / "images" / "read me.txt").touch()
    (tmp_path / "images" / "train" / "happy" / ".DS_Store").touch()
    printed = typed("data", *words)
    assert (printed.code, printed.err) == (0, "")
    assert "folder, 1x12x16" in printed.out
    assert "2 files not read" in printed.out
    assert ".txt 1" in printed.out
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["train", "6", "3", "3"] in lines
    assert ["all", "18", "9", "9"] in lines
    assert "roles (official)" in printed.out
    assert lines.index(["train", "6", "3", "3"]) < lines.index(["val", "6", "3", "3"]) < lines.index(["test", "6", "3", "3"])


def test_counts_are_shown_although_the_roles_are_refused(typed, images):
    words = images(*named("train"), *named("test", classes=("happy", "sad", "bored")))
    printed = typed("data", *words)
    assert printed.code == 0
    assert "a run would be refused: test has 3 images of bored, but train has none" in printed.out
    assert ["test", "9", "3", "3", "3"] in [line.split() for line in printed.out.splitlines()]
    assert "surplus exact copies" in printed.out


def test_copies_across_roles_are_counted(typed, images, tmp_path):
    words = images(*named("train", "val", "test"))
    folder = tmp_path / "images"
    (folder / "test" / "sad" / "copy.png").write_bytes((folder / "train" / "sad" / "0.png").read_bytes())
    assert "Copies: 1 test images have exactly the pixels of a training image." in typed("data", *words).out


def test_many_classes_are_listed_one_below_the_other(typed, images):
    people = [f"person{number:02}" for number in range(30)]
    printed = typed("data", *images(*(f"{name}/{number}.png" for name in people for number in range(5))))
    assert printed.code == 0
    assert ["person29", "5"] in [line.split() for line in printed.out.splitlines()]
    assert max(map(len, printed.out.splitlines())) < 140


def test_contact_sheets_are_drawn_and_named(typed, images, tmp_path):
    words = images(*named("train", "val", "test"))
    printed = typed("data", *words, "show=[samples,classes]", f"output={tmp_path / 'sheets'}", "images=4")
    assert (printed.code, printed.err) == (0, "")
    files = sorted((tmp_path / "sheets").iterdir())
    assert [file.name for file in files] == ["classes.png", "samples-test.png", "samples-train.png", "samples-val.png"]
    assert all(str(file) in printed.out for file in files)
    assert not (tmp_path / "runs").exists()


def test_named_contact_sheets_go_below_the_runs(typed, images, tmp_path):
    words = images(*named("train", "val", "test"))
    printed = typed("data", *words, "show=augmented", "augment=flip", "name=mine")
    assert printed.code == 0
    assert f"{tmp_path / 'runs' / 'data' / 'mine' / 'augmented.png'}" in printed.out


@pytest.mark.parametrize(
    ("words", "answer"),
    {
        "an unknown sheet": (["show=sampels"], "show: there is no 'sampels'.\n    Did you mean 'samples'?"),
        "not a number of images": (["show=all", "images=many"], "images: 'many' is not a whole number from 1 to 400."),
        "a folder for nothing": (["output=sheets"], "give show= as well"),
        "a misspelt word": (["shwo=all"], "shwo: there is no such word.\n    Did you mean 'show'?"),
    }.values(),
)
def test_wrong_words_are_answered_before_reading(typed, words, answer):
    printed = typed("data", "data=synthetic", *words)
    assert (printed.code, printed.out) == (1, "")
    assert answer in printed.err


def test_a_crop_larger_than_the_images_is_refused(typed, images):
    printed = typed("data", *images(*named("train", "val", "test")), "show=augmented", "augment=crop40")
    assert printed.code == 1
    assert "crop is larger than the 12x16 images" in printed.err
