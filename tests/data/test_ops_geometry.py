import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.augment import Augment, build_augment
from fer_ablate.data.ops.modules.geometry import Warp
from fer_ablate.data.prepare import build_prepare

SHAPES = [(48, 48), (40, 56)]


def changed(faces, *steps, seed=0):
    torch.manual_seed(seed)
    return build_augment(AugmentConfig(steps=list(steps)))(faces)


def resized(faces, size, method="bilinear"):
    return build_prepare([{"op": "resize", "size": size, "method": method}])(faces)


def random_faces(number, height, width, channels=1):
    return torch.rand(number, channels, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_two_vertical_flips_are_the_image(shape):
    faces = random_faces(8, *shape)
    flip = {"op": "vertical_flip", "p": 1}
    assert torch.equal(changed(faces, flip), faces.flip(-2))
    assert torch.equal(changed(faces, flip, flip), faces)


def test_half_of_the_images_are_turned_upside_down():
    faces = random_faces(640, 8, 8)
    out = changed(faces, {"op": "vertical_flip"})
    turned, same = (out == faces.flip(-2)).flatten(1).all(1), (out == faces).flatten(1).all(1)
    assert (turned ^ same).all()
    assert 270 <= turned.sum() <= 370  # 640 draws: 320 and four standard deviations


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_flips_and_rotations_join_one_resampling(shape):
    smooth = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((8, 1, *shape)), (0, 0, 4, 4))).float()
    steps = [
        {"op": "affine", "rotation": 15},
        {"op": "vertical_flip"},
        {"op": "rotate", "angles": [-10, 0, 10]},
        {"op": "flip"},
    ]
    fused = build_augment(AugmentConfig(steps=steps))
    assert [type(step) for step in fused.steps] == [Warp]
    apart = Augment([module for step in steps for module in build_augment(AugmentConfig(steps=[step])).steps])
    torch.manual_seed(3)
    once = fused(smooth)
    torch.manual_seed(3)
    four_times = apart(smooth)
    middle = (..., slice(14, -14), slice(14, -14))  # where no part has seen the border
    assert (once - smooth)[middle].abs().max() > 0.02
    assert (once - four_times)[middle].abs().max() < 0.005


def test_rotations_are_counter_clockwise_and_equally_likely():
    faces = random_faces(600, 12, 12)
    out = changed(faces, {"op": "rotate", "angles": [0, 90, 180, 270]})
    counts = [torch.isclose(out, faces.rot90(turns, (-2, -1)), atol=1e-4).flatten(1).all(1).sum().item() for turns in range(4)]
    assert sum(counts) == 600
    assert all(107 <= count <= 193 for count in counts)  # 150 and four standard deviations


@pytest.mark.parametrize(("fill", "mode"), [("border", "nearest"), ("zeros", "grid-constant"), ("reflection", "reflect")])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rotation_agrees_with_scipy_and_keeps_the_size(shape, fill, mode):
    faces = random_faces(1, *shape)
    out = changed(faces, {"op": "rotate", "angles": [-20], "fill": fill})
    assert out.shape == faces.shape
    angle = math.radians(-20)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])  # of (row, column)
    centre = (np.array(shape) - 1) / 2
    expected = ndimage.affine_transform(faces[0, 0].double().numpy(), turn, centre - turn @ centre, order=1, mode=mode)
    assert np.abs(out[0, 0].numpy() - expected).max() < 1e-4


def test_rotations_whose_draw_says_no_leave_the_image():
    faces = random_faces(64, 48, 48)
    step = {"op": "rotate", "angles": [-10, 10]}
    assert torch.allclose(changed(faces, {**step, "p": 0}), faces, atol=1e-4)
    moved = ((changed(faces, {**step, "p": 0.5}) - faces).abs().flatten(1).amax(1) > 1e-3).sum()
    assert 16 <= moved <= 48  # 64 draws: 32 and four standard deviations


def test_a_shift_moves_by_whole_pixels_over_black():
    faces = 0.1 + 0.9 * random_faces(500, 12, 16, channels=3)
    out = changed(faces, {"op": "shift", "x": 3, "y": 2})
    black = out.eq(0).all(1)
    seen = set()
    for one, face, ground in zip(out, faces, black, strict=True):
        rows, columns = (~ground).any(1).nonzero().flatten(), (~ground).any(0).nonzero().flatten()
        down = int(rows[0]) or int(rows[-1]) - 11
        right = int(columns[0]) or int(columns[-1]) - 15
        expected = torch.zeros_like(face)
        expected[:, max(down, 0) : 12 + min(down, 0), max(right, 0) : 16 + min(right, 0)] = face[
            :, max(-down, 0) : 12 - max(down, 0), max(-right, 0) : 16 - max(right, 0)
        ]
        assert torch.equal(one, expected)
        seen.add((down, right))
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-3, 4)}


def test_shifts_not_drawn_leave_the_image():
    faces = random_faces(64, 48, 48)
    assert torch.equal(changed(faces, {"op": "shift", "x": 5, "p": 0}), faces)
    moved = (changed(faces, {"op": "shift", "x": 5, "p": 0.5}) != faces).flatten(1).any(1).sum()
    assert 13 <= moved <= 45  # 64 draws, of which one in eleven is 0: 29 and four standard deviations


@pytest.mark.parametrize("method", ["bilinear", "area"])
def test_a_resize_to_own_size_changes_nothing(method):
    faces = random_faces(2, 40, 56)
    assert torch.equal(resized(faces, [40, 56], method), faces)


@pytest.mark.parametrize("size", [(24, 28), (20, 30), (96, 80), (64, 20)], ids=str)
def test_bilinear_resizing_is_that_of_pillow(size):
    face = random_faces(1, 40, 56)
    expected = np.asarray(Image.fromarray(face[0, 0].numpy()).resize(size[::-1], Image.Resampling.BILINEAR))
    torch.testing.assert_close(resized(face, list(size))[0, 0], torch.tensor(expected), rtol=0, atol=1e-5)


def test_bilinear_enlargement_is_that_of_opencv():
    face = random_faces(1, 48, 48)
    expected = cv2.resize(face[0, 0].numpy(), (227, 227), interpolation=cv2.INTER_LINEAR)
    torch.testing.assert_close(resized(face, 227)[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(20, 28), (23, 31), (40, 17)], ids=str)
def test_area_resizing_is_that_of_opencv(size):
    face = random_faces(1, 40, 56)
    expected = cv2.resize(face[0, 0].numpy(), size[::-1], interpolation=cv2.INTER_AREA)
    torch.testing.assert_close(resized(face, list(size), "area")[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_a_random_window_can_be_enlarged_again():
    ramp = torch.arange(48.0).expand(64, 1, 48, 48) / 48
    out = changed(ramp, {"op": "crop", "size": 24}, {"op": "resize", "size": 48})
    assert out.shape == (64, 1, 48, 48)
    slopes = (out[:, 0, 10, 40] - out[:, 0, 10, 8]) * 48 / 32
    torch.testing.assert_close(slopes, torch.full((64,), 0.5))
