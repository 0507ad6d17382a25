"""The ImageNet weights that torchvision publishes, and the faults of a config that starts from them or freezes convolutions."""

from dataclasses import dataclass, replace
from pathlib import Path

from fer_ablate.config.choices import Block, Norm
from fer_ablate.config.schema import ModelConfig
from fer_ablate.errors import Fault
from fer_ablate.models.stages import conv_count, resolved

Layout = tuple[tuple[Block, int, int, int], ...]


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights that torchvision publishes.

    Args:
        url: address; its name contains the first eight digits of the file's hash.
        layout: block, channels, depth and kernel of the stages that the weights belong to.
        norm: normalisation of these stages.
        conv_bias: whether their convolutions have a bias.
    """

    url: str
    layout: Layout
    norm: Norm
    conv_bias: bool

    @property
    def sha256(self) -> str:
        """First digits of the file's SHA-256."""
        return Path(self.url).stem.rpartition("-")[2]


def _vgg(*depths: int) -> Layout:
    return tuple((Block.conv, channels, depth, 3) for channels, depth in zip((64, 128, 256, 512, 512), depths, strict=True))


TORCH_EPS = 1e-5
"""Epsilon of the normalisations that torchvision's weights were trained with."""
RESNET50: Layout = ((Block.conv, 64, 1, 7), *((Block.bottleneck, 256 * 2**k, depth, 3) for k, depth in enumerate((3, 4, 6, 3))))
SITE = "https://download.pytorch.org/models"
PUBLISHED = {
    "vgg16": PublishedWeights(f"{SITE}/vgg16-397923af.pth", _vgg(2, 2, 3, 3, 3), Norm.none, conv_bias=True),
    "vgg19": PublishedWeights(f"{SITE}/vgg19-dcbb9e9d.pth", _vgg(2, 2, 4, 4, 4), Norm.none, conv_bias=True),
    "resnet50": PublishedWeights(f"{SITE}/resnet50-0676ba61.pth", RESNET50, Norm.batch, conv_bias=False),
}


def plugin_transfer_faults(config: ModelConfig) -> list[Fault]:
    """List transfer keys that are given for a plugin network, which has no stages to load or freeze."""
    given = {"pretrained": config.pretrained, "trainable_convs": config.trainable_convs}
    problem = f"given, but the plugin {config.name} has no stages."
    remedy = "Let the plugin do it, or leave it out."
    faults = [Fault(f"model.{key}", f"{value} {problem}", remedy) for key, value in given.items() if value is not None]
    return faults + _orphan_faults(config)


def transfer_faults(config: ModelConfig) -> list[Fault]:
    """List the faults of `model.pretrained*` and `model.trainable_convs`; the rest of the section must be sound."""
    faults = _orphan_faults(config)
    if config.pretrained is not None:
        faults += _fit_faults(config, config.pretrained, PUBLISHED[config.pretrained])
    path = config.pretrained_path
    if path is not None and not Path(path).is_file():
        faults.append(Fault("model.pretrained_path", f"there is no file {path}.", "Leave it out to have the file fetched."))
    count = conv_count(resolved(config))
    if config.trainable_convs is not None and config.trainable_convs > count:
        faults.append(
            Fault(
                "model.trainable_convs",
                f"{config.trainable_convs}, but the stages have only {count} convolutions.",
                f"Give 0 to {count}, or leave it out to train everything.",
            )
        )
    return faults


def _orphan_faults(config: ModelConfig) -> list[Fault]:
    """List the details of pretrained weights that are given although `model.pretrained` is not."""
    if config.pretrained is not None:
        return []
    return [
        Fault(f"model.{key}", "given without model.pretrained.", f"Add model.pretrained=..., one of {', '.join(PUBLISHED)}.")
        for key, value in (("pretrained_path", config.pretrained_path), ("pretrained_sha256", config.pretrained_sha256))
        if value is not None
    ]


def _fit_faults(config: ModelConfig, name: str, weights: PublishedWeights) -> list[Fault]:
    """List the keys that make a network differ from the one that the weights belong to."""
    remedy = f"Start from model={name}, or leave model.pretrained out."
    faults = []
    if config.in_channels != 3:
        faults.append(Fault("model.in_channels", f"{config.in_channels}, but {name} was trained on 3 channels.", remedy))
    if config.width != 1:
        faults.append(Fault("model.width", f"{config.width}, but the weights of {name} have the listed width.", remedy))
    if config.conv_bias != weights.conv_bias:
        faults.append(Fault("model.conv_bias", f"{config.conv_bias}, but {name} has {weights.conv_bias}.", remedy))
    # A wrong width is already reported above; compared at the listed width, it is not reported twice.
    kept = [stage for stage in resolved(replace(config, width=1.0)).stages if stage.depth]
    if tuple((stage.block, stage.channels, stage.depth, stage.kernel) for stage in kept) != weights.layout:
        rows = ", ".join(f"{depth} {block.name} {channels}" for block, channels, depth, _ in weights.layout)
        faults.append(Fault("model.stages", f"are not those of {name}: {rows}.", remedy))
    if any(stage.norm is not weights.norm for stage in kept):
        faults.append(Fault("model.norm", f"must be {weights.norm.name} in all stages, as in {name}.", remedy))
    if weights.norm is not Norm.none and config.norm_eps != TORCH_EPS:
        # The published scales and statistics are those of this epsilon, as much as of the layers.
        faults.append(Fault("model.norm_eps", f"{config.norm_eps}, but {name} was trained with {TORCH_EPS}.", remedy))
    return faults
