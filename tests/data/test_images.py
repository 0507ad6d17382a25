from functools import partial

import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.choices import Fit
from fer_ablate.data.sources.images import ImageForm, read_pictures, write_in_form
from fer_ablate.data.sources.layouts import folder_inventory
from fer_ablate.errors import UserError


@pytest.fixture
def read(collected):
    """Reads a folder of pictures in a form."""

    def reading(folder, room=None, **form):
        return collected(lambda write: read_pictures(folder_inventory(folder), write, ImageForm(**form), room=room))

    return reading


def test_splits_classes_and_size_come_from_the_folders(folder_of, read):
    faces, parsed = read(folder_of("train/cat/1.png", "train/dog/1.bmp", "val/dog/1.png", size=(4, 6)))
    assert (parsed.splits, parsed.classes) == (("train", "val"), ("cat", "dog"))
    assert faces.shape == (3, 1, 4, 6)
    assert faces[:, 0, 0, 0].tolist() == [10, 11, 12]
    assert (parsed.labels.tolist(), parsed.usage.tolist()) == ([0, 1, 1], [0, 0, 1])
    assert parsed.files == ("train/cat/1.png", "train/dog/1.bmp", "val/dog/1.png")


def test_spellings_of_one_class_are_joined_and_told(folder_of, read):
    _, parsed = read(folder_of("train/Happy/1.png", "train/sad/1.png", "test/happiness/1.png"))
    assert parsed.classes == ("happy", "sad")
    assert parsed.labels.tolist() == [0, 0, 1]
    assert parsed.notes == ("Classes read by their usual names: Happy, happiness as happy.",)


def test_one_colour_image_makes_all_of_them_rgb(folder_of, read):
    folder_of("cat/1.png")
    folder = folder_of("dog/1.png", mode="RGB")
    faces, parsed = read(folder)
    assert faces[:, :, 0, 0].tolist() == [[10, 10, 10], [10, 50, 200]]
    assert parsed.notes == ("1 of 2 images are gray; their levels were repeated, since the others are in colour.",)


def test_channels_may_be_chosen(folder_of, read):
    folder = folder_of("cat/1.png", "dog/1.png", mode="RGB")
    faces, parsed = read(folder, channels=1)
    assert faces[:, 0, 0, 0].tolist() == [55, 55]  # 0.299 * 10 + 0.587 * 50 + 0.114 * 200, and likewise for 11
    assert parsed.notes == ("2 of 2 images are in colour and were turned gray (data.channels=1).",)
    assert read(folder_of("cat/1.png", "dog/1.png", root="gray"), channels=3)[0].shape[1] == 3


def test_odd_sizes_take_the_most_frequent_one(folder_of, read):
    folder_of("cat/1.png", size=(8, 8))
    faces, parsed = read(folder_of("cat/2.png", "cat/3.png", size=(5, 7)))
    assert faces.shape == (3, 1, 5, 7)
    assert parsed.notes[0].startswith("1 of 3 images had another size than the most frequent one, 5x7 (height x width)")
    assert "data.size=48 makes all of them 48x48" in parsed.notes[0]


@pytest.mark.parametrize("fit", list(Fit), ids=lambda fit: fit.name)
def test_a_chosen_size_holds_for_every_image(folder_of, read, fit):
    folder_of("cat/1.png", size=(8, 8))
    faces, parsed = read(folder_of("cat/2.png", size=(5, 7)), size=(12, 10), fit=fit)
    assert faces.shape == (2, 1, 12, 10)
    assert parsed.notes[0].startswith("2 of 2 images were brought to 12x10 (data.size)")


@pytest.mark.parametrize("content", [b"", b"not an image", None], ids=["empty", "text", "cut"])
def test_an_unreadable_image_is_counted_and_named(folder_of, read, content):
    folder = folder_of("cat/1.png", "dog/1.png", size=(64, 64))
    noise = folder / "dog" / "2.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(noise)
    noise.write_bytes(noise.read_bytes()[:2000] if content is None else content)
    faces, parsed = read(folder)
    assert len(faces) == 2
    assert parsed.left_out == {"unreadable": 1}
    assert parsed.notes[-1].startswith("Not read: dog/2.png is ")


def test_a_folder_without_one_readable_image_is_refused(folder_of, read):
    folder = folder_of("cat/1.png")
    (folder / "cat" / "1.png").write_bytes(b"text")
    for form in ({}, {"size": (4, 4), "channels": 1}):
        with pytest.raises(UserError, match=r"none of its 1 pictures can be read; cat/1\.png is not a picture"):
            read(folder, **form)


def test_too_many_images_for_the_disk_are_refused(folder_of, read):
    with pytest.raises(UserError, match=r"2 images of 100x100 take 0\.0 GB.*smaller size, such as data\.size=64"):
        read(folder_of("cat/1.png", "dog/1.png", size=(100, 100)), room=19_999)


@pytest.mark.long
def test_images_go_out_in_blocks_of_bounded_size(folder_of):
    folder = folder_of(*(f"cat/{number:04}.png" for number in range(600)), size=(2, 2))
    sizes = []
    read_pictures(folder_inventory(folder), lambda block: sizes.append(len(block)))
    assert sizes == [256, 256, 88]


def test_table_images_are_resized_while_written(collected):
    def write_two(write):
        write(np.full((2, 1, 4, 4), 7, np.uint8))
        return None

    faces, _ = collected(lambda write: write_two(write_in_form(write, ImageForm(size=(6, 4), channels=3))))
    assert faces.shape == (2, 3, 6, 4)
    assert (faces == 7).all()


def test_a_form_that_changes_nothing_costs_nothing():
    write = partial(print)
    assert write_in_form(write, ImageForm()) is write


def test_more_splits_than_fit_are_refused(folder_of, read):
    folder = folder_of(*(f"part{number:03}/cat/1.png" for number in range(256)), "train/cat/1.png", size=(1, 1))
    with pytest.raises(UserError, match=r"257 splits, such as part000, part001, part002, are more than 256"):
        read(folder)
    (folder / "part000" / "cat" / "1.png").unlink()
    assert len(read(folder)[1].splits) == 256
