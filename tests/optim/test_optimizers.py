import math
from inspect import signature
from pathlib import Path

import pytest
import torch
from torch import nn

from fer_ablate.optim.optimizer_limits import LARGEST, NOT_NEGATIVE
from fer_ablate.optim.optimizers import OPTIMIZERS, build_optimizer, optimizer_faults

CONF = sorted({path.stem for path in (Path(__file__).parents[2] / "conf" / "optimizer").rglob("*.yaml")} - {"own"})
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


def adam_by_hand(gradients, lr, eps, of_keras):
    """Weight after Adam's steps from 0, in numpy. Keras adds epsilon before the correction of the second moment."""
    weight = first = second = 0.0
    for step, gradient in enumerate(gradients, start=1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        correction = math.sqrt(1 - 0.999**step)
        root = (math.sqrt(second) + eps) / correction if of_keras else math.sqrt(second) / correction + eps
        weight -= lr / (1 - 0.9**step) * first / root
    return weight


def test_adam_with_keras_epsilon_by_hand(load):
    gradients = [1e-7 * (1 + step % 7) for step in range(20)]  # so small that epsilon decides
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = build_optimizer(load("optimizer", "adam", eps=1e-7), [("weight", weight)])
    for gradient in gradients:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    assert weight.item() == pytest.approx(adam_by_hand(gradients, 1e-3, 1e-7, of_keras=False), rel=1e-9)
    assert weight.item() != pytest.approx(adam_by_hand(gradients, 1e-3, 1e-8, of_keras=False), rel=0.1)


def test_keras_adam_differs_only_for_tiny_gradients():
    """The place of epsilon, which is left as torch has it, changes ten steps by less than 1 % where gradients are 1e-3."""
    ours, keras = (adam_by_hand([1e-3] * 10, 1e-3, 1e-7, of_keras) for of_keras in (False, True))
    assert ours == pytest.approx(keras, rel=0.01)


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
        ("sgd_nesterov", {"momentum": 0.0}, "optimizer.momentum: 0.0, but Nesterov's momentum has to be above 0."),
        ("sgd", {"momentum": -1.0}, "optimizer.momentum: -1.0 is negative."),
        ("adam", {"betas": [0.9, 1.5]}, "optimizer.betas: 1.5 is not in [0, 1)."),
        ("adam", {"betas": 0.9}, "optimizer.betas: 0.9 is not a list of 2 numbers."),
        ("adam", {"betas": [0, 0.9]}, "optimizer.betas: [0, 0.9]: Adam takes no whole number."),
        ("adadelta", {"rho": 1.1}, "optimizer.rho: 1.1 is not in [0, 1]."),
        ("sgd", {"nesterov": True, "dampening": 0.5}, "optimizer.dampening: 0.5, but Nesterov's momentum has none."),
        ("adam", {"fused": True, "foreach": True}, "optimizer.fused: it cannot be combined with optimizer.foreach."),
        ("adam", {"foreach": "yes"}, "optimizer.foreach: 'yes' is neither true, false nor null."),
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


def test_a_wrong_kind_is_one_fault(load):
    faults = optimizer_faults(load("optimizer", "sgd_nesterov", momentum="much"))
    assert [str(fault) for fault in faults] == ["optimizer.momentum: 'much' is not a number."]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_signatures_in_the_source_are_those_of_torch(name):
    target, _ = OPTIMIZERS[name]
    read, true = target._read(), signature(getattr(torch.optim, target.__name__))
    assert {one.name: (one.kind, one.default) for one in read.parameters.values()} == {
        one.name: (one.kind, one.default) for one in true.parameters.values()
    }


TRIED = {
    bool: (True, False),
    tuple: ((0.9, 0.999), (0.0, 0.0), (1.0, 0.5), (0.5, 1.0), (-0.1, 0.5), (0, 0.9), (1, 0.9), (0, 0)),
    type(None): (None, True, False),
    float: (-1.0, -1, 0, 0.0, 0.5, 1.0, 1, 1.5, 1e9, math.inf),
}
"""Kind of an argument's default -> values that are tried."""

LET_PASS = ("alpha",)
"""Arguments whose negative values some class of torch lets pass, though they make no sense."""


def torch_refuses(target, arguments):
    try:
        getattr(torch.optim, target.__name__)([nn.Parameter(torch.zeros(1, 1))], **arguments)
    except (ValueError, TypeError, RuntimeError):
        return True
    return False


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_limits_are_those_of_torch(name):
    target, fixed = OPTIMIZERS[name]
    free = {one.name: one.default for one in signature(target).parameters.values() if one.name not in ("params", *fixed)}
    kinds = {argument: float if type(default) is int else type(default) for argument, default in free.items()}
    values = [{"lr": 0.1, argument: value} for argument, kind in kinds.items() for value in TRIED[kind]]
    # What depends on another argument: Nesterov's momentum, and the switches that exclude each other.
    switches = [one for one in ("nesterov", "fused", "foreach", "differentiable", "capturable") if one in free]
    values += [{"lr": 0.1, one: True, other: True} for one in switches for other in switches if one < other]
    if target.__name__ == "SGD":
        pairs = [(0.9, 0), (0.9, 0.1), (0, 0), (0.0, 0.5), (-0.5, 0)]
        values += [
            {"lr": 0.1, "momentum": one, "dampening": other, **({} if fixed else {"nesterov": True})} for one, other in pairs
        ]
    for arguments in values:
        refused = bool(optimizer_faults({"name": name, **arguments}))
        stricter = any(arguments.get(one, 0) < 0 for one in LET_PASS) or arguments.get("differentiable")
        stricter = stricter or any(arguments.get(one, 0) > LARGEST for one in NOT_NEGATIVE)
        assert refused == (stricter or torch_refuses(target, {**arguments, **fixed})), arguments


def test_an_allowed_optimizer_by_dotted_path():
    config = {"name": "torch.optim.Rprop", "lr": 0.01, "etas": [0.5, 1.2]}
    assert fault_text(config, ["torch"]) == ""
    assert isinstance(build_optimizer(config, network().named_parameters(), ["torch"]), torch.optim.Rprop)


@pytest.mark.parametrize("name", ["sgd_nesterov", "adam", "amsgrad", "adamw", "rmsprop", "adadelta"])
def test_updating_all_weights_at_once_changes_no_bit(name):
    section = {"name": name, "lr": 0.01, "weight_decay": 0.01, **({"momentum": 0.9} if name.startswith("sgd") else {})}
    found = []
    for joint in (True, False):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 7)
        )
        optimizer = build_optimizer(section, network.named_parameters(), joint=joint)
        for _ in range(5):
            optimizer.zero_grad()
            network(torch.randn(8, 1, 8, 8)).square().mean().backward()
            optimizer.step()
        assert optimizer.param_groups[0]["foreach"] is (True if joint else None)
        found.append([parameter.detach().clone() for parameter in network.parameters()])
    assert all(map(torch.equal, *found))


def test_a_choice_of_the_user_is_kept():
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = build_optimizer({"name": "adam", "lr": 0.01, "foreach": False}, [("weight", weight)])
    assert optimizer.param_groups[0]["foreach"] is False
