import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from kornia.augmentation import RandomAffine
from scipy import ndimage
from torch import nn

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.augment import Augment, build_augment
from fer_ablate.data.checks import augment_faults, input_size
from fer_ablate.data.ops.modules.geometry import Warp
from fer_ablate.data.views import views

FILES = sorted((Path(__file__).parents[2] / "conf/augment").glob("*.yaml"))


def config(*steps):
    return AugmentConfig(steps=list(steps))


def changed(faces, *steps, seed=0):
    torch.manual_seed(seed)
    return build_augment(config(*steps))(faces)


@pytest.fixture
def faces():
    return torch.rand(64, 1, 48, 48, generator=torch.Generator().manual_seed(1))


def test_there_is_a_file_per_recipe():
    assert len(FILES) == 18


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_recipe_is_valid_and_keeps_the_range(file, faces):
    recipe = AugmentConfig(**yaml.safe_load(file.read_text()))
    assert augment_faults(recipe, (48, 48)) == []
    torch.manual_seed(0)
    out = build_augment(recipe)(faces)
    size = input_size(recipe, (48, 48))
    views = 10 if "ten_crop" in [step["op"] for step in recipe.steps] else 1
    assert out.shape == (views * 64, 1, *size)
    assert out.dtype == torch.float32
    assert -1e-5 <= out.min() <= out.max() <= 1 + 1e-5


@pytest.mark.long
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_the_same_seed_repeats_a_batch(file, faces):
    recipe = yaml.safe_load(file.read_text())["steps"]
    torch.testing.assert_close(changed(faces, *recipe), changed(faces, *recipe), rtol=0, atol=0)
    if recipe:
        assert not torch.equal(changed(faces, *recipe), changed(faces, *recipe, seed=1))


def test_no_steps_change_nothing(faces):
    assert changed(faces) is faces


def test_flip_mirrors_about_half_of_the_images(faces):
    out = changed(faces.repeat(10, 1, 1, 1), {"op": "flip", "p": 0.5})
    mirrored = (out == faces.repeat(10, 1, 1, 1).flip(-1)).all((1, 2, 3))
    same = (out == faces.repeat(10, 1, 1, 1)).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 270 <= mirrored.sum() <= 370  # 640 draws: 320 and four standard deviations


@pytest.mark.parametrize("step", [{"op": "affine", "rotation": 20}, {"op": "erasing"}, {"op": "brightness_contrast"}], ids=str)
def test_images_not_drawn_stay_as_they_are(faces, step):
    assert torch.allclose(changed(faces, {**step, "p": 0}), faces, atol=1e-4)
    moved = (changed(faces, {**step, "p": 0.5}) - faces).abs().amax((1, 2, 3)) > 1e-3
    assert 16 <= moved.sum() <= 48  # 64 draws: 32 and four standard deviations


@pytest.mark.parametrize(("fill", "mode"), [("border", "nearest"), ("zeros", "grid-constant"), ("reflection", "reflect")])
def test_rotation_agrees_with_scipy(faces, fill, mode):
    step = {"op": "affine", "rotation": 30, "fill": fill}
    out = changed(faces[:1], step, seed=2)
    torch.manual_seed(2)
    draws = RandomAffine(degrees=30.0, translate=(0.0, 0.0), scale=(1.0, 1.0), shear=0.0, p=1.0).forward_parameters(
        (1, 1, 48, 48)
    )
    angle = math.radians(draws["angle"].item())
    assert abs(angle) > 0.1
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = np.array([23.5, 23.5])
    expected = ndimage.affine_transform(faces[0, 0].double().numpy(), turn, centre - turn @ centre, order=1, mode=mode)
    assert np.abs(out[0, 0].numpy() - expected).max() < 1e-4


def test_magnification_by_two_shows_the_middle_half():
    ramp = torch.arange(48.0).expand(1, 1, 48, 48) / 48
    out = changed(ramp, {"op": "affine", "scale": [2, 2]})
    expected = (23.5 + (torch.arange(48.0) - 23.5) / 2) / 48
    torch.testing.assert_close(out[0, 0, 10], expected, rtol=0, atol=1e-5)


def test_several_warps_are_resampled_once():
    smooth = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((8, 1, 48, 48)), (0, 0, 4, 4))).float()
    steps = [{"op": "affine", "rotation": 15}, {"op": "flip"}, {"op": "affine", "shift": 0.1}]
    fused = build_augment(config(*steps))
    assert [type(step) for step in fused.steps] == [Warp]
    apart = Augment([module for step in steps for module in build_augment(config(step)).steps])
    torch.manual_seed(3)
    once = fused(smooth)
    torch.manual_seed(3)
    thrice = apart(smooth)
    middle = (..., slice(14, 34), slice(14, 34))  # where no part has seen the border
    assert (once - smooth)[middle].abs().max() > 0.02
    assert (once - thrice)[middle].abs().max() < 0.005


def test_warps_that_fill_differently_stay_apart():
    steps = [{"op": "affine", "fill": "zeros"}, {"op": "affine", "fill": "border"}]
    assert len(build_augment(config(*steps)).steps) == 2


def test_erasing_paints_one_rectangle_of_the_asked_area():
    white = torch.ones(200, 1, 48, 48)
    gone = changed(white, {"op": "erasing", "p": 1, "area": [0.1, 0.2], "ratio": [0.5, 2], "value": 0.25}) == 0.25
    shares = gone.float().mean((1, 2, 3))
    assert 0.09 <= shares.min() <= 0.12 <= 0.18 <= shares.max() <= 0.21
    rows, columns = gone.any(-1).sum(-1), gone.any(-2).sum(-1)
    assert torch.equal(rows * columns, gone.sum((-2, -1)))


def test_crops_are_windows_at_every_place():
    place = (torch.arange(48)[:, None] * 48 + torch.arange(48)).float().expand(500, 2, 48, 48)
    out = changed(place, {"op": "crop", "size": 40})
    corner = out[:, 0, 0, 0].long()
    assert torch.equal(out, out[:, :, :1, :1] + place[:, :, :40, :40])
    assert set((corner // 48).tolist()) == set((corner % 48).tolist()) == set(range(9))


def test_crop_padding_is_black():
    out = changed(torch.ones(200, 1, 48, 48), {"op": "crop", "size": 48, "padding": 4})
    assert out.shape == (200, 1, 48, 48)
    assert out.mean((1, 2, 3)).min() == pytest.approx((44 / 48) ** 2)


def test_ten_training_crops_are_those_of_the_test(faces):
    out = changed(faces, {"op": "ten_crop", "size": 40})
    assert torch.equal(out.view(64, 10, 1, 40, 40), views(faces, TestTimeAugmentation.ten_crop, (40, 40)).transpose(0, 1))


def test_steps_after_ten_crops_change_each_crop():
    white = torch.ones(4, 1, 48, 48)
    out = changed(white, {"op": "ten_crop", "size": 40}, {"op": "erasing", "p": 1})
    assert len(out.unique(dim=0)) == 40


def test_runs_in_float32_under_autocast(faces):
    steps = [{"op": "affine", "rotation": 10}, {"op": "crop", "size": 40}, {"op": "brightness_contrast"}]
    plain = changed(faces, *steps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(changed(faces, *steps), plain, rtol=0, atol=0)


def test_adds_nothing_to_checkpoints():
    assert nn.Sequential(build_augment(config({"op": "affine"}, {"op": "erasing"}))).state_dict() == {}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"op": "flipp"},
            r"augment.steps\[0\].op: unknown op 'flipp'\n    Did you mean 'flip'\? Choices: flip, vertical_flip, affine",
        ),
        ({"p": 0.5}, r"augment.steps\[0\]: .* does not name its op"),
        ("flip", r"augment.steps\[0\]: flip does not name its op"),
        ({"op": "affine", "rotatoin": 3}, r"steps\[0\].rotatoin: affine has no such argument\n    Did you mean 'rotation'"),
        ({"op": "flip", "p": 1.5}, r"steps\[0\].p: 1.5: expected a number from 0 to 1"),
        ({"op": "flip", "p": True}, r"steps\[0\].p: True: expected a number"),
        ({"op": "affine", "scale": [1.2, 0.8]}, r"scale: \[1.2, 0.8\]: expected \[lowest, highest\]"),
        ({"op": "affine", "fill": "nearest"}, r"fill: 'nearest': .*Choices: border, zeros, reflection"),
        ({"op": "erasing", "area": 0.3}, r"area: 0.3: expected \[lowest, highest\]"),
        ({"op": "crop"}, r"steps\[0\].size: crop needs it"),
        ({"op": "crop", "size": 40.0}, r"size: 40.0: expected a whole number"),
        ({"op": "ten_crop", "size": 48}, r"steps\[0\].size: 48: all ten crops are the whole 48x48 image\n    Choose a size"),
        ({"op": "ten_crop", "size": 60}, r"steps\[0\].size: 60: crop is larger than the 48x48 images"),
        ({"op": "ten_crop", "size": 40, "p": 0.5}, r"steps\[0\].p: ten_crop has no such argument"),
        (
            {"op": "crop", "size": 60},
            r"augment.steps\[0\].size: 60: crop is larger than the 48x48 images\n    Choose a size up to 48",
        ),
        ({"op": "crop", "size": [40, 60]}, r"steps\[0\].size: \[40, 60\]: crop is larger than the 48x48 images"),
        ({"op": "crop", "size": [40]}, r"size: \[40\]: expected a whole number of pixels, at least 1, or \[height, width\]"),
        ({"op": "rotate"}, r"steps\[0\].angles: rotate needs it"),
        ({"op": "rotate", "angles": 90}, r"angles: 90: expected a list of numbers from -360 to 360"),
        ({"op": "rotate", "angles": []}, r"angles: \[\]: expected a list"),
        ({"op": "noise", "std": 2}, r"std: 2: expected a number from 0 to 1, or \[lowest, highest\] within them"),
        ({"op": "noise", "std": [0.2, 0.1]}, r"std: \[0.2, 0.1\]: expected a number from 0 to 1, or"),
        ({"op": "blur", "sigma": [0.5, 1], "kernel": 4}, r"kernel: 4: expected an odd number of pixels, at least 3, or null"),
        (
            {"op": "blur", "sigma": [5, 20]},
            r"steps\[0\].sigma: a kernel of 121 pixels is too large for the 48x48 .*\n.* up to 95",
        ),
        ({"op": "clahe", "clip_limit": [1, 3], "grid": [8, 48]}, r"grid: \[8, 48\]: tiles of a single pixel in the 48x48 images"),
        ({"op": "shift", "x": 4, "y": 48}, r"steps\[0\].y: 48: may move the whole of a 48x48 image away\n    .* below 48"),
        ({"op": "equalize"}, r"steps\[0\].op: equalize changes all training images in .*\n    Put it into data.prepare"),
        ({"op": "gamma", "gamma": 0.5}, r"steps\[0\].op: gamma changes all training images in the same way"),
        (
            {"op": "resize", "size": 64},
            r"steps\[0\].size: trains on 64x64 images .* tests see the 48x48 .*\n    Resize in data.prepare",
        ),
        ({"op": "resize", "size": 24}, r"steps\[0\].size: trains on 24x24 images"),
    ],
    ids=str,
)
def test_a_wrong_step_is_named_with_remedy(step, message):
    (fault,) = augment_faults(config(step), (48, 48))
    with pytest.raises(ValueError, match=message):
        raise ValueError(fault)


def test_all_faults_are_listed_with_crops_in_order():
    steps = [{"op": "crop", "size": 40}, {"op": "flip", "p": 2, "q": 1}, {"op": "crop", "size": 44}]
    assert [fault.key for fault in augment_faults(config(*steps), (48, 48))] == [
        "augment.steps[1].p",
        "augment.steps[1].q",
        "augment.steps[2].size",
    ]
    assert [fault.key for fault in augment_faults(config({"op": "crop", "size": 60}), None)] == []


def test_a_second_ten_crop_is_a_fault():
    (fault,) = augment_faults(config({"op": "ten_crop", "size": 44}, {"op": "ten_crop", "size": 40}), (48, 48))
    assert (fault.key, fault.problem) == ("augment.steps[1].op", "a second ten_crop, which makes a hundred of every image")


def test_input_is_as_large_as_the_last_crop():
    whole = (56, 40)
    assert input_size(config({"op": "flip"}), whole) == whole
    assert input_size(config({"op": "ten_crop", "size": 36}, {"op": "erasing"}), whole) == (36, 36)
    assert input_size(config({"op": "crop", "size": 38}, {"op": "flip"}, {"op": "crop", "size": [36, 32]}), whole) == (36, 32)
    assert input_size(config({"op": "crop", "size": [50, 36]}, {"op": "resize", "size": [56, 40]}), whole) == whole


def test_a_crop_is_compared_with_height_and_width():
    assert augment_faults(config({"op": "crop", "size": [56, 36]}), (56, 40)) == []
    (fault,) = augment_faults(config({"op": "crop", "size": 48}), (56, 40))
    assert str(fault) == ("augment.steps[0].size: 48: crop is larger than the 56x40 images\n    Choose a size up to [56, 40].")


def test_training_may_not_resize_to_an_untested_size():
    def problems(*sizes):
        steps = [{"op": op, "size": size} for op, size in sizes]
        return [fault.key for fault in augment_faults(config(*steps), (48, 48))]

    assert problems(("crop", 40), ("resize", 48)) == []  # a random window, enlarged
    assert problems(("crop", 40), ("resize", 48), ("crop", 44)) == []  # and tested on the centre
    # Faces larger or smaller than those that are tested, whatever part of them is seen.
    for sizes in ((64, 56), (56, 44), (24, 20)):
        assert problems(("resize", sizes[0]), ("crop", sizes[1])) == ["augment.steps[1].size"]


def test_some_images_may_get_one_equal_change():
    steps = [{"op": "equalize", "p": 0.5}, {"op": "gamma", "gamma": [0.5, 2]}, {"op": "blur", "p": 0.1}, {"op": "clahe", "p": 0}]
    assert augment_faults(config(*steps), (48, 48)) == []


def test_erasing_and_light_know_height_and_width():
    tall = torch.ones(200, 1, 56, 40)
    gone = changed(tall, {"op": "erasing", "p": 1, "area": [0.25, 0.25], "ratio": [1, 1]}) == 0
    assert set(gone.any(-1).sum(-1).flatten().tolist()) == {24}  # the side of a square of a quarter of the area is 23.7
    assert set(gone.any(-2).sum(-1).flatten().tolist()) == {24}
    light = changed(tall / 2, {"op": "brightness_contrast", "brightness": 0.5, "contrast": 0})
    assert torch.equal(light.amax((1, 2, 3)), light.amin((1, 2, 3)))


def test_one_axis_moves_by_its_own_fraction():
    corner = torch.zeros(500, 1, 40, 80)
    corner[:, :, 20, 40] = 1
    out = changed(corner, {"op": "affine", "shift": 0.25})
    place = out.flatten(1).argmax(1)
    rows, columns = place // 80 - 20, place % 80 - 40
    assert 9 <= rows.abs().max() <= 10
    assert 18 <= columns.abs().max() <= 20
