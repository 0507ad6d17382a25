"""What is drawn, and where copies go."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_ablate.errors import UserError
from fer_ablate.inference.media.annotate import annotated, enlarged
from fer_ablate.inference.media.frames import Frame
from fer_ablate.inference.media.output import AnnotatedCopies, copy_paths
from fer_ablate.inference.media.sources import Medium, MediumKind, find_media
from fer_ablate.inference.pipeline import ScoredFrame

CLASSES = ("glücklich", "😀", "a very long name of a class that does not fit anywhere")
SHARES = np.array([[0.2, 0.1, 0.7]], np.float32)


@pytest.mark.parametrize("size", [(1, 1), (48, 48), (300, 40), (480, 640), (2000, 3000)])
def test_any_picture_and_box_can_be_drawn_on(size):
    pixels = np.zeros((*size, 3), np.uint8)
    for box in ([0, 0, size[1], size[0]], [size[1] - 1, size[0] - 1, 1, 1], [-5, -5, 20, 20]):
        drawn = annotated(pixels, np.array([box]), SHARES, CLASSES)
        assert drawn.shape == pixels.shape
        assert drawn.any()
        assert not pixels.any()


def test_small_pictures_are_enlarged_with_their_boxes():
    pixels, boxes = enlarged(np.zeros((48, 60, 3), np.uint8), np.array([[1, 2, 3, 4]]))
    assert pixels.shape == (336, 420, 3)
    assert boxes.tolist() == [[7, 14, 21, 28]]
    assert enlarged(pixels, boxes)[0] is pixels


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_thin_pictures_stay_within_every_format(suffix):
    pixels, boxes = enlarged(np.zeros((220, 1, 3), np.uint8), np.array([[0, 0, 1, 220]]))
    assert pixels.shape == (16280, 74, 3)
    assert boxes.tolist() == [[0, 0, 74, 16280]]
    assert cv2.imencode(suffix, pixels)[0]


def scored(path, kind, pixels, fps=0.0):
    medium = Medium(kind, path.name, path, Path(path.name))
    frame = Frame(medium, 0, None, pixels, pixels.shape[:2], fps)
    return ScoredFrame(frame, np.zeros((0, 4), int), np.zeros((0, 3), np.float32))


def test_a_copy_beyond_its_format_is_named(tmp_path):
    long = scored(tmp_path / "long.jpg", MediumKind.picture, np.zeros((1, 70_000, 3), np.uint8))
    with AnnotatedCopies({long.frame.medium: tmp_path / "out" / "long.jpg"}) as copies:
        told = copies.add(long, long.frame.pixels)
    assert str(told) == (
        "long.jpg: has no annotated copy: a .jpg file cannot hold 70,000 x 1 pixels. Convert the picture to .png to get one."
    )


@pytest.mark.parametrize("fps", [29.97003, 65.5361, 119.8765, 479.9999])
def test_a_video_of_any_rate_has_a_copy(tmp_path, fps):
    frame = scored(tmp_path / "v.mp4", MediumKind.video, np.zeros((64, 64, 3), np.uint8), fps)
    path = tmp_path / "out" / "v.mp4"
    with AnnotatedCopies({frame.frame.medium: path}) as copies:
        copies.add(frame, frame.frame.pixels)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(fps, abs=0.005)


def test_copies_never_replace_each_other_or_a_picture(tmp_path):
    for name in ("one/x.jpg", "two/x.jpg", "two/X.JPG", "two/x.pgm", "two/v.avi", "two/v.mov"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    media, _ = find_media([str(tmp_path / "one"), str(tmp_path / "two")])
    found = {str(place) for place in copy_paths(media, Path("out")).values()}
    assert found == {"out/x.jpg", "out/X-2.JPG", "out/x-3.jpg", "out/v.mp4", "out/v-2.mp4", "out/x.png"}
    with pytest.raises(UserError, match="would replace"):
        copy_paths(media, tmp_path / "one")


def test_the_face_is_framed():
    drawn = annotated(np.zeros((100, 100, 3), np.uint8), np.array([[30, 40, 20, 20]]), SHARES, CLASSES)
    assert drawn[59, 30:50].any(axis=1).all()
    assert not cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY)[70:].any()
