from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fer_ablate.config.choices import Block, Norm, Pool
from fer_ablate.config.schema import HiddenConfig, ModelConfig, StageConfig
from fer_ablate.models.build import build_network
from fer_ablate.models.checks import network_faults
from fer_ablate.models.stages import block_convolutions, conv_count, flat_features, resolved, window_side

stages = st.builds(
    StageConfig,
    channels=st.integers(1, 3),
    depth=st.integers(0, 2),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.none() | st.integers(0, 2),
    pool=st.sampled_from(Pool),
    pool_kernel=st.integers(1, 3),
    pool_stride=st.none() | st.integers(1, 3),
    pool_padding=st.integers(0, 1),
)
residual_stages = st.builds(
    StageConfig,
    block=st.sampled_from([Block.basic, Block.bottleneck, Block.inverted_residual]),
    channels=st.integers(1, 4),
    depth=st.integers(0, 2),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    pool=st.sampled_from([Pool.none, Pool.max]),
)
networks = st.builds(
    ModelConfig,
    stages=st.lists(stages | residual_stages, max_size=4),
    head_pool=st.sampled_from(Pool),
    head_pool_size=st.integers(1, 3),
    hidden=st.lists(st.builds(HiddenConfig, features=st.integers(1, 4)), max_size=2),
    norm=st.just(Norm.none),
)


@settings(max_examples=30, deadline=None)
@given(config=networks, size=st.tuples(st.integers(1, 24), st.integers(1, 24)))
def test_shape_arithmetic_agrees_with_torch(config, size):
    keys = {fault.key for fault in network_faults(config, size)}
    assume(not any(key.endswith("pool_padding") for key in keys) and "model.head_pool_size" not in keys)
    faces = torch.zeros(1, 1, *size)
    if keys:
        # A head pool to 1x1 fits whatever the stages leave, so only they can fail.
        network = build_network(replace(config, head_pool=Pool.adaptive_avg, head_pool_size=1), size, 7)
        with pytest.raises(RuntimeError, match=r"[Kk]ernel size|[Oo]utput size"):
            network(faces)
    else:
        network = build_network(config, size, 7)
        assert network(faces).shape == (1, 7)
        assert network.flatten(network.head_pool(network.stages(faces))).shape[1] == flat_features(resolved(config), size)


@pytest.mark.parametrize(
    ("arguments", "side"), [((48, 3, 1, 1), 48), ((12, 3, 1, 0), 10), ((10, 2, 1, 0), 9), ((5, 2, 2, 0), 2), ((3, 5, 1, 0), -1)]
)
def test_window_side_by_hand(arguments, side):
    assert window_side(*arguments) == side


def test_resolving_twice_changes_nothing(load):
    once = resolved(load("pisa", conv_layers=3, width=0.5, dropout=0.4))
    assert resolved(once) == once
    assert [stage.depth for stage in once.stages] == [2, 1, 0, 0, 0]


@settings(max_examples=25, deadline=None)
@given(config=networks)
def test_convolutions_are_counted_as_they_are_built(config):
    network = build_network(replace(config, head_pool=Pool.adaptive_avg, head_pool_size=1), (24, 24), 7)
    built = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(built) == conv_count(resolved(config))


def test_width_multiplies_listed_inner_channels_and_others_follow():
    listed, free = StageConfig(block=Block.bottleneck, channels=64, inner=8), StageConfig(block=Block.bottleneck, channels=64)
    stages = resolved(ModelConfig(stages=[listed, free], width=0.5)).stages
    assert [block_convolutions(stage, 16, 1)[1].in_channels for stage in stages] == [4, 8]


def test_inverted_residuals_expand_six_times_by_default():
    stage = resolved(ModelConfig(stages=[StageConfig(block=Block.inverted_residual, channels=8)])).stages[0]
    assert [convolution.groups for convolution in block_convolutions(stage, 4, 1)] == [1, 24, 1]


@pytest.mark.parametrize(
    ("changes", "depths"),
    [
        ({"depths": [1, 1, 1]}, [1, 1, 1, 0, 0]),
        ({"depths": [1, 1, 1, 1, 1]}, [1, 1, 1, 1, 1]),
        ({"depths": [3, 2, 2, 2]}, [3, 2, 2, 2, 0]),
        ({"depths": [3, 2, 2, 2], "conv_layers": 4}, [3, 1, 0, 0, 0]),
    ],
)
def test_depths_replace_those_listed_and_are_cut_afterwards(load, changes, depths):
    assert [stage.depth for stage in resolved(load("pisa", **changes)).stages] == depths
