"""Follows images from the stored ones to a network's input without building anything: their sizes, and the faults on the way."""

from collections.abc import Mapping, Sequence
from typing import Any

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.config.schema import AugmentConfig, Config, DataConfig
from fer_ablate.data.ops.registry import draws, op_size_faults, read_op, step_faults
from fer_ablate.data.ops.windows import Resize, Sized, TenCrop
from fer_ablate.errors import Fault
from fer_ablate.sizes import Size, in_key, spelled

Steps = Sequence[Mapping[str, Any]]
"""Steps as in the config, each a mapping with `op` and its arguments."""

PREPARE, AUGMENT = "data.prepare", "augment.steps"
"""Keys of the lists of steps."""


def prepare_faults(steps: Steps, image_size: Size | None, plugins: Sequence[str] = ()) -> list[Fault]:
    """List everything wrong with `data.prepare`.

    Args:
        steps: the steps.
        image_size: height and width of the stored images in pixels; None if not known.
        plugins: the user's own packages that may be imported.
    """
    faults = []
    size = image_size
    # The size is followed from step to step: a later step is applied to images that earlier ones may have resized.
    for number, step in enumerate(steps):
        key = f"{PREPARE}[{number}]"
        if found := step_faults(key, step, fixed=True, plugins=plugins):
            faults += found
            continue
        op = read_op(step)
        faults += op_size_faults(key, op, size)
        size = op.after(size)
    return faults


def prepared_size(steps: Steps, image_size: Size) -> Size:
    """Return the height and width of the prepared images in pixels, from those of the stored ones."""
    size: Size | None = image_size
    for op in map(read_op, steps):
        size = op.after(size)
    assert size is not None
    return size


def augment_faults(config: AugmentConfig, image_size: Size | None, plugins: Sequence[str] = ()) -> list[Fault]:
    """List everything wrong with `augment.steps`.

    Args:
        config: the group `augment`.
        image_size: height and width in pixels of the prepared images (`prepared_size`), to which the steps are applied;
            None if not known, so that crops are not compared with it.
        plugins: the user's own packages that may be imported.
    """
    faults = []
    size, tenfold, sized, resized = image_size, False, None, None
    for number, step in enumerate(config.steps):
        key = f"{AUGMENT}[{number}]"
        if found := step_faults(key, step, plugins=plugins):
            faults += found
            continue
        op = read_op(step)
        # A change of all training images would make them differ from the tested ones, which is never meant.
        if op.fixed and not isinstance(op, Resize) and not draws(op):
            problem = f"{step['op']} changes all training images in the same way, but not the images that are tested"
            faults.append(Fault(f"{key}.op", problem, "Put it into data.prepare, or give a p below 1."))
        ten = isinstance(op, TenCrop)
        if ten and tenfold:
            faults.append(Fault(f"{key}.op", "a second ten_crop, which makes a hundred of every image", "Keep one of the two."))
        faults += op_size_faults(key, op, size)
        size, tenfold = op.after(size), tenfold or ten
        if isinstance(op, Sized):
            sized = key, op
        if isinstance(op, Resize):
            resized = op.pixels
    if image_size and sized and not faults:
        faults += _untested_faults(*sized, resized, image_size)
    return faults


def _untested_faults(key: str, last: Sized, resized: Size | None, image_size: Size) -> list[Fault]:
    """Fault if a network is trained on a size that tests cannot show: they cut views out of images that were not resized.

    Args:
        key: of the last step that changes the size.
        last: that step.
        resized: what the last resize before or at that step makes; None without one.
        image_size: height and width of the prepared images.
    """
    fits = last.pixels[0] <= image_size[0] and last.pixels[1] <= image_size[1]
    restored = last.pixels == image_size and isinstance(last, Resize)
    if restored or (fits and resized in (None, image_size)):
        return []
    problem = f"trains on {spelled(last.pixels)} images that were resized; tests see the {spelled(image_size)} ones as they are"
    remedy = f"Resize in data.prepare, which changes every image, or go back to {spelled(image_size)} in a last resize."
    return [Fault(f"{key}.size", problem, remedy)]


def input_size(config: AugmentConfig, image_size: Size) -> Size:
    """Return height and width in pixels of a network's input: those of the last crop or resize, or else `image_size`."""
    size: Size | None = image_size
    for op in map(read_op, config.steps):
        size = op.after(size)
    assert size is not None
    return size


def network_size(config: Config, image_size: Size) -> Size:
    """Return height and width in pixels of the network's input in training, from those of the stored images."""
    return input_size(config.augment, prepared_size(config.data.prepare, image_size))


def normalisation_faults(data: DataConfig, channels: int) -> list[Fault]:
    """List which of `data.mean` and `data.std` do not have one number for each channel of the network.

    Args:
        data: the section `data`; whether its values are numbers is checked in `load.data_faults`.
        channels: channels of the network.
    """
    remedy = "Give one number, or one for each channel of the network."
    return [
        Fault(f"data.{name}", f"{value}: {len(value)} numbers, but model.in_channels is {channels}", remedy)
        for name, value in (("mean", data.mean), ("std", data.std))
        if isinstance(value, list | tuple) and len(value) not in (0, channels)
    ]


def view_faults(kind: TestTimeAugmentation, size: Size, image_size: Size) -> list[Fault]:
    """List what is wrong with the views that a test averages over.

    Args:
        kind: kind of views.
        size: height and width of the views in pixels.
        image_size: height and width of the prepared images they are cut from (`prepared_size`).
    """
    if size[0] > image_size[0] or size[1] > image_size[1]:
        problem = f"{in_key(size)}: crop is larger than the {spelled(image_size)} images"
        return [Fault("evaluation.crop", problem, f"Choose a crop up to {in_key(image_size)}.")]
    if kind is TestTimeAugmentation.ten_crop and size == image_size:
        problem = f"ten_crop with crops of {in_key(size)} pixels: all are the whole {spelled(image_size)} image"
        remedy = f"Set evaluation.crop below {in_key(image_size)}, train with a crop, or use tta: flip."
        return [Fault("evaluation.tta", problem, remedy)]
    return []
