"""A network layer by layer, for whatever images it would be trained on."""

import pytest
from PIL import Image

from ..cases import cases


@pytest.fixture
def pictures(tmp_path):
    """Colour pictures of three classes, 40 pixels high and 56 wide."""
    for split in ("train", "val", "test"):
        for name in ("cat", "dog", "fox"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (56, 40), "red").save(folder / "0.png")
    return tmp_path / "pets"


UNREAD = {
    "FER+ with contempt in another size": (["data=ferplus", "data.num_classes=8", "data.size=[40,56]"], "1x40x56 -> 8 classes"),
    "drawn faces in larger classes": (["data.merge={good: [happy], bad: [sad, angry]}"], "1x48x48 -> 2 classes"),
    "prepared images": (["data.prepare=[{op: resize, size: [32, 24]}]"], "1x32x24 -> 7 classes"),
    "trained on crops": (["data.size=[40,56]", "augment.steps=[{op: crop, size: [36, 48]}]"], "1x36x48 -> 7 classes"),
    "a folder of which all is told": (
        ["data=folder", "data.path=/nowhere", "data.size=40", "data.merge={a: [x], b: [y], c: [z]}"],
        "1x40x40 -> 3 classes",
    ),
}


@pytest.mark.parametrize("case", cases(UNREAD, slow=["drawn faces in larger classes", "a folder of which all is told"]))
def test_images_are_not_needed_for_known_sizes(typed, case):
    words, title = case
    printed = typed("describe", "model=pisa", *words)
    assert (printed.code, printed.err) == (0, "")
    assert title in printed.out


@pytest.mark.parametrize(
    ("words", "title"),
    [
        pytest.param((), "3x40x56 -> 3 classes", id="as they are"),
        pytest.param(
            ("data.merge={pet: [cat, dog], wild: [fox]}",),
            "3x40x56 -> 2 classes",
            id="in larger classes",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_folder_tells_the_rest(typed, pictures, words, title):
    printed = typed("describe", "model=pisa", "model.in_channels=3", "data=folder", f"data.path={pictures}", *words)
    assert (printed.code, printed.err) == (0, "")
    assert title in printed.out


def test_a_missing_folder_is_named(typed):
    assert "/nowhere" in typed("describe", "model=pisa", "data=folder", "data.path=/nowhere").err
    assert "data.path: not given" in typed("describe", "model=pisa", "data=folder").err


def test_too_deep_a_network_is_refused(typed, pictures):
    words = ("data=folder", f"data.path={pictures}", "model.stages=[{channels: 4, pool: max, pool_kernel: 45}]")
    printed = typed("describe", "model=pisa", *words)
    assert printed.code == 1
    assert "model.stages[0]: pool_kernel 45 on a 40x56 map." in printed.err
