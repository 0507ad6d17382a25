"""Contact sheets: what is on them, and where."""

import numpy as np
import pytest
import torch
from PIL import Image

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.augment import build_augment
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.prepare import build_prepare
from fer_ablate.data.transform import Preprocess
from fer_ablate.report.plots.contact_sheets import (
    KINDS,
    MOST_LINES,
    Block,
    Material,
    Sheet,
    Tile,
    augmented,
    classes,
    samples,
    save_sheets,
)

SIZE = (24, 32)


def material(steps=(), prepare=(), number=12, names=("happy", "sad"), seed=0, images=None):
    """Colour images of 24x32, half of them in train and half in test; the first pixel of each tells its row."""
    draw = np.random.default_rng(1)
    faces = draw.integers(0, 256, (number, 3, *SIZE)).astype(np.uint8)
    faces[:, :, 0, 0] = np.arange(number)[:, None] % 256
    labels = np.arange(number, dtype=np.int64) % len(names)
    usage = (np.arange(number) >= number // 2).astype(np.uint8)
    every = FaceSet(faces, labels, None, usage, ("train", "test"), tuple(names), np.arange(number), "0" * 64)
    augment = build_augment(AugmentConfig(steps=list(steps)))
    size = (16, 16) if any(step["op"] == "ten_crop" for step in steps) else SIZE
    preprocess = Preprocess(augment, size=size, mean=0.5, std=0.5, channels=3, prepare=build_prepare(prepare))
    return Material(every, every.split_rows("train"), preprocess, seed, images)


def test_samples_show_each_split_by_class():
    given = material(number=40)
    sheets = samples(given)
    assert [sheet.name for sheet in sheets] == ["samples-train", "samples-test"]
    assert sheets[0].title == "train: 20 of 20 images, drawn at random (seed 0)"
    for sheet, split in zip(sheets, ("train", "test"), strict=True):
        rows = [int(tile.pixels[0, 0, 0]) for tile in sheet.blocks[0].tiles]
        assert set(rows) <= set(given.faces.split_rows(split).tolist())
        assert [tile.caption for tile in sheet.blocks[0].tiles] == [given.faces.classes[given.faces.labels[row]] for row in rows]


def test_the_seed_decides_what_is_drawn():
    def drawn(seed):
        return [int(tile.pixels[0, 0, 0]) for tile in samples(material(number=200, seed=seed))[0].blocks[0].tiles]

    assert len(drawn(0)) == 60
    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)


def test_copies_beside_originals_are_those_of_training():
    prepare = [{"op": "equalize"}]
    (sheet,) = augmented(given := material([{"op": "flip", "p": 1.0}], prepare, images=3))
    assert [block.label for block in sheet.blocks] == ["happy", "", "sad", ""]
    for block in sheet.blocks:
        original, prepared, *copies = block.tiles
        assert (original.caption, prepared.caption, len(copies)) == ("original", "prepared", 3)
        expected = given.preprocess.prepared(torch.from_numpy(original.pixels.copy())[None])[0].numpy() * 255
        np.testing.assert_array_equal(prepared.pixels, expected.round())
        for copy in copies:
            np.testing.assert_array_equal(copy.pixels, prepared.pixels[:, :, ::-1])  # flipped left to right


def test_random_copies_leave_training_randomness_alone():
    steps = [{"op": "affine", "p": 1.0, "rotation": 40}]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    (first,), (again,), (other,) = augmented(material(steps)), augmented(material(steps)), augmented(material(steps, seed=1))
    assert torch.equal(torch.rand(3), expected)
    copies = [np.stack([tile.pixels for tile in sheet.blocks[0].tiles[1:]]) for sheet in (first, again, other)]
    assert len({copy.tobytes() for copy in copies[0]}) == 8
    np.testing.assert_array_equal(copies[0], copies[1])
    assert (copies[0] != copies[2]).any()


def test_ten_crops_are_ten_views_of_one():
    (sheet,) = augmented(material([{"op": "ten_crop", "size": 16}]))
    assert [len(block.tiles) for block in sheet.blocks] == [11] * 4
    assert sheet.across == 11  # all on one line
    assert {tile.pixels.shape for tile in sheet.blocks[0].tiles[1:]} == {(3, 16, 16)}
    assert "(24x32) beside copies as training sees them (16x16)" in sheet.title


def test_copies_without_augmentation_are_said_to_be_none():
    (sheet,) = augmented(material())
    assert "data.prepare and augment.steps are empty" in sheet.note


def test_each_class_has_mean_face_and_counts():
    given = material(number=10)
    (sheet,) = classes(given)
    assert sheet.blocks[0].label == "happy\n5 images\n3 train\n2 test"
    mean, *examples = sheet.blocks[0].tiles
    happy = given.faces.faces[given.faces.labels == 0]
    np.testing.assert_array_equal(mean.pixels, happy.astype(float).mean(axis=0).round())
    assert [int(tile.pixels[0, 0, 0]) for tile in examples] == [0, 2, 4, 6, 8]


def test_images_are_drawn_in_whole_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 200, (3, *SIZE)).astype(np.uint8)
    (file,), notes = save_sheets(tmp_path, [Sheet("one", "A title", [Block([Tile(pixels, "happy")], "a label")])])
    with Image.open(file) as image:
        page = np.asarray(image.convert("RGB")).astype(int)
    shown = np.moveaxis(pixels, 0, -1).repeat(3, axis=0).repeat(3, axis=1)  # 32 pixels of width as 96
    places = np.argwhere((page[: -shown.shape[0], : -shown.shape[1]] == shown[0, 0]).all(axis=-1))
    assert any((page[top : top + shown.shape[0], left : left + shown.shape[1]] == shown).all() for top, left in places)
    assert notes == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("count", "pages"),
    [
        pytest.param(MOST_LINES, 1, marks=pytest.mark.slow),
        pytest.param(MOST_LINES + 1, 2, marks=pytest.mark.slow),
        (2 * MOST_LINES + 1, 2),
    ],
)
def test_many_classes_get_a_limited_number_of_pages(tmp_path, count, pages):
    tile = Tile(np.zeros((1, 8, 8), np.uint8))
    sheet = Sheet("classes", "Each class", [Block([tile], f"class {number}") for number in range(count)])
    files, notes = save_sheets(tmp_path, [sheet], most_pages=2)
    assert len(files) == pages
    left_out = f"classes: {count - 1} of {count} lines of images are shown, on 2 pages."
    assert notes == ([left_out] if count > 2 * MOST_LINES else [])


def test_only_pages_of_earlier_drawings_are_removed(tmp_path):
    for name in ("classes-02.png", "classes-of-mine.png", "augmented.png"):
        (tmp_path / name).write_bytes(b"")
    save_sheets(tmp_path, classes(material()))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["augmented.png", "classes-of-mine.png", "classes.png"]


@pytest.mark.slow
def test_the_same_sheets_are_the_same_files(tmp_path):
    steps = [{"op": "flip", "p": 0.5}]
    for name in ("first", "second"):
        save_sheets(tmp_path / name, [sheet for kind in KINDS.values() for sheet in kind(material(steps))])
    files = sorted((tmp_path / "first").iterdir())
    assert len(files) == 4
    assert all(file.read_bytes() == (tmp_path / "second" / file.name).read_bytes() for file in files)
