"""What is drawn, and where copies go."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_ablate.errors import UserError
from fer_ablate.inference.media.annotate import annotated, enlarged
from fer_ablate.inference.media.output import copy_paths
from fer_ablate.inference.media.sources import find_media

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
