"""What can be wrong with pretrained and frozen weights, found before anything is fetched."""

import re
from dataclasses import replace
from pathlib import Path

from fer_ablate.config.schema import ModelConfig
from fer_ablate.errors import Fault, choices
from fer_ablate.models.pretrained import PUBLISHED, PublishedWeights
from fer_ablate.models.stages import conv_count, resolved

HASH_DIGITS = re.compile("[0-9a-f]{8,64}", re.IGNORECASE)


def plugin_transfer_faults(config: ModelConfig) -> list[Fault]:
    """A network of the user's own has no stages to fill or freeze."""
    given = {"pretrained": config.pretrained, "trainable_convs": config.trainable_convs}
    problem = f"given, but the plugin {config.name} has no stages."
    remedy = "Let the plugin do it, or leave it out."
    faults = [Fault(f"model.{key}", f"{value} {problem}", remedy) for key, value in given.items() if value is not None]
    return faults + _orphan_faults(config)


def transfer_faults(config: ModelConfig) -> list[Fault]:
    """Faults of `pretrained*` and `trainable_convs` in a network whose own numbers make sense."""
    faults = _orphan_faults(config)
    if config.pretrained is not None:
        if config.pretrained in PUBLISHED:
            faults += _fit_faults(config, config.pretrained, PUBLISHED[config.pretrained])
        else:
            faults.append(
                Fault("model.pretrained", f"unknown name '{config.pretrained}'.", choices(config.pretrained, PUBLISHED))
            )
    path, digits = config.pretrained_path, config.pretrained_sha256
    if path is not None and not Path(path).is_file():
        faults.append(Fault("model.pretrained_path", f"there is no file {path}.", "Leave it out to have the file fetched."))
    if digits is not None and not HASH_DIGITS.fullmatch(digits):
        faults.append(
            Fault("model.pretrained_sha256", f"'{digits}' is not a hash.", "Give at least its first 8 hexadecimal digits.")
        )
    count = conv_count(resolved(config))
    if config.trainable_convs is not None and not 0 <= config.trainable_convs <= count:
        faults.append(
            Fault(
                "model.trainable_convs",
                f"{config.trainable_convs} asked for, but the stages have {count} convolutions.",
                f"Give 0 to {count}, or leave it out to train everything.",
            )
        )
    return faults


def _orphan_faults(config: ModelConfig) -> list[Fault]:
    if config.pretrained is not None:
        return []
    return [
        Fault(f"model.{key}", "given without model.pretrained.", f"Add model.pretrained=..., one of {', '.join(PUBLISHED)}.")
        for key, value in (("pretrained_path", config.pretrained_path), ("pretrained_sha256", config.pretrained_sha256))
        if value is not None
    ]


def _fit_faults(config: ModelConfig, name: str, weights: PublishedWeights) -> list[Fault]:
    remedy = f"Start from model={name}, or leave model.pretrained out."
    faults = []
    if config.in_channels != 3:
        faults.append(Fault("model.in_channels", f"{config.in_channels}, but {name} was trained on 3 channels.", remedy))
    if config.width != 1:
        faults.append(Fault("model.width", f"{config.width}, but the weights of {name} have the listed width.", remedy))
    if config.conv_bias != weights.conv_bias:
        faults.append(Fault("model.conv_bias", f"{config.conv_bias}, but {name} has {weights.conv_bias}.", remedy))
    kept = [stage for stage in resolved(replace(config, width=1.0)).stages if stage.depth]
    if tuple((stage.block, stage.channels, stage.depth, stage.kernel) for stage in kept) != weights.layout:
        rows = ", ".join(f"{depth} {block.name} {channels}" for block, channels, depth, _ in weights.layout)
        faults.append(Fault("model.stages", f"are not those of {name}: {rows}.", remedy))
    if any(stage.norm is not weights.norm for stage in kept):
        faults.append(Fault("model.norm", f"must be {weights.norm.name} in all stages, as in {name}.", remedy))
    return faults
