import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fer_ablate.models.build import build_network
from fer_ablate.models.summary import describe


def test_macs_and_parameters_by_hand():
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 7))
    summary = describe(network, 1, (4, 4))
    assert [(row.kind, row.shape, row.parameters, row.macs) for row in summary.rows] == [
        ("Conv2d", (2, 4, 4), 20, 18 * 16),
        ("ReLU", (2, 4, 4), 0, 0),
        ("Flatten", (32,), 0, 0),
        ("Linear", (7,), 231, 224),
    ]
    assert (summary.parameters, summary.macs) == (251, 512)


def test_macs_are_half_the_operations_torch_counts(load):
    network = build_network(load("pisa"), (48, 48), 7).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 48, 48))
    assert describe(network, 1, (48, 48)).macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("model", ["resnet18", "resnet50", "mobile_fer"])
def test_residual_macs_are_half_of_torchs_count(load, model):
    config = load(model, width=0.25)
    network = build_network(config, (48, 48), 7).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, config.in_channels, 48, 48))
    assert describe(network, config.in_channels, (48, 48)).macs == counter.get_total_flops() // 2


def test_rows_add_up_to_the_totals(load, weightless):
    summary = describe(weightless(load("fer_kd")), 3, (48, 48))
    assert sum(row.parameters for row in summary.rows) == summary.parameters
    assert sum(row.macs for row in summary.rows) == summary.macs


def test_describing_leaves_the_network_as_it_was(load):
    network = build_network(load("pisa"), (48, 48), 7)
    network.hidden.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    describe(network, 1, (48, 48))
    assert network.stages.training
    assert not network.hidden.training
    assert not network.output._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_shared_layers_count_once_and_frozen_never():
    shared = nn.Linear(16, 16)
    network = nn.Sequential(nn.Flatten(), shared, shared, nn.Linear(16, 7))
    shared.requires_grad_(False)
    summary = describe(network, 1, (4, 4))
    assert (summary.parameters, summary.non_trainable) == (119, 272)
    assert [row.parameters for row in summary.rows] == [0, 272, 0, 119]
    assert summary.macs == 2 * 256 + 112
