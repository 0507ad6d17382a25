"""Optimizers by name; their arguments are those of the torch classes and are checked against their signatures.

A section with an optimizer of torch is checked without importing torch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from fer_ablate.config.binding import argument_faults, is_number, load_plugin
from fer_ablate.errors import Fault, FaultyConfigError, choices
from fer_ablate.optim.optimizer_limits import limit_faults
from fer_ablate.optim.torch_classes import TorchOptimizer

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

OptimizerClass = Callable[..., "Optimizer"]

OPTIMIZERS: dict[str, tuple[OptimizerClass, dict[str, Any]]] = {
    "sgd": (TorchOptimizer("SGD"), {}),
    "sgd_nesterov": (TorchOptimizer("SGD"), {"nesterov": True}),
    "asgd": (TorchOptimizer("ASGD"), {}),
    "adam": (TorchOptimizer("Adam"), {}),
    "amsgrad": (TorchOptimizer("Adam"), {"amsgrad": True}),
    "adamw": (TorchOptimizer("AdamW"), {}),
    "nadam": (TorchOptimizer("NAdam"), {}),
    "radam": (TorchOptimizer("RAdam"), {}),
    "rmsprop": (TorchOptimizer("RMSprop"), {}),
    "adagrad": (TorchOptimizer("Adagrad"), {}),
    "adadelta": (TorchOptimizer("Adadelta"), {}),
}
"""Name -> class, and arguments that the name implies."""

JOINT_UPDATES = ("SGD", "Adam", "AdamW", "RMSprop", "Adadelta")
"""Classes that give the same weights to the last bit if all tensors are updated in one call (`foreach`).

NAdam, RAdam and ASGD round in another way then.
"""
JOINT_WEIGHTS = 1_000_000
"""Most weights that are updated in one call on a CPU: it needs room for a copy of them, and only pays off for small tensors."""

OWN_KEYS = ("name", "decay")
"""Keys of the section that are not arguments of the class."""


class Decay(Enum):
    """Parameters that `weight_decay` applies to; `weights`: kernels and matrices, not biases and normalisation."""

    all = "all"
    weights = "weights"


def optimizer_faults(config: Mapping[str, Any], plugins: Sequence[str] = ()) -> list[Fault]:
    """List all faults of the section `optimizer`.

    Args:
        config: the section.
        plugins: the user's own packages that may be imported.
    """
    if not config.get("name"):
        return [Fault("optimizer.name", "is missing.", f"Choices: {', '.join(OPTIMIZERS)}.")]
    try:
        target, fixed = _target(str(config["name"]), plugins)
    except FaultyConfigError as error:
        return list(error.faults)
    arguments = _arguments(config)
    faults = argument_faults(target, arguments, "optimizer", supplied=("params", *fixed), unless=OWN_KEYS)
    if "lr" not in arguments:
        faults.append(Fault("optimizer.lr", "is missing.", "Add one, such as optimizer.lr=0.001."))
    if (decay := config.get("decay", Decay.all.name)) not in Decay.__members__:
        faults.append(Fault("optimizer.decay", f"'{decay}' is unknown.", choices(str(decay), Decay.__members__)))
    # Arguments of a wrong kind are not compared with limits.
    wrong = {fault.key for fault in faults}
    sound = {name: value for name, value in arguments.items() if f"optimizer.{name}" not in wrong}
    if isinstance(target, TorchOptimizer):
        return faults + [fault for fault in limit_faults(target.__name__, sound, fixed) if fault.key not in wrong]
    for name in ("lr", "weight_decay"):
        value = sound.get(name)
        if is_number(value) and value < 0:
            faults.append(Fault(f"optimizer.{name}", f"{value} is negative."))
    return faults or _refusal(str(config["name"]), target, arguments)


def _refusal(name: str, target: OptimizerClass, arguments: Mapping[str, Any]) -> list[Fault]:
    """Limits that only an optimizer of the user's own knows are found by building it for one number."""
    import torch

    # Two dimensions, since some optimizers accept only matrices.
    try:
        target([torch.nn.Parameter(torch.zeros(1, 1))], **arguments)
    except Exception as error:  # of the user's own code
        return [Fault("optimizer", f"{name} refuses these arguments: {error}.")]
    return []


def build_optimizer(
    config: Mapping[str, Any],
    named_parameters: Iterable[tuple[str, "nn.Parameter"]],
    plugins: Sequence[str] = (),
    *,
    joint: bool = True,
) -> "Optimizer":
    """Build the optimizer of a section that passed `optimizer_faults`.

    Args:
        config: `name`, `decay` and the arguments of the class.
        named_parameters: those of `network.named_parameters()`; frozen ones are left out.
        plugins: the user's own packages that may be imported.
        joint: update small networks in one call where that changes no bit (`JOINT_UPDATES`); otherwise as torch does by default.
    """
    target, fixed = _target(config["name"], plugins)
    trained = [parameter for _, parameter in named_parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": trained}]
    if Decay[config.get("decay", Decay.all.name)] is Decay.weights:
        # Parameters with one dimension are biases, and the scales and shifts of normalisation layers.
        groups = [
            {"params": [parameter for parameter in trained if parameter.ndim >= 2]},
            {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
        ]
    arguments = {**_arguments(config), **fixed}
    chosen = {"foreach", "fused", "differentiable"} & arguments.keys()
    if joint and not chosen and isinstance(target, TorchOptimizer) and target.__name__ in JOINT_UPDATES:
        # torch does so by itself on GPUs only; on a CPU the calls for each small tensor take longer than their arithmetic.
        small = sum(parameter.numel() for parameter in trained) <= JOINT_WEIGHTS
        arguments["foreach"] = True if small and all(parameter.device.type == "cpu" for parameter in trained) else None
    return target([group for group in groups if group["params"]], **arguments)


def _target(name: str, plugins: Sequence[str]) -> tuple[OptimizerClass, dict[str, Any]]:
    """Find the class of a name, and the arguments that the name implies."""
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]
    if "." in name:
        return load_plugin(name, plugins, "optimizer.name"), {}
    raise FaultyConfigError([Fault("optimizer.name", f"'{name}' is unknown.", choices(name, OPTIMIZERS))])


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the class; lists become tuples, which YAML lacks and torch needs for `betas`."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items() if key not in OWN_KEYS}
