"""Everything that can be said against a config before any data is read, from all parts at once."""

from fer_ablate.config.choices import Keep, Mode, Roles
from fer_ablate.config.schema import Config, TrainerConfig
from fer_ablate.data import augment, balance, load
from fer_ablate.data.prepare import check_prepare, prepared_size
from fer_ablate.data.transform import check_normalisation, network_size
from fer_ablate.data.views import check_views
from fer_ablate.errors import Fault, choices
from fer_ablate.models import checks as models
from fer_ablate.models.stages import flat_features, resolved, size_faults
from fer_ablate.optim.losses import check_loss
from fer_ablate.optim.optimizers import check_optimizer
from fer_ablate.optim.schedulers import Plateau, check_scheduler
from fer_ablate.sizes import Size, as_size, in_key, spelled
from fer_ablate.training import hardware

MONITORS = tuple(f"{split}/{name}" for split in ("val", "train") for name in ("loss", "acc", "top2", "macro_f1"))
"""What is measured after every epoch, hence can choose one."""

LOWER_IS_BETTER = ("loss",)

PROFILERS = ("simple", "advanced", "pytorch")


def check(config: Config) -> list[Fault]:
    """All faults of a run's config; image sizes are checked as far as they are known without the images."""
    size = load.known_size(config.data)
    return [
        *check_images(config),
        *(check_sizes(config, size) if size is not None else _unsized_faults(config)),
        *check_optimizer(config.optimizer, config.plugins),
        *check_scheduler(config.scheduler, config.trainer.max_epochs, MONITORS),
        *check_loss(config.loss),
        *hardware.check(config.trainer),
        *_trainer_faults(config.trainer),
        *_limit_faults(config.trainer),
        *_unmeasured_faults(config),
        *_selection_faults(config),
    ]


def check_images(config: Config) -> list[Fault]:
    """Faults of the images and of what is done to them before the network, but for their sizes."""
    return [
        *load.check(config.data),
        *balance.check(config.data.balance),
        *check_normalisation(config.data, config.model.in_channels),
    ]


def check_sizes(config: Config, image_size: Size, trained_size: Size | None = None) -> list[Fault]:
    """Faults that need the size of the stored images: crops, and maps that shrink to nothing.

    Args:
        config: the run.
        image_size: of the stored images.
        trained_size: of those the network was trained on, if these are others.
    """
    faults = [*_crop_faults(config), *check_prepare(config.data.prepare, image_size)]
    if not faults:
        faults = augment.check(config.augment, prepared_size(config.data.prepare, image_size))
    if faults:
        # What the network would see cannot be told; its own faults can.
        return [*faults, *models.check(config.model, image_size, config.plugins)]
    faults = models.check(config.model, network_size(config, trained_size or image_size), config.plugins)
    return faults + _tested_faults(config, image_size, trained_size, fits=not faults)


def check_tested(config: Config, image_size: Size) -> list[Fault]:
    """Faults of the views on which a finished network is to look at images of the size it was trained on."""
    return _crop_faults(config) or _tested_faults(config, image_size)


def tested_size(config: Config, image_size: Size) -> Size:
    """Size of the views on which weights are tested, of stored images with this size."""
    return as_size(config.evaluation.crop) or network_size(config, image_size)


def _unsized_faults(config: Config) -> list[Fault]:
    """What can be said of sizes as long as that of the images is not known."""
    return [
        *_crop_faults(config),
        *check_prepare(config.data.prepare, None),
        *augment.check(config.augment, None),
    ]


def _crop_faults(config: Config) -> list[Fault]:
    crop = config.evaluation.crop
    if crop is None or as_size(crop) is not None:
        return []
    below = isinstance(crop, int) and not isinstance(crop, bool)
    problem = f"{crop} is below 1." if below else f"{crop!r} is neither a number of pixels nor [height, width]."
    return [Fault("evaluation.crop", problem, "null tests at the size trained on.")]


def _tested_faults(config: Config, image_size: Size, trained_size: Size | None = None, fits: bool = True) -> list[Fault]:
    """Whether the views fit the images and a network for one size can take another.

    The latter is asked only of a network that `fits` what it is trained on; one of the user's own has to know by itself.
    """
    size, tested = network_size(config, trained_size or image_size), tested_size(config, image_size)
    faults = check_views(config.evaluation.tta, tested, prepared_size(config.data.prepare, image_size))
    if faults or not fits or tested == size or config.model.name != models.STAGES:
        return faults
    network = resolved(config.model)
    way_out = f"Leave evaluation.crop out, train with a crop of {in_key(tested)}, or set model.head_pool=adaptive_avg."
    if size_faults(network, tested):
        return [Fault("evaluation.crop", f"{spelled(tested)} images shrink to nothing in this network.", way_out)]
    built, given = flat_features(network, size), flat_features(network, tested)
    if built == given:
        return []
    problem = (
        f"{in_key(tested)}: trained on {spelled(size)} images, the first linear layer takes {built:,} numbers; "
        f"{spelled(tested)} ones give {given:,}."
    )
    return [Fault("evaluation.crop", problem, way_out)]


def _trainer_faults(trainer: TrainerConfig) -> list[Fault]:
    faults = []
    positive = {"batch_size": 2, "max_epochs": 1, "accumulate": 1, "evaluation_batch_size": 1}
    for name, least in positive.items():
        if (given := getattr(trainer, name)) < least:
            faults.append(Fault(f"trainer.{name}", f"{given} is below {least}.", "Raise it."))
    if trainer.gradient_clip is not None and trainer.gradient_clip <= 0:
        faults.append(Fault("trainer.gradient_clip", f"{trainer.gradient_clip} is not above 0.", "null switches it off."))
    if trainer.ema_decay is not None and not 0 < trainer.ema_decay < 1:
        faults.append(
            Fault("trainer.ema_decay", f"{trainer.ema_decay} is not between 0 and 1.", "0.999 is usual; null switches it off.")
        )
    stopping = trainer.early_stopping
    if stopping.patience is not None and stopping.patience < 1:
        faults.append(Fault("trainer.early_stopping.patience", f"{stopping.patience} is below 1.", "null never stops early."))
    watched = {
        "trainer.monitor": (trainer.monitor, trainer.mode),
        "trainer.early_stopping.monitor": (stopping.monitor, stopping.mode),
    }
    for key, (monitor, mode) in watched.items():
        faults += _monitor_faults(key, monitor, mode)
    if trainer.profiler is not None and trainer.profiler not in PROFILERS:
        faults.append(Fault("trainer.profiler", f"'{trainer.profiler}' is not known.", choices(trainer.profiler, PROFILERS)))
    return faults


def _limit_faults(trainer: TrainerConfig) -> list[Fault]:
    faults = []
    for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"):
        given = getattr(trainer, name)
        if given is not None and (given < 0 or (given > 1 and given != int(given))):
            problem = f"{given} is neither a fraction from 0 to 1 nor a whole number of batches."
            faults.append(Fault(f"trainer.{name}", problem))
    for name, verb in (("limit_train_batches", "trains"), ("limit_test_batches", "tests")):
        if getattr(trainer, name) == 0:
            faults.append(Fault(f"trainer.{name}", f"0 {verb} on nothing.", "null takes all batches."))
    return faults


def _unmeasured_faults(config: Config) -> list[Fault]:
    """Whoever looks at a val metric of a run that never looks at val."""
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
    if config.data.roles not in (Roles.combined, Roles.combined_swapped):
        return []
    way_out = f"data.roles={config.data.roles.name} trains on val as well; use trainer.keep=last and no early stopping."
    chosen = "the best epoch would be chosen on images that are trained on."
    faults = []
    if config.trainer.keep is Keep.best:
        faults.append(Fault("trainer.keep", f"best: {chosen}", way_out))
    if config.trainer.early_stopping.patience is not None:
        faults.append(Fault("trainer.early_stopping.patience", f"{config.trainer.early_stopping.patience}: {chosen}", way_out))
    return faults


def _monitor_faults(key: str, monitor: str, mode: Mode) -> list[Fault]:
    if monitor not in MONITORS:
        return [Fault(key, f"'{monitor}' is not measured after every epoch.", choices(monitor, MONITORS))]
    expected = Mode.min if monitor.endswith(LOWER_IS_BETTER) else Mode.max
    if mode is not expected:
        mode_key = key.replace("monitor", "mode")
        return [Fault(mode_key, f"'{mode.name}' would keep the worst epoch by {monitor}.", f"Use {mode_key}={expected.name}.")]
    return []
