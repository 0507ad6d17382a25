from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fer_ablate.config.choices import Norm, Pool
from fer_ablate.config.schema import HiddenConfig, ModelConfig, StageConfig
from fer_ablate.models import build_network, check
from fer_ablate.models.stages import flat_features, resolved, window_side

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
networks = st.builds(
    ModelConfig,
    stages=st.lists(stages, max_size=4),
    head_pool=st.sampled_from(Pool),
    head_pool_size=st.integers(1, 3),
    hidden=st.lists(st.builds(HiddenConfig, features=st.integers(1, 4)), max_size=2),
    norm=st.just(Norm.none),
)


@settings(max_examples=150, deadline=None)
@given(config=networks, size=st.integers(1, 24))
def test_shape_arithmetic_agrees_with_torch_on_what_fits_and_how_large_it_is(config, size):
    keys = {fault.key for fault in check(config, size)}
    assume(not any(key.endswith("pool_padding") for key in keys) and "model.head_pool_size" not in keys)
    faces = torch.zeros(1, 1, size, size)
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
    assert [stage.depth for stage in once.stages] == [2, 1, 0, 0]
