from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fer_ablate.config.choices import Activation, Block, Init, Norm, NormPosition, Pool
from fer_ablate.config.schema import HiddenConfig, ModelConfig, StageConfig
from fer_ablate.models.build import build_network
from fer_ablate.models.checks import network_faults
from fer_ablate.models.summary import describe

PUBLISHED = {"fer_kd": (48, 10_479_111), "bits": (48, 2_138_119), "pisa": (48, 1_027_559), "vgg_fer": (40, 29_890_759)}
STATISTICS = {"bits": 2_112, "pisa": 1_664}
HEAD = 256 + 256 * 7 + 7  # biases of 256 hidden units, then seven outputs
COUNTED = {
    "vgg16": 14_847_815,  # printed in the Pisa report
    "vgg19": 20_024_384 + 512 * 256 + HEAD,  # the first number is that of Keras' VGG19 without top
    "resnet50": 25_557_032 - 1000 * 2049 + 2048 * 2 * 2 * 256 + HEAD,  # torchvision's, its classifier exchanged
    "resnet18": 11_689_512 - 3 * 64 * 49 + 64 * 9 - 1000 * 513 + 7 * 513,  # torchvision's, first and last layer exchanged
    "resnet34": 21_797_672 - 3 * 64 * 49 + 64 * 9 - 1000 * 513 + 7 * 513,
}
PISA_LAYOUTS = {
    # convolutions, their normalisations, the hidden layer
    "1,1,1": 320 + 18_496 + 73_856 + 448 + (4608 + 1) * 256 + 512 + 1799,
    "1,1,1,1": 1_027_559 - 9_248 - 36_928 - 64 - 128,
    "1,1,1,1,1": 981_191 + 1_180_160 + 1_024 - (2304 - 512) * 256,
    "2,1,1,1": 1_027_559 - 36_928 - 128,
    "2,2,1,1": 1_027_559,
    "2,2,2,1": 1_027_559 + 147_584 + 256,
    "2,2,2,2": 1_027_559 + 147_584 + 256 + 590_080 + 512,
    "3,2,2,2": 1_765_991 + 9_248 + 64,
}
CONF = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "model").rglob("*.yaml"))


def kinds(network):
    return [
        type(module).__name__
        for module in network.modules()
        if not list(module.children()) and not isinstance(module, nn.Identity)
    ]


def tiny(**changes):
    stages = [StageConfig(channels=4, depth=2, pool=Pool.max, dropout=0.1), StageConfig(channels=6, pool=Pool.max)]
    return ModelConfig(**{"stages": stages, "hidden": [HiddenConfig(features=5, dropout=0.3)], **changes})


def test_the_networks_of_the_papers_exist():
    assert {"bits", "fer_kd", "lenet5", "pisa", "vgg_fer"} <= set(CONF)


@pytest.mark.long
@pytest.mark.parametrize("name", CONF)
def test_every_stored_network_gives_seven_scores(load, weightless, name):
    config = load(name)
    assert network_faults(config, (48, 48)) == []
    scores = weightless(config).eval()(torch.zeros(2, config.in_channels, 48, 48, device="meta"))
    assert scores.shape == (2, 7)


@pytest.mark.parametrize("name", PUBLISHED)
def test_trainable_parameters_are_exactly_the_published_ones(load, weightless, name):
    side, parameters = PUBLISHED[name]
    config = load(name)
    assert describe(weightless(config, (side, side)), config.in_channels, (side, side)).parameters == parameters


@pytest.mark.long
@pytest.mark.parametrize("name", COUNTED)
def test_classic_networks_have_the_parameters_of_their_originals(load, weightless, name):
    config = load(name)
    assert describe(weightless(config), config.in_channels, (48, 48)).parameters == COUNTED[name]


@pytest.mark.parametrize("depths", PISA_LAYOUTS)
def test_depths_reach_every_layout_of_pisa(load, weightless, depths):
    config = load("pisa", depths=[int(depth) for depth in depths.split(",")])
    assert network_faults(config, (48, 48)) == []
    assert describe(weightless(config), 1, (48, 48)).parameters == PISA_LAYOUTS[depths]


def test_reconstructions_come_close_to_the_published_counts(load, weightless):
    names, size = ("mobile_fer", "resnet_fer"), (48, 48)
    counts = {name: describe(weightless(load(name)), 1, size).parameters for name in names}
    assert counts["mobile_fer"] == 784_263
    assert counts["resnet_fer"] == pytest.approx(5.3e6, rel=0.01)


def test_resnet_fer_is_33_convolutions_deep(load, weightless):
    network = weightless(load("resnet_fer"))
    beside = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d) and "shortcut" in name]
    assert kinds(network).count("Conv2d") - len(beside) == 33


def test_vgg_of_bits_works_without_its_last_pool(load, weightless):
    rows = describe(weightless(load("bits_vgg16")), 1, (48, 48)).rows
    assert [row.shape[1] for row in rows if row.kind in ("Conv2d", "MaxPool2d")] == [46, 44, 42, 21, 19, 17, 15, 7, 5, 3, 1]


def test_the_simple_network_of_bits_has_four_layers(load, weightless):
    network = weightless(load("bits", conv_layers=2, fc_layers=1, norm=Norm.none, dropout=0.0))
    assert [kind for kind in kinds(network) if kind not in ("ReLU", "Flatten")] == [
        "Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Linear", "Linear",
    ]  # fmt: skip


def test_convolutions_without_bias(load):
    network = build_network(tiny(conv_bias=False, init=Init.kaiming), (8, 8), 7)
    assert network.stages[0].conv0.bias is None
    assert network.output.bias is not None


@pytest.mark.parametrize("name", STATISTICS)
def test_batchnorm_statistics_match_the_counts_of_keras(load, weightless, name):
    assert describe(weightless(load(name)), 1, (48, 48)).non_trainable == STATISTICS[name]


def test_bits_has_the_published_output_shapes(load, weightless):
    rows = describe(weightless(load("bits")), 1, (48, 48)).rows
    shapes = [row.shape for row in rows if row.kind in ("Conv2d", "MaxPool2d", "Linear")]
    maps = [(32, 48), (32, 24), (64, 24), (64, 12), (128, 10), (128, 9), (256, 7), (256, 6), (512, 4), (512, 2)]
    assert shapes == [(c, side, side) for c, side in maps] + [(256,), (128,), (64,), (32,), (7,)]


@pytest.mark.parametrize(("conv_layers", "features"), [(1, 64 * 4), (3, 256 * 4), (5, 1024 * 4), (6, 1024 * 4)])
def test_fewer_convolutions_of_fer_kd_keep_the_first(load, weightless, conv_layers, features):
    network = weightless(load("fer_kd", conv_layers=conv_layers))
    assert kinds(network).count("Conv2d") == conv_layers
    assert network.hidden[0].linear.in_features == features


def test_a_cut_stage_keeps_its_pool(load, weightless):
    rows = describe(weightless(load("vgg_fer", conv_layers=3)), 1, (48, 48)).rows
    assert [row.name for row in rows if row.kind in ("Conv2d", "MaxPool2d")] == [
        "stages.0.conv0", "stages.0.conv1", "stages.0.pool", "stages.1.conv0", "stages.1.pool",
    ]  # fmt: skip


def test_fc_layers_keeps_the_first_hidden_layers(load, weightless):
    network = weightless(load("fer_kd", fc_layers=2))
    assert [layer.linear.out_features for layer in network.hidden] == [1024, 1024]
    assert weightless(load("fer_kd", fc_layers=0)).output.in_features == 4096


def test_width_multiplies_channels_and_hidden_features():
    network = build_network(tiny(width=0.5), (8, 8), 7)
    assert network.stages[0].conv0.out_channels == 2
    assert network.hidden[0].linear.out_features == 2  # 2.5 rounds to even


def test_dropout_replaces_every_nonzero_rate_and_no_other():
    network = build_network(tiny(dropout=0.6, head_dropout=0.2), (8, 8), 7)
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.6, 0.6, 0.6]
    assert "Dropout" not in kinds(build_network(tiny(dropout=0.0), (8, 8), 7))


STAGE_ORDERS = {
    NormPosition.before_activation: "Conv2d Norm ReLU Conv2d Norm ReLU MaxPool2d Dropout",
    NormPosition.after_activation: "Conv2d ReLU Norm Conv2d ReLU Norm MaxPool2d Dropout",
    NormPosition.after_pool: "Conv2d ReLU Norm Conv2d ReLU MaxPool2d Norm Dropout",
}


@pytest.mark.parametrize("position", NormPosition)
def test_block_layers_have_the_documented_order(position):
    network = build_network(tiny(norm_position=position), (8, 8), 7)
    hidden = "Linear Norm ReLU Dropout" if position is NormPosition.before_activation else "Linear ReLU Norm Dropout"
    assert " ".join(kinds(network.stages[0])).replace("BatchNorm2d", "Norm") == STAGE_ORDERS[position]
    assert " ".join(kinds(network.hidden[0])).replace("BatchNorm1d", "Norm") == hidden


def keras_batch_norm(batches, momentum, epsilon):
    """Output for the last batch, running mean and running variance of Keras' layer for maps, in numpy; axis 1 has the channels.

    For a hidden layer Keras leaves out n / (n - 1), which is not followed: 64/63 with batches of 64.
    """
    axes = tuple(axis for axis in range(batches[0].ndim) if axis != 1)
    mean, variance = 0.0, 1.0
    for batch in batches:
        values = batch.numpy().astype(np.float64)
        own_mean, own_variance = values.mean(axes, keepdims=True), values.var(axes, keepdims=True)
        n = values.size / values.shape[1]
        mean = momentum * mean + (1 - momentum) * own_mean
        variance = momentum * variance + (1 - momentum) * own_variance * n / (n - 1)
    return (values - own_mean) / np.sqrt(own_variance + epsilon), mean.ravel(), variance.ravel()


@pytest.mark.parametrize(("where", "shape"), [("stages.0.norm0", (5, 4, 3, 3)), ("hidden.0.norm", (6, 5))])
@pytest.mark.parametrize(("ours", "keras"), [((0.01, 1e-3), (0.99, 1e-3)), ((0.1, 1e-5), (0.9, 1e-5))])
def test_batch_normalisation_is_that_of_keras(where, shape, ours, keras):
    momentum, eps = ours
    norm = build_network(tiny(norm_momentum=momentum, norm_eps=eps), (8, 8), 7).get_submodule(where)
    batches = [0.1 * torch.randn(shape) + 2 for _ in range(3)]
    outputs = [norm(batch) for batch in batches]
    expected, mean, variance = keras_batch_norm(batches, *keras)
    np.testing.assert_allclose(outputs[-1].detach(), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(norm.running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, variance, rtol=1e-5)


@pytest.mark.parametrize("norm", [Norm.batch, Norm.instance, Norm.layer])
@pytest.mark.parametrize("block", Block)
def test_every_normalisation_gets_momentum_and_epsilon(norm, block):
    stages = [StageConfig(channels=4), StageConfig(block=block, channels=8, stride=2)]
    network = build_network(tiny(stages=stages, norm=norm, norm_momentum=0.25, norm_eps=0.5), (8, 8), 7)
    layers = [layer for layer in network.modules() if "Norm" in type(layer).__name__]
    assert len(layers) >= 3
    assert {layer.eps for layer in layers} == {0.5}
    assert {layer.momentum for layer in layers if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)} <= {0.25}


@pytest.mark.parametrize("norm", [Norm.instance, Norm.layer])
def test_instance_and_layer_norm_keep_images_apart(norm):
    network = build_network(tiny(norm=norm), (8, 8), 7).eval()
    faces = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(network(faces)[1:], network(faces[1:]))


def test_without_norm_there_is_none():
    assert not [kind for kind in kinds(build_network(tiny(norm=Norm.none), (8, 8), 7)) if "Norm" in kind]


@pytest.mark.parametrize("activation", Activation)
def test_every_activation_can_be_trained(activation):
    network = build_network(tiny(activation=activation), (8, 8), 7)
    network(torch.randn(4, 1, 8, 8)).sum().backward()
    assert network.stages[0].conv0.weight.grad.isfinite().all()


def test_every_layer_has_glorots_weights_and_no_bias():
    network = build_network(tiny(init=Init.xavier), (8, 8), 7)
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    # Square root of 6 / (inputs + outputs), which a kernel of 3x3 has nine times each.
    bounds = {
        "stages.0.conv0": (6 / (9 * 1 + 9 * 4)) ** 0.5,
        "stages.0.conv1": (6 / (9 * 4 + 9 * 4)) ** 0.5,
        "stages.1.conv0": (6 / (9 * 4 + 9 * 6)) ** 0.5,
        "hidden.0.linear": (6 / (6 * 2 * 2 + 5)) ** 0.5,
        "output": (6 / (5 + 7)) ** 0.5,
    }
    assert layers.keys() == bounds.keys()
    for name, layer in layers.items():
        assert 0.8 * bounds[name] < layer.weight.abs().max() <= bounds[name]
        assert not layer.bias.any()


def test_kaiming_weights_have_the_spread_of_fan_out():
    linear = build_network(tiny(init=Init.kaiming, hidden=[HiddenConfig(features=400)]), (8, 8), 7).hidden[0].linear
    assert linear.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.05)


def test_shallow_weights_load_into_a_deeper_network(load, weightless):
    shallow, deep = (weightless(load("pisa", conv_layers=n)).stages.state_dict() for n in (2, 6))
    assert shallow.keys() <= deep.keys()
    assert all(deep[name].shape == value.shape for name, value in shallow.items())


@pytest.mark.parametrize("channels", [1, 3], ids=["gray", "colour"])
def test_a_network_for_oblong_images_by_hand(channels):
    stages = [
        StageConfig(channels=4, pool=Pool.max),  # 40x56, pooled to 20x28
        StageConfig(channels=6, stride=2, pool=Pool.max, pool_kernel=3),  # 10x14, pooled to 3x4
    ]
    config = ModelConfig(in_channels=channels, stages=stages, hidden=[HiddenConfig(features=5)], norm=Norm.none)
    assert network_faults(config, (40, 56)) == []
    network = build_network(config, (40, 56), 7)
    summary = describe(network, channels, (40, 56))
    shapes = [row.shape for row in summary.rows if row.kind in ("Conv2d", "MaxPool2d", "Flatten", "Linear")]
    assert shapes == [(4, 40, 56), (4, 20, 28), (6, 10, 14), (6, 3, 4), (72,), (5,), (7,)]
    assert summary.parameters == (channels * 36 + 4) + (216 + 6) + (360 + 5) + (35 + 7)
    assert summary.macs == channels * 36 * 40 * 56 + 216 * 10 * 14 + 360 + 35
    scores = network(torch.randn(2, channels, 40, 56))
    assert scores.shape == (2, 7)
    scores.square().sum().backward()
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in network.parameters())


def test_an_adaptive_pool_squares_any_map():
    config = tiny(head_pool=Pool.adaptive_avg, head_pool_size=3)
    assert build_network(config, (40, 56), 7).hidden[0].linear.in_features == 6 * 9
