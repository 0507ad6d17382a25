import copy

import pytest
import torch
from torch import nn

from fer_ablate.models.build import build_network
from fer_ablate.models.summary import describe


def step(network):
    """One training step; names of the tensors that it changed."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    network(torch.randn(4, 1, 48, 48)).square().sum().backward()
    torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1).step()
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def test_frozen_weights_and_statistics_do_not_move(load):
    network = build_network(load("pisa", width=0.125, trainable_convs=2), (48, 48), 7)
    moved = step(network)
    assert not {name for name in moved if name.startswith(("stages.0", "stages.1"))}
    for name in ("stages.2.conv0.weight", "stages.2.norm0.running_mean", "stages.3.norm0.weight", "hidden.0.norm.running_var"):
        assert name in moved


def test_with_no_trainable_convolution_only_the_head_learns(load):
    network = build_network(load("pisa", width=0.125, trainable_convs=0), (48, 48), 7)
    assert {name.split(".")[0] for name in step(network)} == {"hidden", "output"}


def test_a_copy_is_frozen_too(load):
    network = copy.deepcopy(build_network(load("pisa", width=0.125, trainable_convs=0), (48, 48), 7))
    assert not any(name.startswith("stages") for name in step(network))


def test_frozen_normalisations_start_in_evaluation_mode(load):
    network = build_network(load("pisa", width=0.125, trainable_convs=1), (48, 48), 7)
    modes = {name: module.training for name, module in network.stages.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert [name for name, training in modes.items() if training] == ["3.norm0"]
    assert network.hidden[0].norm.training


def test_all_convolutions_trained_is_nothing_frozen(load):
    network = build_network(load("pisa", width=0.125, trainable_convs=6), (48, 48), 7)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("trained", "frozen"), [(3, 7_635_264), (6, 1_735_488), (9, 260_160), (13, 0)])
def test_vgg16_layers_are_counted_as_in_pisa(load, weightless, trained, frozen):
    summary = describe(weightless(load("vgg16", trainable_convs=trained)), 3, (48, 48))
    assert (summary.total, summary.non_trainable) == (14_847_815, frozen)  # 260,160 is printed in the report
