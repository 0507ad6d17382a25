"""All ops by their names in a config, and the faults of a list of steps."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from fer_ablate.config.binding import is_own
from fer_ablate.data.ops.geometry import Affine, Flip, Rotate, VerticalFlip
from fer_ablate.data.ops.op import Op
from fer_ablate.data.ops.own import OwnOp, own_arguments, own_faults
from fer_ablate.data.ops.values import Blur, BrightnessContrast, Clahe, Equalize, Erasing, Gamma, Noise
from fer_ablate.data.ops.windows import Crop, Resize, Shift, TenCrop
from fer_ablate.errors import Fault, choices
from fer_ablate.sizes import Size

OPS: Mapping[str, type[Op]] = {
    "flip": Flip,
    "vertical_flip": VerticalFlip,
    "affine": Affine,
    "rotate": Rotate,
    "shift": Shift,
    "crop": Crop,
    "ten_crop": TenCrop,
    "resize": Resize,
    "brightness_contrast": BrightnessContrast,
    "gamma": Gamma,
    "equalize": Equalize,
    "clahe": Clahe,
    "blur": Blur,
    "noise": Noise,
    "erasing": Erasing,
}

FIXED = tuple(name for name, op in OPS.items() if op.fixed)
"""Names of the ops that can change every image in the same way."""


def read_op(step: Mapping[str, Any], plugins: Sequence[str] = ()) -> Op:
    """Build the op of one step without faults; `plugins` are only needed where a module is built from it."""
    if is_own(step["op"]):
        return OwnOp(name=step["op"], arguments=own_arguments(step), plugins=tuple(plugins))
    return OPS[step["op"]](**{name: value for name, value in step.items() if name != "op"})


def draws(op: Op) -> bool:
    """Whether the arguments of a fixed op make it draw random numbers."""
    if isinstance(op, OwnOp):
        return True  # only its author knows
    given = ((argument.metadata.get("draws"), getattr(op, argument.name)) for argument in fields(op))  # type: ignore[arg-type]
    return any(rule is not None and rule(value) is not None for rule, value in given)


def step_faults(key: str, step: Any, *, fixed: bool = False, plugins: Sequence[str] = ()) -> list[Fault]:
    """List what is wrong with the name and the arguments of one step.

    Args:
        key: full key of the step, for messages.
        step: the step as in the config.
        fixed: the step must change every image in the same way, so that random ops and arguments are faults.
        plugins: the user's own packages that may be imported.
    """
    if isinstance(step, Mapping) and is_own(step.get("op")):
        return own_faults(key, step, plugins)
    return list(_step_faults(key, step, FIXED if fixed else tuple(OPS), fixed))


def op_size_faults(key: str, op: Op, size: Size | None) -> list[Fault]:
    """List why an op cannot be applied to images of this size; empty if it can, or if the size is not known.

    Args:
        key: full key of the step, for messages.
        op: the op.
        size: height and width of the images in pixels; None if not known.
    """
    misfit = None if size is None else op.misfit(size)
    return [Fault(f"{key}.{misfit.argument}", misfit.problem, misfit.remedy)] if misfit else []


def _step_faults(key: str, step: Any, known: Sequence[str], fixed: bool) -> Iterator[Fault]:
    if not isinstance(step, Mapping) or "op" not in step:
        example = "{op: equalize}" if fixed else "{op: flip, p: 0.5}"
        yield Fault(key, f"{step} does not name its op", f"Write {example}. " + choices("", known))
        return
    name = str(step["op"])
    if name not in OPS:
        yield Fault(f"{key}.op", f"unknown op '{name}'", choices(name, known))
        return
    if name not in known:
        remedy = f"It belongs in augment.steps. Choices here: {', '.join(known)}."
        yield Fault(f"{key}.op", f"{name} changes each image in its own way", remedy)
        return
    # The fields of the op's dataclass are the only list of its arguments.
    arguments = {argument.name: argument for argument in fields(OPS[name])}  # type: ignore[arg-type]  # every op is a dataclass
    for given, value in step.items():
        if given == "op":
            continue
        if given not in arguments:
            yield Fault(f"{key}.{given}", f"{name} has no such argument", choices(str(given), arguments))
        elif fault := _value_fault(f"{key}.{given}", arguments[given], value, fixed):
            yield fault
    for missing, argument in arguments.items():
        if argument.default is MISSING and missing not in step:
            yield Fault(f"{key}.{missing}", f"{name} needs it and it is missing")


def _value_fault(key: str, argument: Field[Any], value: object, fixed: bool) -> Fault | None:
    if problem := argument.metadata["rule"](value):
        return Fault(key, f"{value!r}: {problem}")
    if fixed and "draws" in argument.metadata and (drawn := argument.metadata["draws"](value)):
        return Fault(key, f"{value!r}: {drawn}", "That belongs in augment.steps; here every image is changed in the same way.")
    return None
