"""Where faces are, and how they are cut out."""

import cv2
import numpy as np
import pytest

from fer_ablate.config.choices import Fit
from fer_ablate.data.decode import planes, with_channels
from fer_ablate.errors import UserError
from fer_ablate.inference.media.detection import FaceCropping, build_detector, crop_face, distinct_boxes, faces_in
from fer_ablate.inference.media.frames import as_frame

from .drawn import scene

RAMP = np.tile(np.arange(100, dtype=np.uint8), (100, 1))


@pytest.mark.parametrize("scale", [1, 4])
def test_haar_gives_coordinates_of_the_picture(scale):
    picture = scene(60 * scale, 20 * scale, 200 * scale, 320 * scale, 240 * scale)
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    ((x, y, width, height),) = build_detector("haar", 240).faces(gray) / scale
    assert abs(x + width / 2 - 160) < 15
    assert abs(y + height / 2 - 120) < 15
    assert 150 < width < 210


def test_haar_finds_nothing_in_noise():
    detector = build_detector("haar", 720)
    assert detector.faces(np.full((200, 300), 90, np.uint8)).shape == (0, 4)
    assert detector.faces(np.zeros((1, 1), np.uint8)).shape == (0, 4)
    assert detector.faces(np.zeros((1, 5000), np.uint8)).shape == (0, 4)


def test_overlapping_boxes_are_one_face():
    boxes = np.array([[50, 50, 20, 20], [0, 0, 40, 40], [45, 45, 40, 40], [200, 0, 60, 60]])
    assert distinct_boxes(boxes).tolist() == [[200, 0, 60, 60], [0, 0, 40, 40], [45, 45, 40, 40]]
    assert distinct_boxes(np.zeros((0, 4), np.int64)).shape == (0, 4)


def test_an_unknown_detector_is_answered_with_choices():
    with pytest.raises(UserError, match=r"Did you mean 'haar'\? Choices: haar, none"):
        build_detector("har", 240)


def test_a_crop_is_square_with_its_margin():
    face = crop_face(RAMP, np.array([40, 30, 20, 10]), FaceCropping((40, 40), margin=0.5))
    assert face.shape == (1, 40, 40)
    assert np.array_equal(face[0, 0], np.arange(30, 70))  # 20 wide, half of it on each side


@pytest.mark.parametrize(("size", "shape"), [((40, 20), (20, 10)), ((20, 40), (10, 20))], ids=["upright", "lying"])
def test_a_crop_has_the_shape_of_training_images(size, shape):
    face = crop_face(RAMP, np.array([45, 40, 10, 10]), FaceCropping(size))
    assert face.shape == (1, *size)
    left, right = 50 - shape[1] // 2, 50 + shape[1] // 2  # the box is in the middle
    assert (face.min(), face.max()) == (left, right - 1)
    assert face[0].mean() == pytest.approx((left + right - 1) / 2)


def test_a_crop_beyond_the_edge_repeats_pixels():
    face = crop_face(RAMP, np.array([80, 0, 40, 40]), FaceCropping((40, 40)))
    assert face[0, 0].tolist() == [*range(80, 100), *[99] * 20]


def test_equalizing_spreads_the_levels():
    low = crop_face(RAMP, np.array([10, 10, 50, 50]), FaceCropping((50, 50)))
    spread = crop_face(RAMP, np.array([10, 10, 50, 50]), FaceCropping((50, 50), equalize=True))
    assert (low.min(), low.max()) == (10, 59)
    assert (spread.min(), spread.max()) == (0, 255)


def test_without_a_detector_the_picture_is_the_face():
    picture = np.zeros((50, 100, 3), np.uint8)
    picture[:, 50:] = (10, 20, 30)
    boxes, faces = faces_in(picture, build_detector("none", 240), FaceCropping((10, 10), channels=3, margin=0.3))
    assert boxes.tolist() == [[0, 0, 100, 50]]
    assert faces.shape == (1, 3, 10, 10)
    assert faces[0, :, 0, 0].tolist() == [0, 0, 0]
    assert faces[0, :, 0, -1].tolist() == [30, 20, 10]  # red, green, blue


@pytest.mark.parametrize(
    ("fit", "corners"),
    [
        pytest.param(Fit.stretch, (2, 97, 37), id="stretched to a square"),
        pytest.param(Fit.crop, (40, 59, 75), id="its middle"),
        pytest.param(Fit.pad, (12, 107, 12), id="between borders of its edge pixels"),
    ],
)
def test_a_whole_picture_is_fitted_as_in_training(fit, corners):
    wide = (5 * np.arange(20)[:, None] + np.arange(100)).astype(np.uint8)
    ((face,),) = faces_in(as_frame(wide), build_detector("none", 240), FaceCropping((20, 20), fit=fit))[1]
    assert (face[0, 0], face[0, -1], face[7, 0]) == corners


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_lose_nothing_of_a_picture(channels):
    random = np.random.default_rng(0)
    for shape in ((31, 47), (31, 47, 3)):
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        _, (face,) = faces_in(as_frame(pixels), build_detector("none", 240), FaceCropping((31, 47), channels))
        assert np.array_equal(face, planes(with_channels(pixels, channels)))
