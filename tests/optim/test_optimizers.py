from inspect import signature
from pathlib import Path

import pytest
import torch
from torch import nn

from fer_ablate.optim import build_optimizer, optimizer_faults
from fer_ablate.optim.optimizers import OPTIMIZERS

CONF = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "optimizer").rglob("*.yaml"))
SWITCHES = {"foreach", "fused", "capturable", "differentiable", "maximize"}


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 7))


def fault_text(config, plugins=()):
    return "\n".join(map(str, optimizer_faults(config, plugins)))


def test_optimizers_and_files_match_one_to_one(load):
    assert set(CONF) >= set(OPTIMIZERS)
    assert {load("optimizer", choice)["name"] for choice in CONF} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", CONF)
def test_every_stored_optimizer_lowers_the_loss(load, name):
    config = load("optimizer", name)
    assert optimizer_faults(config) == []
    weight = nn.Parameter(torch.tensor([[3.0]]))
    optimizer = build_optimizer(config, [("weight", weight)])
    for _ in range(20):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 3.0


@pytest.mark.parametrize("name", CONF)
def test_every_file_lists_arguments_that_change_results(load, name):
    target, fixed = OPTIMIZERS[load("optimizer", name)["name"]]
    listed = load("optimizer", name).keys() - {"name", "decay"}
    optional = {"nesterov", "dampening", "amsgrad", "decoupled_weight_decay"}  # other names stand for these
    missing = signature(target).parameters.keys() - listed - {"params", *fixed, *SWITCHES}
    assert missing <= optional


def test_sgd_with_nesterov_momentum_by_hand(load):
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = build_optimizer(load("optimizer", "sgd_nesterov", lr=0.1, weight_decay=0.0), [("weight", weight)])
    weight.grad = torch.tensor([1.0])
    optimizer.step()
    assert weight.item() == pytest.approx(1 - 0.1 * (1 + 0.9))


def test_amsgrad_is_adam_with_amsgrad(load):
    assert build_optimizer(load("optimizer", "amsgrad"), network().named_parameters()).defaults["amsgrad"] is True


def test_decay_of_weights_spares_biases_and_normalisation(load):
    optimizer = build_optimizer(load("optimizer", "adamw", decay="weights"), network().named_parameters())
    decayed, spared = optimizer.param_groups
    assert ([p.ndim for p in decayed["params"]], decayed["weight_decay"]) == ([4, 2], 0.01)
    assert ([p.ndim for p in spared["params"]], spared["weight_decay"]) == ([1, 1, 1, 1], 0.0)


def test_decay_of_all_is_one_unfrozen_group(load):
    model = network()
    model[0].requires_grad_(False)
    (group,) = build_optimizer(load("optimizer", "adam"), model.named_parameters()).param_groups
    assert len(group["params"]) == 4


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sgd", {"momentun": 0.9}, "optimizer.momentun: SGD takes no such argument.\n    Did you mean 'momentum'?"),
        ("sgd", {"decai": "all"}, "Did you mean 'decay'?"),
        ("sgd_nesterov", {"nesterov": False}, "optimizer.nesterov: is set by the program itself."),
        ("sgd_nesterov", {"momentum": 0.0}, "optimizer: sgd_nesterov refuses these arguments: Nesterov momentum requires"),
        ("sgd", {"momentum": -1.0}, "refuses these arguments: Invalid momentum value: -1.0"),
        ("adam", {"betas": [0.9, 1.5]}, "Invalid beta parameter at index 1: 1.5"),
        ("adam", {"betas": 0.9}, "optimizer.betas: 0.9 is not a list of 2 numbers."),
        ("adam", {"lr": "abc"}, "optimizer.lr: 'abc' is not a number."),
        ("adam", {"lr": -0.1}, "optimizer.lr: -0.1 is negative."),
        ("adam", {"weight_decay": -1}, "optimizer.weight_decay: -1 is negative."),
        ("adam", {"decay": "weight"}, "optimizer.decay: 'weight' is unknown.\n    Did you mean 'weights'?"),
        ("adam", {"name": "adamm"}, "optimizer.name: 'adamm' is unknown.\n    Did you mean 'adam'?"),
        ("adam", {"name": None}, "optimizer.name: is missing."),
        ("adam", {"name": "torch.optim.Rprop"}, "plugins=[torch]"),
    ],
)
def test_each_fault_names_its_key_and_value(load, name, changes, message):
    assert message in fault_text(load("optimizer", name, **changes))


def test_all_faults_are_reported_at_once():
    assert [fault.key for fault in optimizer_faults({"name": "sgd", "momentun": 1, "weight_decay": -1})] == [
        "optimizer.momentun", "optimizer.lr", "optimizer.weight_decay",
    ]  # fmt: skip


def test_an_allowed_optimizer_by_dotted_path():
    config = {"name": "torch.optim.Rprop", "lr": 0.01, "etas": [0.5, 1.2]}
    assert fault_text(config, ["torch"]) == ""
    assert isinstance(build_optimizer(config, network().named_parameters(), ["torch"]), torch.optim.Rprop)
