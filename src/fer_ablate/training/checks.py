"""Everything that can be said against a config before any data is read, from all parts at once."""

from fer_ablate.config.choices import Keep, Mode, Roles, Source
from fer_ablate.config.schema import Config, TrainerConfig
from fer_ablate.data import augment, balance, load
from fer_ablate.data.transform import check_normalisation
from fer_ablate.data.views import check_views
from fer_ablate.errors import Fault, choices
from fer_ablate.labels import SIDE
from fer_ablate.models import checks as models
from fer_ablate.models.stages import flat_features, resolved, size_faults
from fer_ablate.optim.losses import check_loss
from fer_ablate.optim.optimizers import check_optimizer
from fer_ablate.optim.schedulers import Plateau, check_scheduler
from fer_ablate.training import hardware

MONITORS = tuple(f"{split}/{name}" for split in ("val", "train") for name in ("loss", "acc", "top2", "macro_f1"))
"""What is measured after every epoch, hence can choose one."""

LOWER_IS_BETTER = ("loss",)

PROFILERS = ("simple", "advanced", "pytorch")


def check(config: Config) -> list[Fault]:
    """All faults of a run's config; image sizes are checked as far as they are known without the images."""
    known = config.data.source is not Source.folder
    return [
        *check_images(config),
        *(check_sizes(config, SIDE) if known else augment.check(config.augment, None)),
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


def check_sizes(config: Config, image_size: int, trained_size: int | None = None) -> list[Fault]:
    """Faults that need the side of the stored images: crops, and maps that shrink to nothing.

    Args:
        config: the run.
        image_size: side of the stored images in pixels.
        trained_size: side of those the network was trained on, if these are others.
    """
    if faults := augment.check(config.augment, image_size):
        # What the network would see cannot be told; its own faults can.
        return [*faults, *models.check(config.model, image_size, config.plugins)]
    side = augment.input_size(config.augment, trained_size or image_size)
    faults = models.check(config.model, side, config.plugins)
    crop = config.evaluation.crop
    if crop is not None and crop < 1:
        return [*faults, Fault("evaluation.crop", f"{crop} is below 1.", "null tests at the side trained on.")]
    tested = tested_size(config, image_size)
    faults += check_views(config.evaluation.tta, tested, image_size)
    return faults or _tested_side_faults(config, side, tested)


def tested_size(config: Config, image_size: int) -> int:
    """Side in pixels of the views on which weights are tested, of images with this side."""
    return config.evaluation.crop or augment.input_size(config.augment, image_size)


def _tested_side_faults(config: Config, side: int, tested: int) -> list[Fault]:
    """Whether a network for one side can take another; a network of the user's own has to know by itself."""
    if tested == side or config.model.name != models.STAGES:
        return []
    network = resolved(config.model)
    way_out = f"Leave evaluation.crop out, train with a crop of {tested}, or set model.head_pool=adaptive_avg."
    if size_faults(network, tested):
        return [Fault("evaluation.crop", f"{tested}x{tested} images shrink to nothing in this network.", way_out)]
    built, given = flat_features(network, side), flat_features(network, tested)
    if built == given:
        return []
    problem = (
        f"{tested}: trained on {side}x{side} images, the first linear layer takes {built:,} numbers; "
        f"{tested}x{tested} ones give {given:,}."
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
