"""Lists all faults of a run's config that can be found before any image is read."""

from fer_ablate.config.binding import is_number, is_own, part_faults, read_part
from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.choices import MONITORS, Keep, Mode, Roles
from fer_ablate.config.schema import Config
from fer_ablate.data import balance, load
from fer_ablate.data.checks import (
    augment_faults,
    network_size,
    normalisation_faults,
    prepare_faults,
    prepared_size,
    view_faults,
)
from fer_ablate.errors import Fault
from fer_ablate.metrics import METRICS
from fer_ablate.metrics.columns import OFFERED
from fer_ablate.models import checks as models
from fer_ablate.models.stages import flat_features, map_size_faults, resolved
from fer_ablate.optim.optimizers import optimizer_faults
from fer_ablate.optim.schedules import Plateau, scheduler_faults
from fer_ablate.sizes import Size, as_size, in_key, spelled
from fer_ablate.training.devices import hardware_faults
from fer_ablate.training.identity import may_normalise_batches

LOWER_IS_BETTER = ("loss",)


def run_faults(config: Config) -> list[Fault]:
    """List all faults of a run's config; sizes are checked only if that of the images is known without reading them."""
    size = load.known_size(config.data)
    return [
        *bound_faults(config, deep=False),
        *bound_faults(config.search, "search"),
        *image_faults(config),
        *(size_faults(config, size) if size is not None else _unsized_faults(config)),
        *optimizer_faults(config.optimizer, config.plugins),
        *scheduler_faults(config.scheduler, config.trainer.max_epochs, MONITORS, config.plugins),
        *loss_faults(config),
        *_list_faults(config),
        *hardware_faults(config.trainer),
        *_mode_faults(config),
        *_rate_faults(config),
        *_share_faults(config),
        *_unmeasured_faults(config),
        *_selection_faults(config),
    ]


def loss_faults(config: Config) -> list[Fault]:
    """List the faults of the section `loss`; torch is only imported for a loss of the user's own."""
    if not is_own(config.loss.name):
        given = ", ".join(config.loss.arguments)
        remedy = "Give the keys of the section, such as loss.gamma=1, or name a class: loss.name=package.module.Class."
        more = [Fault("loss.arguments", f"{given} given, but only a plugin loss takes arguments.", remedy)] if given else []
        return [*bound_faults(config.loss, "loss"), *more]
    from fer_ablate.optim.losses import own_loss_faults

    return [*bound_faults(config.loss, "loss"), *own_loss_faults(config.loss, config.plugins)]


def _list_faults(config: Config) -> list[Fault]:
    """List the faults of metrics and callbacks of the user's own."""
    faults = []
    for number, given in enumerate(config.trainer.callbacks):
        key, (name, arguments) = f"trainer.callbacks[{number}]", read_part(given)
        faults += part_faults(name, arguments, config.plugins, f"{key}.name", place=key)
    for shown, given in config.evaluation.metrics.items():
        key, (name, arguments) = f"evaluation.metrics.{shown}", read_part(given)
        if shown in METRICS or not shown.isidentifier():
            problem = "there is such a metric already." if shown in METRICS else "a name has letters, digits and _ alone."
            faults.append(Fault(key, problem, "Choose another name for tables."))
        faults += part_faults(name, arguments, config.plugins, f"{key}.name", place=key, offered=OFFERED)
    return faults


def image_faults(config: Config) -> list[Fault]:
    """List the faults of the section `data`, except for those that need the size of the images."""
    return [
        *load.data_faults(config.data, config.plugins),
        *balance.balance_faults(config.data.balance),
        *normalisation_faults(config.data, config.model.in_channels),
    ]


def size_faults(config: Config, image_size: Size, trained_size: Size | None = None) -> list[Fault]:
    """List the faults that need the size of the stored images, such as crops and maps that shrink to nothing.

    Args:
        config: config of the run.
        image_size: height and width of the stored images in pixels.
        trained_size: size of the images that the network was trained on; None: `image_size`.
    """
    faults = [*bound_faults(config.evaluation, "evaluation"), *prepare_faults(config.data.prepare, image_size, config.plugins)]
    if not faults:
        faults = augment_faults(config.augment, prepared_size(config.data.prepare, image_size), config.plugins)
    if faults:
        # The size of the network's input is unknown, but faults of the network itself can still be found.
        return [*faults, *models.network_faults(config.model, image_size, config.plugins)]
    faults = models.network_faults(config.model, network_size(config, trained_size or image_size), config.plugins)
    return faults + _tested_faults(config, image_size, trained_size, fits=not faults)


def tested_view_faults(config: Config, image_size: Size) -> list[Fault]:
    """List the faults of the test-time views of a finished network, for stored images of the size that it was trained on."""
    return bound_faults(config.evaluation, "evaluation") or _tested_faults(config, image_size)


def tested_size(config: Config, image_size: Size) -> Size:
    """Return the height and width of the test-time views in pixels, from those of the stored images."""
    return as_size(config.evaluation.crop) or network_size(config, image_size)


def _unsized_faults(config: Config) -> list[Fault]:
    """List the faults of crops and steps that can be found without the size of the images."""
    return [
        *bound_faults(config.evaluation, "evaluation"),
        *prepare_faults(config.data.prepare, None, config.plugins),
        *augment_faults(config.augment, None, config.plugins),
    ]


def _tested_faults(config: Config, image_size: Size, trained_size: Size | None = None, fits: bool = True) -> list[Fault]:
    """List the faults of views that do not fit the images, or that the network cannot take after training on another size.

    The latter is only checked for a network that `fits` its training size, and never for a plugin network.
    """
    size, tested = network_size(config, trained_size or image_size), tested_size(config, image_size)
    # Views are cut out of prepared images, which training steps have not resized.
    faults = view_faults(config.evaluation.tta, tested, prepared_size(config.data.prepare, image_size))
    if faults or not fits or tested == size or config.model.name != models.STAGES:
        return faults
    network = resolved(config.model)
    remedy = f"Leave evaluation.crop out, train with a crop of {in_key(tested)}, or set model.head_pool=adaptive_avg."
    if map_size_faults(network, tested):
        return [Fault("evaluation.crop", f"{spelled(tested)} images shrink to nothing in this network.", remedy)]
    # Convolutions take images of any size, but the first linear layer has a fixed number of inputs.
    built, given = flat_features(network, size), flat_features(network, tested)
    if built == given:
        return []
    problem = (
        f"{in_key(tested)}: trained on {spelled(size)} images, the first linear layer takes {built:,} numbers; "
        f"{spelled(tested)} ones give {given:,}."
    )
    return [Fault("evaluation.crop", problem, remedy)]


def _mode_faults(config: Config) -> list[Fault]:
    """List metrics that are monitored in the wrong direction, so that the worst epoch would be taken for the best."""
    trainer, stopping, schedule = config.trainer, config.trainer.early_stopping, config.scheduler
    watched = {
        "trainer": (trainer.monitor, trainer.mode.name),
        "trainer.early_stopping": (stopping.monitor, stopping.mode.name),
    }
    if schedule.get("name") == "plateau":
        watched["scheduler"] = str(schedule.get("monitor", Plateau.monitor)), str(schedule.get("mode", Plateau.mode))
    faults = []
    for section, (monitor, mode) in watched.items():
        expected = (Mode.min if monitor.endswith(LOWER_IS_BETTER) else Mode.max).name
        if monitor in MONITORS and mode != expected and mode in Mode.__members__:
            effect = "lower the rate while it gets better" if section == "scheduler" else "keep the worst epoch"
            problem = f"'{mode}' with {monitor} would {effect}."
            faults.append(Fault(f"{section}.mode", problem, f"Use {section}.mode={expected}."))
    return faults


def _rate_faults(config: Config) -> list[Fault]:
    """Fault if a schedule that falls to `eta_min` would rise to it."""
    lowest, rate = config.scheduler.get("eta_min"), config.optimizer.get("lr")
    if not is_number(lowest) or not is_number(rate) or lowest <= rate:
        return []
    return [Fault("scheduler.eta_min", f"{lowest:g} is above optimizer.lr={rate:g}, from which the rate falls.", "Lower it.")]


def _share_faults(config: Config) -> list[Fault]:
    """Fault if batch normalisation would get a single image on each device, which has no variance."""
    trainer = config.trainer
    if trainer.devices == 1 or trainer.batch_size >= 2 * trainer.devices or not may_normalise_batches(config):
        return []
    problem = f"{trainer.batch_size} images over {trainer.devices} devices, but batch normalisation needs 2 on each."
    return [Fault("trainer.batch_size", problem, f"Use {2 * trainer.devices} or more, or another model.norm.")]


def _unmeasured_faults(config: Config) -> list[Fault]:
    """List keys that monitor a val metric although val is never measured."""
    trainer, watched = config.trainer, {}
    if trainer.limit_val_batches != 0:
        return []
    if trainer.keep is Keep.best:
        watched["trainer.monitor"] = trainer.monitor
    if trainer.early_stopping.patience is not None:
        watched["trainer.early_stopping.monitor"] = trainer.early_stopping.monitor
    if config.scheduler.get("name") == "plateau":
        watched["scheduler.monitor"] = str(config.scheduler.get("monitor", Plateau.monitor))
    return [
        Fault(key, f"{monitor} is not measured with trainer.limit_val_batches=0.", "Use a train/ metric there, or keep=last.")
        for key, monitor in watched.items()
        if monitor.startswith("val/")
    ]


def _selection_faults(config: Config) -> list[Fault]:
    """List keys that select an epoch by val although the run trains on val."""
    if config.data.roles not in (Roles.combined, Roles.combined_swapped):
        return []
    remedy = f"data.roles={config.data.roles.name} trains on val as well; use trainer.keep=last and no early stopping."
    chosen = "the best epoch would be chosen on images that are trained on."
    faults = []
    if config.trainer.keep is Keep.best:
        faults.append(Fault("trainer.keep", f"best: {chosen}", remedy))
    if config.trainer.early_stopping.patience is not None:
        faults.append(Fault("trainer.early_stopping.patience", f"{config.trainer.early_stopping.patience}: {chosen}", remedy))
    return faults
