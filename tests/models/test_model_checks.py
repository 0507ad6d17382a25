from dataclasses import replace

import pytest

from fer_ablate.config.choices import Block, Norm, NormPosition, Pool
from fer_ablate.config.schema import HiddenConfig, ModelConfig, StageConfig
from fer_ablate.models.build import build_network
from fer_ablate.models.checks import network_faults

PLUGIN = """
from torch import nn

class Flat(nn.Module):
    def __init__(self, in_channels, num_classes, *, features=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(features), nn.Linear(features, num_classes))

    def forward(self, faces):
        return self.layers(faces)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_networks.Flat"


def fault_text(config, size=(48, 48), plugins=()):
    return "\n".join(map(str, network_faults(config, size, plugins)))


def test_a_map_below_kernel_size_names_its_stage():
    shrinking = StageConfig(channels=4, pool=Pool.max, pool_kernel=4)
    config = ModelConfig(stages=[shrinking, shrinking, StageConfig(channels=4, kernel=5, padding=0)])
    assert fault_text(config) == (
        "model.stages[2]: kernel 5 on a 3x3 map.\n    Input is 48x48. Lower a stride or drop a stage (depth: 0)."
    )


def test_oblong_maps_have_height_and_width():
    stage = StageConfig(channels=4, pool=Pool.max, pool_kernel=4)
    config = ModelConfig(stages=[stage, stage, StageConfig(channels=4, kernel=4, padding=0)])
    assert fault_text(config, (48, 64)) == (
        "model.stages[2]: kernel 4 on a 3x4 map.\n    Input is 48x64. Lower a stride or drop a stage (depth: 0)."
    )
    head = ModelConfig(stages=[StageConfig(channels=4)], head_pool=Pool.max, head_pool_size=9)
    assert "model.head_pool_size: 9 on a 12x8 map" in fault_text(head, (12, 8))


def test_messages_number_stages_like_the_listing():
    config = ModelConfig(stages=[StageConfig(channels=4, depth=0), StageConfig(channels=4, pool=Pool.avg, pool_kernel=50)])
    assert fault_text(config).startswith("model.stages[1]: pool_kernel 50 on a 48x48 map.")


def test_a_head_pool_that_does_not_fit():
    config = ModelConfig(stages=[StageConfig(channels=4)], head_pool=Pool.max, head_pool_size=9)
    assert "model.head_pool_size: 9 on a 8x8 map" in fault_text(config, (8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_layers": 7}, "model.conv_layers: 7, but model.stages lists only 6 convolutions."),
        ({"conv_layers": -1}, "model.conv_layers: -1 is below 0."),
        ({"fc_layers": 3}, "model.fc_layers: 3, but model.hidden lists only 2 hidden layers."),
        ({"width": 0.0}, "model.width: 0.0 is not above 0"),
        ({"dropout": 1.0}, "model.dropout: 1.0 is not below 1."),
        ({"head_dropout": -0.1}, "model.head_dropout: -0.1"),
        ({"depths": [1] * 7}, "model.depths: [1, 1, 1, 1, 1, 1, 1] has 7 numbers, but model.stages lists 6 stages."),
        ({"depths": [1, -1]}, "model.depths[1]: -1 is below 0."),
        ({"depths": [1, 1], "conv_layers": 3}, "model.conv_layers: 3, but model.depths lists only 2 convolutions."),
        ({"in_channels": 2}, "model.in_channels: 2 is not one of 1, 3."),
        ({"arguments": {"features": 3}}, "model.arguments: features given, but only a plugin network"),
        ({"name": "fer_kd"}, "model.name: 'fer_kd' is neither 'stages' nor a dotted path."),
        ({"hidden": [HiddenConfig(features=0)], "fc_layers": 1}, "model.hidden[0].features: 0 is below 1."),
    ],
)
def test_each_fault_names_its_key_and_value(load, changes, message):
    assert message in fault_text(load("fer_kd", **changes))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"inner": 4}, "model.stages[0].inner: 4 given, but a conv block has no inner channels."),
        ({"block": Block.basic, "inner": 4}, "a basic block has no inner channels."),
        ({"block": Block.bottleneck, "inner": 0}, "model.stages[0].inner: 0 is below 1."),
        ({"block": Block.bottleneck, "kernel": 2}, "model.stages[0].kernel: 2 is even; a bottleneck block could not keep"),
        ({"block": Block.inverted_residual, "padding": 0}, "model.stages[0].padding: 0 does not keep the size"),
    ],
)
def test_faults_of_residual_stages(stage, message):
    assert message in fault_text(ModelConfig(stages=[StageConfig(channels=4, **stage)]))


def test_residual_blocks_normalise_before_their_activation():
    config = ModelConfig(stages=[StageConfig(block=Block.basic, channels=4)], norm_position=NormPosition.after_pool)
    assert fault_text(config).startswith("model.norm_position: after_pool, but a basic block normalises before its activation.")


def test_blocks_are_counted_as_blocks():
    config = ModelConfig(stages=[StageConfig(block=Block.basic, channels=4, depth=2)], conv_layers=3)
    assert "model.conv_layers: 3, but model.stages lists only 2 blocks." in fault_text(config)


def test_all_faults_are_reported_at_once():
    stage = StageConfig(channels=-4, kernel=0, stride=0, padding=-1, dropout=2.0, pool=Pool.max, pool_padding=2)
    keys = [fault.key for fault in network_faults(ModelConfig(stages=[stage], width=-1.0), (48, 48))]
    names = ("channels", "kernel", "stride", "padding", "dropout", "pool_padding")
    assert sorted(keys) == sorted(["model.width", *(f"model.stages[0].{name}" for name in names)])


def test_instance_norm_of_a_single_pixel_is_refused():
    pooled = ModelConfig(stages=[StageConfig(channels=4, pool=Pool.adaptive_avg, pool_kernel=1)], norm=Norm.instance)
    assert fault_text(pooled) == ""  # the map is normalised before it is pooled
    after = replace(pooled, norm_position=NormPosition.after_pool)
    assert "model.stages[0].norm: instance normalisation on a 1x1 map." in fault_text(after)


def test_instance_norm_of_one_row_is_sound():
    config = ModelConfig(stages=[StageConfig(channels=4, stride=48)], norm=Norm.instance)
    assert fault_text(config, (48, 96)) == ""
    assert "instance normalisation on a 1x1 map" in fault_text(config, (48, 48))


def test_a_plugin_needs_an_allowed_package(plugin):
    config = ModelConfig(name=plugin)
    assert "Allow it with plugins=[my_networks] on the command line." in fault_text(config)
    assert fault_text(config, plugins=["my_networks"]) == ""


def test_a_plugin_gets_its_arguments(plugin):
    config = ModelConfig(name=plugin, in_channels=3, arguments={"features": 4})
    assert build_network(config, (48, 48), 7, ["my_networks"]).layers[2].in_features == 4


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "my_networks.Flat",
            {"feature": 4},
            "model.arguments.feature: Flat takes no such argument.\n    Did you mean 'features'?",
        ),
        ("my_networks.Flat", {"num_classes": 4}, "model.arguments.num_classes: is set by the program itself."),
        ("my_networks.Flat", {"features": "many"}, "model.arguments.features: 'many' is not a number."),
        ("my_networks.Flet", {}, "module 'my_networks' has no class 'Flet'.\n    Did you mean 'Flat'?"),
        ("my_networks.deep.Flat", {}, "cannot be imported"),
    ],
)
def test_faults_of_plugins(plugin, name, arguments, message):
    assert message in fault_text(ModelConfig(name=name, arguments=arguments), plugins=["my_networks"])
