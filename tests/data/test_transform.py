import pytest
import torch
from torch import nn

from fer_ablate.config.schema import AugmentConfig, Config, DataConfig, ModelConfig, TrainerConfig
from fer_ablate.data.checks import network_size, normalisation_faults
from fer_ablate.data.transform import Preprocess, build_preprocess


def plain(**changes):
    return Preprocess(nn.Identity(), **{"size": (2, 2), "mean": 0.5, "std": 0.25, "channels": 1, **changes})


def test_bytes_become_normalised_floats():
    out = plain()(torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8))
    torch.testing.assert_close(out, torch.tensor([[[[-2.0, 2.0], [-1.2, -0.4]]]]))


def test_gray_is_repeated_for_three_channels():
    out = plain(channels=3)(torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8))
    assert out.shape == (1, 3, 2, 2)
    assert torch.equal(out[:, :1].expand(-1, 3, -1, -1), out)


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "channels": 3}


@pytest.mark.parametrize("stored", [1, 3], ids=["gray", "colour"])
def test_every_channel_has_its_own_mean_and_deviation(stored):
    faces = torch.randint(256, (4, stored, 2, 2), dtype=torch.uint8)
    out = plain(**IMAGENET)(faces)
    for channel, (mean, std) in enumerate(zip(IMAGENET["mean"], IMAGENET["std"], strict=True)):
        torch.testing.assert_close(out[:, channel], (faces[:, channel % stored] / 255 - mean) / std)


def test_equal_numbers_for_all_channels_are_one_number():
    faces = torch.randint(256, (4, 1, 2, 2), dtype=torch.uint8)
    same = plain(mean=[0.5] * 3, std=[0.25] * 3, channels=3, channels_last=True)
    torch.testing.assert_close(same(faces), plain(channels=3, channels_last=True)(faces))
    assert same(faces).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain(mean=[0.5], std=[0.25])(faces), plain()(faces))


def test_numbers_of_channels_add_nothing_to_checkpoints():
    assert plain(**IMAGENET).state_dict() == {}


def test_there_are_as_many_numbers_as_channels():
    data = DataConfig(mean=[0.485, 0.456, 0.406], std=0.25)
    assert normalisation_faults(data, 3) == []
    (fault,) = normalisation_faults(data, 1)
    assert str(fault).startswith("data.mean: [0.485, 0.456, 0.406]: 3 numbers, but model.in_channels is 1")


def test_colour_is_averaged_for_one_channel():
    colours = torch.tensor([30, 60, 90], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(plain(mean=0.0, std=1.0)(colours), torch.full((1, 1, 2, 2), 60 / 255))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_last_only_changes_the_layout(channels):
    faces = torch.randint(256, (4, 1, 2, 2), dtype=torch.uint8)
    out = plain(channels=channels, channels_last=True)(faces)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, plain(channels=channels)(faces))


def run_config():
    steps = [{"op": "flip", "p": 1}, {"op": "crop", "size": 40}]
    return Config(
        augment=AugmentConfig(steps=steps), data=DataConfig(mean=0.0, std=1.0), model=ModelConfig(), trainer=TrainerConfig()
    )


def test_training_augments_and_evaluation_takes_the_centre():
    faces = torch.randint(256, (5, 1, 48, 48), dtype=torch.uint8)
    preprocess = build_preprocess(run_config(), (48, 48))
    assert preprocess.train()(faces).shape == (5, 1, 40, 40)
    first, second = preprocess.eval()(faces), preprocess(faces)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, faces[:, :, 4:44, 4:44] / 255)


def test_views_of_any_size_can_be_normalised_alone():
    faces = torch.randint(256, (5, 1, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(build_preprocess(run_config(), (48, 48)).eval().normalise(faces), faces / 255)


def prepared_config(*steps):
    config = run_config()
    config.data.prepare = list(steps)
    return config


HALVED = {"op": "resize", "size": [44, 42], "method": "area"}


def test_without_preparation_the_stored_bytes_go_on():
    faces = torch.randint(256, (5, 1, 48, 48), dtype=torch.uint8)
    assert build_preprocess(run_config(), (48, 48)).prepared(faces) is faces


def test_training_and_tests_prepare_images_equally():
    gray = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 88, 84)  # neither moved by flip nor crop
    preprocess = build_preprocess(prepared_config(HALVED, {"op": "gamma", "gamma": 2.0}), (88, 84))
    trained, tested = preprocess.train()(gray), preprocess.eval()(gray)
    assert trained.shape == tested.shape == (256, 1, 40, 40)
    torch.testing.assert_close(trained, tested, rtol=0, atol=0)
    torch.testing.assert_close(tested[:, 0, 0, 0], (torch.arange(256) / 255) ** 2)


def test_the_network_is_tested_on_prepared_views():
    faces = torch.randint(256, (5, 1, 88, 84), dtype=torch.uint8)
    preprocess = build_preprocess(prepared_config(HALVED), (88, 84)).eval()
    prepared = preprocess.prepared(faces)
    assert prepared.shape == (5, 1, 44, 42)
    torch.testing.assert_close(preprocess(faces), preprocess.normalise(prepared[..., 2:42, 1:41]))
    torch.testing.assert_close(prepared[:, :, :, 0], faces.float().view(5, 1, 44, 2, 42, 2).mean((3, 5))[:, :, :, 0] / 255)


def test_the_network_sees_the_last_crop():
    assert network_size(prepared_config({"op": "resize", "size": [64, 56]}), (48, 48)) == (40, 40)
    config = prepared_config({"op": "resize", "size": [64, 56]})
    config.augment = AugmentConfig()
    assert network_size(config, (48, 48)) == (64, 56)


def test_preparation_adds_nothing_to_checkpoints():
    config = prepared_config({"op": "resize", "size": 44}, {"op": "clahe"}, {"op": "blur"})
    assert build_preprocess(config, (48, 48)).state_dict() == {}
