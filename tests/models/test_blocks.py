import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d, relu

from fer_ablate.config.choices import Block, Norm
from fer_ablate.config.schema import ModelConfig, StageConfig
from fer_ablate.models.build import build_network


def block_and_weights(block, in_channels, **changes):
    """The only block of a network in evaluation mode, with random statistics, and its weights by name."""
    stage = StageConfig(block=block, **changes)
    network = build_network(ModelConfig(stages=[stage], in_channels=in_channels, conv_bias=False), (8, 8), 7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.5, 1.5)
    built = network.stages[0].block0.eval()
    return built, built.state_dict()


def normed(maps, weights, name):
    statistics = (weights[f"{name}.running_mean"], weights[f"{name}.running_var"])
    return batch_norm(maps, *statistics, weights[f"{name}.weight"], weights[f"{name}.bias"])


@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (5, 1), (3, 2)])
def test_a_basic_block_has_two_convolutions_and_shortcut(channels, stride):
    block, weights = block_and_weights(Block.basic, 3, channels=channels, stride=stride)
    maps = torch.randn(2, 3, 7, 7)
    straight = conv2d(maps, weights["body.conv0.weight"], stride=stride, padding=1)
    straight = conv2d(relu(normed(straight, weights, "body.norm0")), weights["body.conv1.weight"], padding=1)
    beside = maps
    if (channels, stride) != (3, 1):
        beside = normed(conv2d(maps, weights["shortcut.conv0.weight"], stride=stride), weights, "shortcut.norm0")
    torch.testing.assert_close(block(maps), relu(normed(straight, weights, "body.norm1") + beside))


def test_a_bottleneck_strides_in_its_middle_convolution():
    block, weights = block_and_weights(Block.bottleneck, 3, channels=8, stride=2)
    maps = torch.randn(2, 3, 7, 7)
    straight = relu(normed(conv2d(maps, weights["body.conv0.weight"]), weights, "body.norm0"))
    straight = relu(normed(conv2d(straight, weights["body.conv1.weight"], stride=2, padding=1), weights, "body.norm1"))
    straight = normed(conv2d(straight, weights["body.conv2.weight"]), weights, "body.norm2")
    beside = normed(conv2d(maps, weights["shortcut.conv0.weight"], stride=2), weights, "shortcut.norm0")
    assert weights["body.conv1.weight"].shape == (2, 2, 3, 3)  # a quarter of the channels
    torch.testing.assert_close(block(maps), relu(straight + beside))


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (6, 1), (4, 2)])
def test_inverted_residuals_add_inputs_of_equal_shape(channels, stride):
    block, weights = block_and_weights(Block.inverted_residual, 4, channels=channels, inner=12, kernel=5, stride=stride)
    maps = torch.randn(2, 4, 8, 8)
    wide = relu(normed(conv2d(maps, weights["body.conv0.weight"]), weights, "body.norm0"))
    wide = relu(normed(conv2d(wide, weights["body.conv1.weight"], stride=stride, padding=2, groups=12), weights, "body.norm1"))
    narrow = normed(conv2d(wide, weights["body.conv2.weight"]), weights, "body.norm2")
    torch.testing.assert_close(block(maps), narrow + maps if (channels, stride) == (4, 1) else narrow)


def test_bottleneck_tensors_follow_the_order_of_torchvision():
    _, weights = block_and_weights(Block.bottleneck, 3, channels=8)
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in weights))
    body = ["body.conv0", "body.norm0", "body.conv1", "body.norm1", "body.conv2", "body.norm2"]
    assert layers == [*body, "shortcut.conv0", "shortcut.norm0"]


def test_residual_blocks_without_normalisation_train():
    stage = StageConfig(block=Block.basic, channels=3, depth=2, stride=2)
    network = build_network(ModelConfig(stages=[stage], norm=Norm.none), (8, 8), 7)
    network(torch.randn(2, 1, 8, 8)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
