"""Trains and tests one run; a run that was interrupted is resumed after its last finished epoch."""

import signal
import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]  # not in its list
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from fer_ablate.config.choices import Keep
from fer_ablate.config.key import short
from fer_ablate.config.schema import Config, TrainerConfig
from fer_ablate.data.faces import Progress, Rows
from fer_ablate.errors import UserError, first_line
from fer_ablate.models.summary import describe
from fer_ablate.models.transfer import load_pretrained, pretrained_file
from fer_ablate.training import checkpoints
from fer_ablate.training.assembly import build_batches, build_callbacks, build_early_stopping, build_evaluator, build_module
from fer_ablate.training.callbacks import SECONDS, EpochRandomness, EpochReport, KeptWeights, Observer
from fer_ablate.training.checkpoint_writer import AtomicCheckpointIO
from fer_ablate.training.checkpoints import load_start
from fer_ablate.training.epoch_counts import EpochCounts, counted_results, stored_counts
from fer_ablate.training.epoch_loop import use_lean_steps
from fer_ablate.training.evaluation import Predictions, first_images, split_results
from fer_ablate.training.hardware import Hardware, choose_hardware, environment, peak_memory_mb, reset_peak_memory, use_threads
from fer_ablate.training.kept_inputs import KeptInputs
from fer_ablate.training.module import Classifier
from fer_ablate.training.own_metrics import OwnMetrics, build_metrics
from fer_ablate.training.processes import explain_lost_process
from fer_ablate.training.protocol import protocol
from fer_ablate.training.result import BEST, LAST, RunResult, SplitResult
from fer_ablate.training.role_set import RoleSet
from fer_ablate.training.start import Start

PROFILERS: dict[str, type[Profiler]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
"""Values of `trainer.profiler`."""


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its result, and the predictions that the scores were computed from."""

    result: RunResult
    predictions: Predictions


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to be trained.

    Args:
        config: its config, without faults.
        name: label in tables.
        key: hash of everything that can change the result.
        data: its images by role.
        checkpoint_dir: folder of `best.ckpt` and `last.ckpt`; a `last.ckpt` found there is resumed.
        rank: number of this process among those that share the run.
        start: initial weights; None: random ones, or those of `model.pretrained`.
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
        return choose_hardware(self.config.trainer, self.rank)

    @property
    def tested(self) -> dict[str, Rows]:
        """Part -> rows of the images that the finished weights are tested on."""
        return self.limited(self.data.tested)

    def limited(self, parts: Mapping[str, Rows]) -> dict[str, Rows]:
        """As many of these rows as `trainer.limit_test_batches` allows."""
        trainer = self.config.trainer
        limit = trainer.fast_dev_run or _limit(trainer.limit_test_batches)
        return first_images(parts, limit, trainer.evaluation_batch_size)


def finished_epochs(checkpoint_dir: Path) -> int:
    """Return the number of epochs that are finished, according to `last.ckpt`."""
    last = checkpoint_dir / LAST
    return int(checkpoints.read(last)["fer_ablate"]["epoch"]) if last.is_file() else 0


def fit(prepared: PreparedRun, observers: Sequence[Observer] = (), callbacks: Sequence[pl.Callback] = ()) -> Classifier:
    """Train until the last epoch or an early stop, from the beginning or from `last.ckpt`.

    Args:
        prepared: the run.
        observers: receive the metrics of every finished epoch.
        callbacks: further callbacks of Lightning, such as a progress bar.

    Returns:
        The module with the weights of the last step; the weights to test are in `best.ckpt`.

    Raises:
        UserError: the loss is not finite, a checkpoint cannot be written or read, the initial weights cannot be loaded, or all
            weights are frozen.
        KeyboardInterrupt: the user interrupted; finished epochs are kept.
    """
    use_threads(prepared.config.trainer)
    reset_peak_memory(prepared.hardware.device)
    module = build_module(prepared.config, prepared.data, prepared.key)
    interrupted = _interrupted_state(prepared)
    if interrupted is None:
        # Loaded before `trainer.fit`, which builds the optimizer and copies the weights for averaging.
        _load_initial_weights(prepared, module)
    elif interrupted["stopped"] or interrupted["epoch"] >= prepared.config.trainer.max_epochs:
        return module
    if prepared.config.trainer.compile:
        module.network.compile()  # in place, so that the names of the weights do not change
    batches = {
        role: build_batches(prepared.config, prepared.data, role, prepared.rank, prepared.config.trainer.devices).to(
            prepared.hardware.device
        )
        for role in ("train", "val")
    }
    train, val = batches["train"], batches["val"]
    trainer = _trainer(prepared, observers, callbacks, KeptInputs({role: batches[role] for role in _whole_roles(prepared)}))
    _check_limits(prepared.config.trainer, len(train), len(val))
    devices, images = prepared.config.trainer.devices, len(prepared.data.roles["val"])
    if images < devices:
        raise UserError(f"trainer.devices={devices} cannot share {images} val image(s). Use fewer devices.")
    resumed = None if interrupted is None else str(prepared.checkpoint_dir / LAST)
    with _interruptible(), _without_wrong_hints(), explain_lost_process(), _misused(prepared.config):
        trainer.fit(module, train, val, ckpt_path=resumed, weights_only=True)
    return module


def _check_limits(config: TrainerConfig, train: int, val: int) -> None:
    """Refuse fractions that leave no batch.

    Args:
        config: the section.
        train: number of batches of the train role.
        val: number of batches of the val role.

    Raises:
        UserError: with the key.
    """
    limits = {
        "overfit_batches": (config.overfit_batches, train),
        "limit_train_batches": (config.limit_train_batches, train),
        "limit_val_batches": (config.limit_val_batches, val),
    }
    for name, (limit, batches) in limits.items():
        if limit and limit < 1 and int(limit * batches) < 1:
            counted = f"{batches} batch" if batches == 1 else f"{batches} batches"
            raise UserError(f"trainer.{name} = {limit} of {counted} leaves none. Raise it, or give a number of batches.")


def _whole_roles(prepared: PreparedRun) -> list[str]:
    """Roles of which one process passes all images through the network in every epoch, layer by layer."""
    config = prepared.config.trainer
    # A compiled network cannot be divided, and several processes share a network only as a whole.
    if config.devices > 1 or config.compile or config.fast_dev_run or config.overfit_batches:
        return []
    limits = {"train": config.limit_train_batches, "val": config.limit_val_batches}
    return [role for role, limit in limits.items() if limit is None]


def _interrupted_state(prepared: PreparedRun) -> dict[str, Any] | None:
    """Read how far an interrupted run came from its `last.ckpt`; None if the run starts from the beginning.

    Raises:
        UserError: the checkpoint cannot be read or belongs to another run.
    """
    last = prepared.checkpoint_dir / LAST
    # With force=true the first process empties the folder, but this one may look before that.
    if not last.is_file() or prepared.config.trainer.fast_dev_run or prepared.config.force:
        return None
    state: dict[str, Any] = checkpoints.read(last)["fer_ablate"]
    if state["key"] != prepared.key:
        raise UserError(f"{last} belongs to another run (key {short(state['key'])}). Move it away, or train with force=true.")
    return state


def _load_initial_weights(prepared: PreparedRun, module: Classifier) -> None:
    """Load the weights of another run or of `model.pretrained`, if the run starts from either."""
    model = prepared.config.model
    if prepared.start is not None:
        load_start(module.network, prepared.start.path, prepared.data.faces.classes)
    elif model.pretrained is not None:
        path = Path(model.pretrained_path) if model.pretrained_path is not None else None
        load_pretrained(module.network, pretrained_file(model.pretrained, path, model.pretrained_sha256))


def assess(prepared: PreparedRun, module: Classifier, progress: Progress | None = None) -> TrainedRun:
    """Test the kept weights on one device, every image once.

    Args:
        prepared: the run, whose training is over.
        module: the module that `fit` returned.
        progress: called after each batch with the finished fraction, from 0 to 1.
    """
    config, data, hardware = prepared.config, prepared.data, prepared.hardware
    classes = data.faces.classes
    # A trial run with `fast_dev_run` writes no checkpoints; its weights are those of the module.
    epoch, seconds, trained = (0, [0.0], {}) if config.trainer.fast_dev_run else _load_kept(prepared, module)
    evaluator = build_evaluator(config, data.image_size, hardware)
    own = build_metrics(config.evaluation.metrics, len(classes), config.plugins)
    extra = own.values if own.built else None
    parts = prepared.tested
    rows = np.concatenate(list(parts.values()))
    predictions = evaluator.predict(module.network, module.preprocess, data.faces, rows, progress)
    if not np.isfinite(predictions.probabilities).all():
        # Of weights that became so in the very last steps, where val is not measured.
        raise UserError("The trained network gives no finite probabilities. Lower optimizer.lr, or set trainer.gradient_clip=1.")
    with torch.compiler.set_stance("force_eager"):  # a compiled network does not call the hooks that count
        summary = describe(module.network, config.model.in_channels, evaluator.size)
    if config.evaluation.train:
        # Apart from the others, since the predictions of these images are not kept.
        train = prepared.limited(data.trained)
        again = evaluator.predict(module.network, module.preprocess, data.faces, np.concatenate(list(train.values())), progress)
        trained = {**trained, **split_results(again, train, classes, extra)}
    result = RunResult(
        key=prepared.key,
        name=prepared.name,
        seed=config.seed,
        splits={**trained, **split_results(predictions, parts, classes, extra)},
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
        own_metrics=own.directions,
        without_blocks=_without_blocks(own, predictions, parts, data.faces.groups) if own.built else {},
    )
    return TrainedRun(result, predictions)


def _without_blocks(
    own: OwnMetrics, predictions: Predictions, parts: Mapping[str, Rows], groups: Rows | None
) -> dict[str, dict[str, list[float]]]:
    """Metrics of the user's own on each split without each block of its images."""
    found = {}
    for name, rows in parts.items():
        if len(rows):
            part = predictions.of(rows)
            labels = torch.from_numpy(part.labels)
            of_rows = groups[rows] if groups is not None else None
            found[name] = own.without_blocks(torch.from_numpy(part.probabilities), labels, of_rows)
    return found


def _load_kept(prepared: PreparedRun, module: Classifier) -> tuple[int, list[float], dict[str, SplitResult]]:
    """Load the kept weights into the module; return their epoch, the seconds of every epoch, and the counted scores."""
    best, last = prepared.checkpoint_dir / BEST, checkpoints.read(prepared.checkpoint_dir / LAST)
    checkpoint = checkpoints.read(best)
    checkpoints.load_weights(module.network, checkpoint, best)
    epoch = int(checkpoint["fer_ablate"]["epoch"])
    counts = counted_results(stored_counts(last), epoch, prepared.config.evaluation.pool_epochs, prepared.data.faces.classes)
    return epoch, last[SECONDS], counts


def _trainer(
    prepared: PreparedRun, observers: Sequence[Observer], callbacks: Sequence[pl.Callback], kept: KeptInputs
) -> pl.Trainer:
    config, hardware = prepared.config.trainer, prepared.hardware
    trainer = pl.Trainer(
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
        profiler=_profiler(config.profiler, prepared.checkpoint_dir),
        callbacks=[*callbacks, *build_callbacks(prepared.config), *_own_callbacks(prepared, observers), kept],
        # The environment is given, because Lightning would take the tasks of SLURM, torchrun or MPI for ranks of the run.
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        # Otherwise each process normalises by its own share of the batch; torch supports this on GPUs only.
        sync_batchnorm=hardware.device.type == "cuda" and config.devices > 1,
        default_root_dir=prepared.checkpoint_dir,
    )
    use_lean_steps(trainer)
    return trainer


def _own_callbacks(prepared: PreparedRun, reports: Sequence[Observer]) -> list[pl.Callback]:
    """Build the callbacks of a run, in the order in which they must run at the end of an epoch."""
    config = prepared.config.trainer
    callbacks: list[pl.Callback] = [EpochRandomness(prepared.config.seed)]
    average = EMAWeightAveraging(decay=config.ema_decay) if config.ema_decay is not None else None
    if average is not None:
        callbacks.append(average)
    stopping = build_early_stopping(config.early_stopping)
    if stopping is not None:
        callbacks.append(stopping)
    predict = _test_prediction(prepared) if prepared.config.evaluation.pool_epochs else None
    callbacks += [EpochReport(*reports), EpochCounts(predict, average)]
    if not config.fast_dev_run:
        monitor = config.monitor if config.keep is Keep.best else None
        callbacks.append(KeptWeights(prepared.checkpoint_dir, monitor, config.mode, config.min_delta, average))
    return callbacks


def _test_prediction(prepared: PreparedRun) -> Callable[[Classifier], Predictions]:
    """Build a function that predicts the test role with the current weights of a module."""
    evaluator, rows = build_evaluator(prepared.config, prepared.data.image_size, prepared.hardware), prepared.tested["test"]
    return lambda module: evaluator.predict(module.network, module.preprocess, prepared.data.faces, rows)


def _profiler(name: str | None, folder: Path) -> Profiler | None:
    """Build a profiler that writes its report to a file, not to the console."""
    return PROFILERS[name](dirpath=folder, filename="profile") if name is not None else None


def _limit(given: float | None) -> float | int | None:
    """Convert a limit for Lightning, where floats are fractions and integers are numbers of batches."""
    return int(given) if given is not None and given > 1 else given


@contextmanager
def _misused(config: Config) -> Iterator[None]:
    """Turn Lightning's refusal of a callback of the user's own, such as one that needs a logger, into a message for the user."""
    try:
        yield
    except MisconfigurationException as error:
        if not config.plugins:
            raise
        raise UserError(f"Lightning refuses a callback or a training_step: {first_line(error)}") from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C and restore its handler: Lightning exits instead, and ignores Ctrl-C from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _without_wrong_hints() -> Iterator[None]:
    """Silence Lightning's advice to start Python with `srun`, and its doubts about modules in evaluation mode.

    A run starts its own processes (`LightningEnvironment` above), so the first would be wrong inside a job and noise elsewhere;
    normalisations of frozen layers are in evaluation mode on purpose.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
        yield
