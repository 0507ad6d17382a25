"""The sanity check of heat maps: redrawn weights, rank correlations and verdicts."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from fer_ablate.explain.sanity import SanityCheck, randomised, rank_correlations


class Own(nn.Module):
    """A layer that cannot redraw its weights itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(5000) * 3 + 10)


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(8, 8), Own())


def test_all_weights_are_redrawn_reproducibly():
    learnt = network()
    with torch.no_grad():
        for parameter in learnt.parameters():
            parameter += 5
    before = {name: value.clone() for name, value in learnt.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = randomised(learnt), randomised(learnt)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in learnt.named_parameters():
        assert torch.equal(value, before[name])
        assert not torch.equal(first.get_parameter(name), value)
        assert torch.equal(first.get_parameter(name), second.get_parameter(name))


def test_redrawn_weights_are_not_the_initial_ones():
    torch.manual_seed(0)  # as a run with seed 0 begins
    initial = nn.Linear(8, 8)
    assert not torch.equal(randomised(initial).weight, initial.weight)


def test_a_custom_layer_keeps_its_mean_and_spread():
    fresh = randomised(network())[3].scale
    assert fresh.mean().item() == pytest.approx(10, abs=0.3)
    assert fresh.std().item() == pytest.approx(3, rel=0.1)


def test_correlations_are_spearmans_of_the_positive_parts():
    first, second = np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype(np.float32)
    expected = [spearmanr(one.clip(0).ravel(), other.clip(0).ravel()).statistic for one, other in zip(first, second, strict=True)]
    assert rank_correlations(first, second) == pytest.approx(expected)
    assert rank_correlations(first, first) == pytest.approx([1, 1, 1])
    assert abs(rank_correlations(first, second).mean()) < 0.15


def test_an_empty_map_has_no_correlation():
    maps = np.random.default_rng(0).random((2, 6, 6)).astype(np.float32)
    assert len(rank_correlations(maps, np.stack([maps[0], -maps[1]]))) == 1


def test_verdicts():
    assert SanityCheck(0.1, 28).verdict == "depends on the weights"
    assert SanityCheck(0.9, 28).verdict.endswith("do not trust it")
    assert SanityCheck(None, 0).verdict == "unknown: a map is empty in every pair"
