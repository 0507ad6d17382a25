"""Limits of the arguments of torch's optimizers, so that a config can be checked without torch; a test compares them with torch.

They refuse all that torch refuses, and in addition numbers that are not a number (.nan), which some classes let pass.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fer_ablate.errors import Fault

NOT_NEGATIVE = (
    "lr",
    "weight_decay",
    "momentum",
    "eps",
    "alpha",
    "lr_decay",
    "initial_accumulator_value",
    "momentum_decay",
)
"""Arguments that are numbers from 0, in whichever class has them."""

FLOAT_BETAS = ("Adam", "AdamW")
"""Classes that take no whole number in `betas`."""

LARGEST = 1e30
"""Largest number of these; torch fails at the first step where its square or product is none of 32 bits."""

OPTIONAL_SWITCHES = ("foreach", "fused")
"""Switches between implementations; null leaves the choice to torch."""

EXCLUDED = ("foreach", "differentiable")
"""Switches that torch's fused implementation cannot be combined with."""


def limit_faults(class_name: str, arguments: Mapping[str, Any], implied: Mapping[str, Any]) -> list[Fault]:
    """List the arguments that are beyond their limits; each must be of the right kind, see `config.binding`.

    Args:
        class_name: name of the class in torch.
        arguments: as given.
        implied: arguments that the program sets itself.
    """
    return [fault for rule in RULES for fault in rule(class_name, {**arguments, **implied})]


def _numbers(_: str, given: Mapping[str, Any]) -> Iterator[Fault]:
    for name in NOT_NEGATIVE:
        if name in given and not given[name] >= 0:
            problem = f"{given[name]} is negative." if given[name] < 0 else f"{given[name]} is not a number from 0."
            yield Fault(f"optimizer.{name}", problem)
        elif name in given and given[name] > LARGEST:
            yield Fault(f"optimizer.{name}", f"{given[name]:g} is more than {LARGEST:g}, and too large for 32-bit numbers.")
    if "rho" in given and not 0 <= given["rho"] <= 1:
        yield Fault("optimizer.rho", f"{given['rho']} is not in [0, 1].", "It is a share of the running average, such as 0.9.")


def _betas(class_name: str, given: Mapping[str, Any]) -> Iterator[Fault]:
    betas = given.get("betas", ())
    for beta in betas:
        if not 0 <= beta < 1:
            yield Fault(
                "optimizer.betas", f"{beta} is not in [0, 1).", "Both are shares of a running average, such as [0.9, 0.999]."
            )
    if class_name in FLOAT_BETAS and any(isinstance(beta, int) and 0 <= beta < 1 for beta in betas):
        yield Fault("optimizer.betas", f"{list(betas)}: {class_name} takes no whole number.", "Write 0.0 for 0.")


def _nesterov(_: str, given: Mapping[str, Any]) -> Iterator[Fault]:
    if not given.get("nesterov"):
        return
    momentum, dampening = given.get("momentum", 0), given.get("dampening", 0)
    if momentum == 0:
        yield Fault("optimizer.momentum", f"{momentum}, but Nesterov's momentum has to be above 0.", "Use 0.9, or optimizer=sgd.")
    if dampening != 0:
        yield Fault("optimizer.dampening", f"{dampening}, but Nesterov's momentum has none.", "Leave it out.")


def _switches(_: str, given: Mapping[str, Any]) -> Iterator[Fault]:
    for name in OPTIONAL_SWITCHES:
        if given.get(name) not in (None, True, False):
            yield Fault(f"optimizer.{name}", f"{given[name]!r} is neither true, false nor null.")
    if given.get("differentiable"):
        yield Fault(
            "optimizer.differentiable", "it is for gradients through the steps, which no training here takes.", "Leave it out."
        )
    for name in EXCLUDED:
        if given.get("fused") and given.get(name):
            yield Fault("optimizer.fused", f"it cannot be combined with optimizer.{name}.", "Set one of them to false.")


RULES: tuple[Callable[[str, Mapping[str, Any]], Iterator[Fault]], ...] = (_numbers, _betas, _nesterov, _switches)
