"""One run: config and images in, trained weights, predictions and scores out. Interrupted, it goes on where it stopped."""

import signal
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]  # not in its list
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from fer_ablate.config.choices import Keep
from fer_ablate.config.key import short
from fer_ablate.config.schema import Config
from fer_ablate.errors import UserError
from fer_ablate.models.pretrained import load_pretrained, pretrained_file
from fer_ablate.models.summary import describe
from fer_ablate.training import checkpoints
from fer_ablate.training.assembly import (
    RoleSet,
    build_batches,
    build_examiner,
    build_module,
    protocol,
)
from fer_ablate.training.callbacks import SECONDS, EpochRandomness, EpochReport, KeptWeights, Observer
from fer_ablate.training.epoch_counts import EpochTally, stored_tally, tally_results
from fer_ablate.training.evaluation import Predictions, Rows, limited, split_results
from fer_ablate.training.hardware import Hardware, choose, environment, forget_peak_memory, peak_memory_mb, use_threads
from fer_ablate.training.module import Classifier
from fer_ablate.training.processes import losing_others
from fer_ablate.training.result import BEST, LAST, RunResult, SplitResult
from fer_ablate.training.start import Start, load_start

PROFILERS: dict[str, type[Profiler]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
"""What `trainer.profiler` may name."""


@dataclass(frozen=True)
class Outcome:
    """A finished run: its scores, and what they were computed from."""

    result: RunResult
    predictions: Predictions


@dataclass(frozen=True)
class Task:
    """A run to be done.

    Args:
        config: free of faults.
        name: label in tables.
        key: hash of all that can change the result.
        data: images by role.
        checkpoint_dir: where `best.ckpt` and `last.ckpt` are kept; a `last.ckpt` found there is resumed.
        rank: number of this process among those that share the run.
        start: weights to begin with; None: those drawn from the seed.
    """

    config: Config
    name: str
    key: str
    data: RoleSet
    checkpoint_dir: Path
    rank: int = 0
    start: Start | None = None

    @property
    def hardware(self) -> Hardware:
        """Device and number format of this process."""
        return choose(self.config.trainer, self.rank)

    @property
    def tested(self) -> dict[str, Rows]:
        """Part -> images that the finished weights are tested on."""
        trainer = self.config.trainer
        limit = trainer.fast_dev_run or _limit(trainer.limit_test_batches)
        return limited(self.data.tested, limit, trainer.evaluation_batch_size)


def finished_epochs(checkpoint_dir: Path) -> int:
    """Epochs that need not be trained again."""
    last = checkpoint_dir / LAST
    return int(checkpoints.read(last)["fer_ablate"]["epoch"]) if last.is_file() else 0


def fit(task: Task, observers: Sequence[Observer] = (), callbacks: Sequence[pl.Callback] = ()) -> Classifier:
    """Train, or go on training, until the last epoch or an early stop.

    Args:
        task: the run.
        observers: told about every finished epoch.
        callbacks: further ones of Lightning's kind, such as a progress bar.

    Returns:
        The module as training left it; the kept weights are in `best.ckpt`.

    Raises:
        UserError: the loss is not finite any more, a checkpoint cannot be written or read, the weights to begin with are of
            another network or cannot be had, or the network has none to train.
        KeyboardInterrupt: what is finished is kept.
    """
    use_threads(task.config.trainer)
    forget_peak_memory(task.hardware.device)
    module, model = build_module(task.config, task.data, task.key), task.config.model
    last = task.checkpoint_dir / LAST
    resumed = None
    # With force=true the first process has emptied the folder; another one might have looked before that.
    if last.is_file() and not task.config.trainer.fast_dev_run and not task.config.force:
        state = checkpoints.read(last)["fer_ablate"]
        if state["key"] != task.key:
            raise UserError(f"{last} belongs to another run (key {short(state['key'])}). Move it away, or train with force=true.")
        if state["stopped"] or state["epoch"] >= task.config.trainer.max_epochs:
            return module
        resumed = str(last)
    elif task.start is not None:
        # Before the optimizer and the averaged copy of the weights are made, which Lightning does in `trainer.fit`.
        load_start(module.network, task.start.path, len(task.data.faces.classes))
    elif model.pretrained is not None:
        path = Path(model.pretrained_path) if model.pretrained_path is not None else None
        load_pretrained(module.network, pretrained_file(model.pretrained, path, model.pretrained_sha256))
    if task.config.trainer.compile:
        module.network.compile()  # in place, so that the names of the weights stay as they are
    trainer = _trainer(task, observers, callbacks)
    train, val = (
        build_batches(task.config, task.data, role, task.rank, task.config.trainer.devices).to(task.hardware.device)
        for role in ("train", "val")
    )
    limit = task.config.trainer.limit_train_batches or 1.0
    if limit < 1 and int(limit * len(train)) < 1:
        raise UserError(f"trainer.limit_train_batches = {limit} of {len(train)} batches leaves none. Raise it, or give a number.")
    with _interruptible(), losing_others():
        trainer.fit(module, train, val, ckpt_path=resumed, weights_only=True)
    return module


def assess(task: Task, module: Classifier, progress: Callable[[float], None] | None = None) -> Outcome:
    """Test the kept weights on one device, every image once.

    Args:
        task: the run; its training is over.
        module: what `fit` returned.
        progress: told the finished fraction.
    """
    config, data, hardware = task.config, task.data, task.hardware
    classes = data.faces.classes
    epoch, seconds, trained = (0, [0.0], {}) if config.trainer.fast_dev_run else _load_kept(task, module)
    examiner = build_examiner(config, data.image_size, hardware)
    parts = task.tested
    rows = np.concatenate(list(parts.values()))
    predictions = examiner.predict(module.network, module.preprocess, data.faces, rows, progress)
    with torch.compiler.set_stance("force_eager"):  # a compiled network would pass by the hooks that count
        summary = describe(module.network, config.model.in_channels, examiner.size)
    result = RunResult(
        key=task.key,
        name=task.name,
        seed=config.seed,
        splits={**trained, **split_results(predictions, parts, classes)},
        classes=list(classes),
        protocol=protocol(config, data.image_size, data.preset, data.faces.groups is not None),
        best_epoch=epoch,
        epochs=len(seconds),
        seconds=sum(seconds),
        seconds_per_epoch=statistics.median(seconds),
        peak_memory_mb=peak_memory_mb(hardware.device),
        parameters=summary.parameters,
        macs=summary.macs,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment(hardware),
    )
    return Outcome(result, predictions)


def _load_kept(task: Task, module: Classifier) -> tuple[int, list[float], dict[str, SplitResult]]:
    """Give the module the kept weights; their epoch, the seconds of every epoch, and the scores of what was counted in them."""
    best, last = task.checkpoint_dir / BEST, checkpoints.read(task.checkpoint_dir / LAST)
    checkpoint = checkpoints.read(best)
    checkpoints.load_weights(module.network, checkpoint, best)
    epoch = int(checkpoint["fer_ablate"]["epoch"])
    counts = tally_results(stored_tally(last), epoch, task.config.evaluation.pool_epochs, task.data.faces.classes)
    return epoch, last[SECONDS], counts


def _trainer(task: Task, observers: Sequence[Observer], callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    config, hardware = task.config.trainer, task.hardware
    return pl.Trainer(
        accelerator="gpu" if hardware.device.type == "cuda" else "cpu",
        devices=config.devices if hardware.device.type == "cpu" or config.devices > 1 else [hardware.device.index or 0],
        strategy="ddp" if config.devices > 1 else "auto",
        precision=hardware.precision,  # type: ignore[arg-type]  # one of Lightning's names
        max_epochs=config.max_epochs,
        gradient_clip_val=config.gradient_clip,
        accumulate_grad_batches=config.accumulate,
        deterministic=config.deterministic,
        fast_dev_run=config.fast_dev_run or False,
        limit_train_batches=_limit(config.overfit_batches or config.limit_train_batches),
        limit_val_batches=_limit(config.limit_val_batches),
        profiler=_profiler(config.profiler, task.checkpoint_dir),
        callbacks=[*callbacks, *_own_callbacks(task, observers)],
        # Named, or Lightning looks around: inside a job of SLURM, torchrun or MPI it would take their tasks for ranks.
        plugins=[checkpoints.AtomicCheckpointIO(), LightningEnvironment()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=task.checkpoint_dir,
    )


def _own_callbacks(task: Task, reports: Sequence[Observer]) -> list[pl.Callback]:
    """Everything around the epochs, in the order in which it must happen at the end of one."""
    config = task.config.trainer
    callbacks: list[pl.Callback] = [EpochRandomness(task.config.seed)]
    average = EMAWeightAveraging(decay=config.ema_decay) if config.ema_decay is not None else None
    if average is not None:
        callbacks.append(average)
    stopping = config.early_stopping
    if stopping.patience is not None:
        callbacks.append(
            EarlyStopping(
                stopping.monitor,
                mode=stopping.mode.name,
                patience=stopping.patience,
                min_delta=stopping.min_delta,
                check_on_train_epoch_end=True,  # before the checkpoint of the epoch, which must know of the stop
            )
        )
    predict = _test_prediction(task) if task.config.evaluation.pool_epochs else None
    callbacks += [EpochReport(*reports), EpochTally(predict, average)]
    if not config.fast_dev_run:
        monitor = config.monitor if config.keep is Keep.best else None
        callbacks.append(KeptWeights(task.checkpoint_dir, monitor, config.mode, average))
    return callbacks


def _test_prediction(task: Task) -> Callable[[Classifier], Predictions]:
    """Predicts the test role with whatever weights a module has."""
    examiner, rows = build_examiner(task.config, task.data.image_size, task.hardware), task.tested["test"]
    return lambda module: examiner.predict(module.network, module.preprocess, task.data.faces, rows)


def _profiler(name: str | None, folder: Path) -> Profiler | None:
    """Its report goes into a file, since the console is kept free of what libraries log."""
    return PROFILERS[name](dirpath=folder, filename="profile") if name is not None else None


def _limit(given: float | None) -> float | int | None:
    """Lightning reads floats as fractions and integers as numbers of batches."""
    return int(given) if given is not None and given > 1 else given


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lightning turns Ctrl-C into an exit and then ignores it for good; give both back to the caller."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, handler)
