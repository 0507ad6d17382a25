import cv2
import numpy as np
import pytest
import torch

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.augment import build_augment
from fer_ablate.data.prepare import build_prepare

SIZES = [(48, 48), (56, 40), (49, 48), (33, 47), (9, 200)]


def drawn(height, width, channels=1, number=8):
    """Smooth uneven pictures (N, C, H, W) of bytes: random walks, squared so that dark levels are frequent."""
    steps = np.random.default_rng(height * width).normal(size=(number, channels, height, width))
    walk = steps.cumsum(2).cumsum(3)
    walk -= walk.min((2, 3), keepdims=True)
    return ((walk / walk.max((2, 3), keepdims=True)) ** 2 * 255).astype(np.uint8)


def scaled(pictures):
    return torch.from_numpy(pictures).float() / 255


def prepared(faces, **step):
    return build_prepare([step])(faces)


def changed(faces, seed=0, **step):
    torch.manual_seed(seed)
    return build_augment(AugmentConfig(steps=[step]))(faces)


def by_opencv(pictures, change):
    return torch.from_numpy(np.stack([change(picture[0]) for picture in pictures])[:, None])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equalize_gives_the_levels_of_opencv(size):
    pictures = drawn(*size)
    expected = by_opencv(pictures, cv2.equalizeHist)
    torch.testing.assert_close(prepared(scaled(pictures), op="equalize") * 255, expected.float())


def test_an_equalised_histogram_is_flat():
    rank = torch.arange(2304).view(1, 1, 48, 48) % 64  # 64 levels, each 36 times
    dark = (30 + rank) / 255
    out = prepared(dark, op="equalize")
    torch.testing.assert_close(out * 255, (rank * 255 / 63).round())  # from black to white in equal steps
    torch.testing.assert_close(prepared(out, op="equalize"), out)


def test_a_flat_image_stays_as_it_is():
    gray = torch.full((1, 1, 8, 8), 100 / 255)
    assert torch.equal(prepared(gray, op="equalize"), gray)


@pytest.mark.parametrize("grid", [(8, 8), (4, 6), (7, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_clahe_agrees_with_opencv_for_any_tiles(size, grid):
    pictures = drawn(*size)
    for limit in (0.5, 2.0, 40.0):
        expected = by_opencv(pictures, cv2.createCLAHE(limit, grid[::-1]).apply)
        out = prepared(scaled(pictures), op="clahe", clip_limit=limit, grid=list(grid))
        torch.testing.assert_close(out * 255, expected.float())


def test_each_image_has_its_own_clip_limit():
    pictures = drawn(48, 48)
    out = changed(scaled(pictures), op="clahe", clip_limit=[1, 40], grid=2)
    torch.manual_seed(0)
    for one, picture, limit in zip(out, pictures, 1 + 39 * torch.rand(8), strict=True):
        expected = cv2.createCLAHE(limit.item(), (2, 2)).apply(picture[0])
        torch.testing.assert_close(one[0] * 255, torch.from_numpy(expected).float())


@pytest.mark.parametrize("op", ["equalize", "clahe"])
def test_gray_stored_as_colour_is_equalised_like_gray(op):
    gray = scaled(drawn(48, 48))
    torch.testing.assert_close(prepared(gray.expand(-1, 3, -1, -1), op=op), prepared(gray, op=op).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("op", ["equalize", "clahe"])
def test_of_a_colour_only_the_brightness_is_equalised(op):
    dull = 0.4 + scaled(drawn(48, 48, channels=3)) / 5  # far from black and white, so that little is clipped
    out = prepared(dull, op=op)
    inside = ((out > 0) & (out < 1)).all(1)
    assert inside.float().mean() > 0.5
    difference = (dull[:, 0] - dull[:, 2])[inside]
    torch.testing.assert_close((out[:, 0] - out[:, 2])[inside], difference)
    brightness = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    gray = prepared((dull * brightness).sum(1, keepdim=True), op=op)
    torch.testing.assert_close((out * brightness).sum(1)[inside], gray[:, 0][inside])


def test_gamma_is_the_exponent_of_the_image():
    faces = torch.rand(4, 3, 8, 8)
    assert torch.equal(prepared(faces, op="gamma", gamma=1), faces)
    torch.testing.assert_close(prepared(faces, op="gamma", gamma=2), faces * faces)


def test_every_image_has_a_gamma_of_its_own():
    out = changed(torch.full((500, 1, 4, 4), 0.5), op="gamma", gamma=[0.5, 2])
    gammas = out.log2().neg()
    assert torch.equal(gammas.amax((1, 2, 3)), gammas.amin((1, 2, 3)))
    assert 0.5 <= gammas.min() < 0.52
    assert 1.98 < gammas.max() <= 2


@pytest.mark.parametrize(("sigma", "side"), [(0.3, 3), (1.0, 7), (2.5, 17)])
def test_blur_is_that_of_opencv(sigma, side):
    pictures = drawn(56, 40)
    expected = by_opencv(pictures.astype(np.float32) / 255, lambda face: cv2.GaussianBlur(face, (side, side), sigma))
    torch.testing.assert_close(prepared(scaled(pictures), op="blur", sigma=sigma), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        prepared(scaled(pictures), op="blur", sigma=sigma, kernel=5),
        by_opencv(pictures.astype(np.float32) / 255, lambda face: cv2.GaussianBlur(face, (5, 5), sigma)),
        rtol=0,
        atol=1e-6,
    )


def test_every_image_has_its_own_sigma():
    pictures = drawn(48, 48)
    out = changed(scaled(pictures), op="blur", sigma=[0.5, 2])
    torch.manual_seed(0)
    for one, picture, sigma in zip(out, pictures, 0.5 + 1.5 * torch.rand(8), strict=True):
        expected = cv2.GaussianBlur(picture[0].astype(np.float32) / 255, (13, 13), sigma.item())
        torch.testing.assert_close(one[0], torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_noise_has_its_deviation_and_is_clipped():
    gray = torch.full((50, 3, 48, 48), 0.5)
    noise = changed(gray, op="noise", std=0.1) - gray
    assert abs(noise.mean().item()) < 0.001
    assert abs(noise.std().item() - 0.1) < 0.001
    assert abs(torch.corrcoef(noise.transpose(0, 1).flatten(1))[0, 1].item()) < 0.01  # every channel has its own
    assert changed(gray * 0, op="noise", std=0.5).min() == 0
    assert changed(gray * 2, op="noise", std=0.5).max() == 1


def test_each_image_has_its_own_noise_deviation():
    deviations = (changed(torch.full((200, 1, 48, 48), 0.5), op="noise", std=[0.01, 0.1]) - 0.5).std((1, 2, 3))
    assert 0.009 < deviations.min() < 0.015
    assert 0.095 < deviations.max() < 0.105


@pytest.mark.parametrize(
    "step",
    [
        {"op": "noise"},
        {"op": "equalize"},
        {"op": "clahe", "clip_limit": [1, 4]},
        {"op": "gamma", "gamma": [0.3, 0.6]},
        {"op": "blur", "sigma": [1, 2]},
    ],
    ids=lambda step: step["op"],
)
def test_images_not_drawn_stay_exactly_equal(step):
    faces = torch.rand(64, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(changed(faces, **step, p=0), faces)
    moved = (changed(faces, **step, p=0.5) != faces).flatten(1).any(1).sum()
    assert 16 <= moved <= 48  # 64 draws: 32 and four standard deviations
    torch.testing.assert_close(changed(faces, **step, p=0.5), changed(faces, **step, p=0.5), rtol=0, atol=0)
    assert not torch.equal(changed(faces, **step, p=0.5), changed(faces, **step, p=0.5, seed=1))
