"""Ops of the user's own, which a step names by dotted path: `{op: my_parts.Speckle, p: 0.5}` with plugins=[my_parts]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fer_ablate.config.binding import part_faults
from fer_ablate.data.ops.op import Op
from fer_ablate.errors import Fault


@dataclass(frozen=True, kw_only=True)
class OwnOp(Op):
    """A class or function of a plugin; it gives as many images as it gets, of the same size, in [0, 1].

    Args:
        name: dotted path.
        arguments: of the class, or of the function after the images.
        plugins: the user's own packages that may be imported.
    """

    fixed = True

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    plugins: Sequence[str] = ()


def own_faults(key: str, step: Mapping[str, Any], plugins: Sequence[str]) -> list[Fault]:
    """List what is wrong with a step that names an op of the user's own.

    Args:
        key: full key of the step, for messages.
        step: the step as in the config.
        plugins: the user's own packages that may be imported.
    """
    return part_faults(step["op"], own_arguments(step), plugins, f"{key}.op", function_of=1)


def own_arguments(step: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a step gives to its op."""
    return {str(name): value for name, value in step.items() if name != "op"}
