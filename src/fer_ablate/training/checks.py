"""Everything that can be said against a config before any data is read, from all parts at once."""

from fer_ablate.config.schema import Config, Mode, Source, TestTimeAugmentation
from fer_ablate.data import augment, load
from fer_ablate.data.views import check_views
from fer_ablate.errors import Fault, choices
from fer_ablate.labels import SIDE
from fer_ablate.models import checks as models
from fer_ablate.optim.losses import check_loss
from fer_ablate.optim.optimizers import check_optimizer
from fer_ablate.optim.schedulers import check_scheduler
from fer_ablate.training import hardware

MONITORS = tuple(f"{split}/{name}" for split in ("val", "train") for name in ("loss", "acc", "top2", "macro_f1"))
"""What is measured after every epoch, hence can choose one."""

LOWER_IS_BETTER = ("loss",)


def check(config: Config) -> list[Fault]:
    """All faults of a run's config; image sizes are checked as far as they are known without the images."""
    image_size = None if config.data.source is Source.folder else SIDE
    faults = [
        *load.check(config.data),
        *augment.check(config.augment, image_size),
        *check_optimizer(config.optimizer, config.plugins),
        *check_scheduler(config.scheduler, config.trainer.max_epochs, MONITORS),
        *check_loss(config.loss),
        *hardware.check(config.trainer),
        *_trainer_faults(config),
    ]
    if image_size is None:
        return faults
    return [*faults, *check_sizes(config, image_size, whole_augment=not augment.check(config.augment, image_size))]


def check_sizes(config: Config, image_size: int, whole_augment: bool = True) -> list[Fault]:
    """Faults that need the side of the stored images: crops, and maps that shrink to nothing.

    Args:
        config: the run.
        image_size: side of the stored images in pixels.
        whole_augment: the steps have no faults, so that the side the network sees can be told.
    """
    side = augment.input_size(config.augment, image_size) if whole_augment else image_size
    tested = config.evaluation.crop or side
    views = check_views(config.evaluation.tta, tested, image_size)
    if config.evaluation.tta is TestTimeAugmentation.none and tested <= image_size:
        views = []
    return [*views, *models.check(config.model, side, config.plugins)]


def _trainer_faults(config: Config) -> list[Fault]:
    trainer, faults = config.trainer, []
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
    if trainer.profiler not in (None, "simple", "advanced", "pytorch"):
        faults.append(
            Fault(
                "trainer.profiler",
                f"'{trainer.profiler}' is not known.",
                choices(trainer.profiler, ("simple", "advanced", "pytorch")),
            )
        )
    return faults


def _monitor_faults(key: str, monitor: str, mode: Mode) -> list[Fault]:
    if monitor not in MONITORS:
        return [Fault(key, f"'{monitor}' is not measured after every epoch.", choices(monitor, MONITORS))]
    expected = Mode.min if monitor.endswith(LOWER_IS_BETTER) else Mode.max
    if mode is not expected:
        mode_key = key.replace("monitor", "mode")
        return [Fault(mode_key, f"'{mode.name}' would keep the worst epoch by {monitor}.", f"Use {mode_key}={expected.name}.")]
    return []
