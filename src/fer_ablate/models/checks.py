"""Lists the faults of a network without building it."""

from collections.abc import Callable, Sequence
from typing import Any

from fer_ablate.config.binding import argument_faults, load_plugin, takes
from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.choices import WITH_INNER, Block, Norm, NormPosition
from fer_ablate.config.schema import ModelConfig, StageConfig
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.models.published import plugin_transfer_faults, transfer_faults
from fer_ablate.models.stages import FIXED_POOLS, listed_depths, map_size_faults, resolved, stage_sizes
from fer_ablate.sizes import Size

STAGES = "stages"
"""`model.name` of a network that is a list of stages."""

SUPPLIED = ("in_channels", "num_classes")
"""Arguments that the program passes to a plugin network."""

CHANNELS_OF = {"timm": "in_chans", "torchvision": None}
"""Library of ready networks -> its name for the number of input channels; None: its networks take three."""
LIBRARY_CHANNELS = 3


def network_faults(config: ModelConfig, image_size: Size, plugins: Sequence[str] = ()) -> list[Fault]:
    """List all faults of the section `model`.

    Args:
        config: the section.
        image_size: height and width of the network's input in pixels.
        plugins: the user's own packages that may be imported.
    """
    faults = bound_faults(config, "model")
    if config.name != STAGES:
        return faults + plugin_transfer_faults(config) + _plugin_faults(config, plugins)
    if config.arguments:
        given = ", ".join(config.arguments)
        faults.append(
            Fault(
                "model.arguments",
                f"{given} given, but only a plugin network takes arguments.",
                "Name one: model.name=package.module.Class",
            )
        )
    faults += _architecture_faults(config)
    for index, stage in enumerate(config.stages):
        faults += _stage_faults(stage, f"model.stages[{index}]")
    # Sizes can only be computed from sound numbers.
    if faults:
        return faults
    network = resolved(config)
    return transfer_faults(config) + (map_size_faults(network, image_size) or _instance_norm_faults(network, image_size))


def _plugin_faults(config: ModelConfig, plugins: Sequence[str]) -> list[Fault]:
    if "." not in config.name:
        return [
            Fault(
                "model.name",
                f"'{config.name}' is neither '{STAGES}' nor a dotted path.",
                "For a network of conf/model write model=<name>.",
            )
        ]
    try:
        target = load_plugin(config.name, plugins, "model.name")
    except FaultyConfigError as error:
        return list(error.faults)
    return _signature_faults(config, target) + argument_faults(target, config.arguments, "model.arguments", supplied=SUPPLIED)


def network_arguments(config: ModelConfig, num_classes: int) -> dict[str, Any]:
    """All arguments of a plugin network by name: those of the config, the number of classes and that of the input's channels."""
    channels = CHANNELS_OF.get(config.name.partition(".")[0], "in_channels")
    passed = {"num_classes": num_classes} | ({channels: config.in_channels} if channels else {})
    return {**passed, **config.arguments}


def _signature_faults(config: ModelConfig, target: Callable[..., Any]) -> list[Fault]:
    """List which of the arguments that every network gets this one does not take."""
    library = config.name.partition(".")[0]
    if library in CHANNELS_OF:
        if CHANNELS_OF[library] is None and config.in_channels != LIBRARY_CHANNELS:
            problem = f"{config.in_channels}, but the networks of {library} take {LIBRARY_CHANNELS}."
            return [Fault("model.in_channels", problem, "Set model.in_channels=3: gray images are repeated.")]
        return []
    missing = [name for name in SUPPLIED if not takes(target, name, keywords=True)]
    remedy = "Every network gets both in_channels and num_classes, by name: give its __init__ these two arguments."
    return [Fault("model.name", f"{config.name} takes no {' and no '.join(missing)}.", remedy)] if missing else []


def _architecture_faults(config: ModelConfig) -> list[Fault]:
    faults = [
        *_depth_faults(config),
        *_count_faults("model.fc_layers", config.fc_layers, len(config.hidden), "hidden layers", "hidden"),
    ]
    residual = next((stage.block.name for stage in config.stages if stage.block is not Block.conv), None)
    if residual and config.norm_position is not NormPosition.before_activation:
        faults.append(
            Fault(
                "model.norm_position",
                f"{config.norm_position.name}, but a {residual} block normalises before its activation.",
                "Use model.norm_position=before_activation.",
            )
        )
    return faults


def _depth_faults(config: ModelConfig) -> list[Fault]:
    stages, depths = config.stages, config.depths
    if depths is not None and len(depths) > len(stages):
        problem = f"{list(depths)} has {len(depths)} numbers, but model.stages lists {len(stages)} stages."
        return [Fault("model.depths", problem, "A shorter list leaves the later stages out.")]
    listed = sum(max(depth, 0) for depth in listed_depths(config))
    things = "convolutions" if all(stage.block is Block.conv for stage in stages) else "blocks"
    return _count_faults("model.conv_layers", config.conv_layers, listed, things, "stages" if depths is None else "depths")


def _count_faults(key: str, given: int | None, listed: int, things: str, where: str) -> list[Fault]:
    if given is None or given <= listed:
        return []
    return [
        Fault(
            key,
            f"{given}, but model.{where} lists only {listed} {things}.",
            f"Give 0 to {listed}, or list more in model.{where}.",
        )
    ]


def _stage_faults(stage: StageConfig, key: str) -> list[Fault]:
    faults = []
    # torch refuses wider padding, which would make windows without a single pixel.
    if stage.pool in FIXED_POOLS and stage.pool_padding > stage.pool_kernel // 2:
        faults.append(Fault(f"{key}.pool_padding", f"{stage.pool_padding} is more than half of pool_kernel {stage.pool_kernel}."))
    return faults + _block_faults(stage, key)


def _block_faults(stage: StageConfig, key: str) -> list[Fault]:
    faults = []
    name = stage.block.name
    if stage.inner is not None and stage.block not in WITH_INNER:
        remedy = "Use block: bottleneck or block: inverted_residual, or leave it out."
        faults.append(Fault(f"{key}.inner", f"{stage.inner} given, but a {name} block has no inner channels.", remedy))
    # The shortcut can only be added to maps of its own size.
    if stage.block is not Block.conv and stage.kernel % 2 == 0:
        faults.append(
            Fault(f"{key}.kernel", f"{stage.kernel} is even; a {name} block could not keep the size.", "Use an odd one.")
        )
    elif stage.block is not Block.conv and stage.padding not in (None, stage.kernel // 2):
        problem = f"{stage.padding} does not keep the size, as a {name} block must."
        faults.append(Fault(f"{key}.padding", problem, f"Leave it out, or use {stage.kernel // 2}."))
    return faults


def _instance_norm_faults(network: ModelConfig, image_size: Size) -> list[Fault]:
    """Report instance normalisation of a 1x1 map, which would set every value to zero."""
    size = image_size
    for index, stage in enumerate(network.stages):
        sizes = stage_sizes(stage, size) if stage.depth else [size]
        normed = sizes if network.norm_position is NormPosition.after_pool else sizes[:-1]  # the last one is that after the pool
        if stage.depth and stage.norm is Norm.instance and (1, 1) in normed:
            return [
                Fault(
                    f"model.stages[{index}].norm",
                    "instance normalisation on a 1x1 map.",
                    "Use norm: layer or batch there, or keep the map larger.",
                )
            ]
        size = sizes[-1]
    return []
