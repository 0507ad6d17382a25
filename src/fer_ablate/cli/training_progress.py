"""Progress of one training: a bar on a terminal, a line for each epoch in a pipe or a sweep, and a file for whoever watches."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

import pytorch_lightning as pl
from pytorch_lightning import Callback
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fer_ablate.cli.console import console
from fer_ablate.report.quantities import duration
from fer_ablate.tracking.disk.progress_file import PROGRESS, StepProgress, remove_progress, write_progress

SECONDS_BETWEEN_LINES = 60.0
"""Least time between two lines of one run of a sweep."""

SECONDS_BETWEEN_WRITES = 1.0
"""Least time between two states of the file for whoever watches the run."""


class TrainingProgress(Callback):
    """One bar over all epochs with the latest val metrics; in a pipe one line per epoch.

    Args:
        max_epochs: number of epochs unless training stops early.
        monitor: metric by which the best epoch is chosen.
        better: (new, old) -> whether the new value is the better one.
        title: for a run of a sweep, what its lines begin with. Several such runs may print at once, so each has at most one
            line a minute and no bar, since a screen can show only one.
        folder: folder of the run, where a small file says how far it is within its epochs (`tracking.disk.progress_file`); None:
            there is no such file.
    """

    def __init__(
        self,
        max_epochs: int,
        monitor: str,
        better: Callable[[float, float], bool],
        title: str = "",
        folder: Path | None = None,
    ) -> None:
        self.max_epochs, self.monitor, self.better, self.title = max_epochs, monitor, better, title
        self._file = folder / PROGRESS if folder is not None else None
        self._last_write = monotonic()
        self._last_line = monotonic()
        self.best: float | None = None
        self._bar: Progress | None = None
        self._task = TaskID(-1)
        self._began, self._first_epoch = monotonic(), 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; a resumed run starts at the epoch where it stopped."""
        self._began, self._first_epoch = monotonic(), trainer.current_epoch
        if self._file is not None:
            write_progress(self._file, StepProgress(self._first_epoch, 0, 0))
        if trainer.is_global_zero and console.is_terminal and not self.title:
            columns = (
                TextColumn("  {task.description}"),
                BarColumn(),
                TextColumn("{task.fields[metrics]}"),
                TextColumn("eta"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
            steps = int(trainer.num_training_batches)
            self._task = self._bar.add_task(
                "training", total=steps * self.max_epochs, completed=steps * trainer.current_epoch, metrics=""
            )
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Move the bar, and bring the file up to date."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"epoch {trainer.current_epoch + 1}/{self.max_epochs}")
        if self._file is not None and monotonic() - self._last_write > SECONDS_BETWEEN_WRITES:
            self._last_write = monotonic()
            epochs = trainer.current_epoch + (trainer.fit_loop.batch_idx + 1) / max(int(trainer.num_training_batches), 1)
            write_progress(self._file, StepProgress(epochs, epochs - self._first_epoch, monotonic() - self._began))

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Show the metrics of an epoch."""
        measured = metrics.get(self.monitor)
        if measured is not None and (self.best is None or self.better(measured, self.best)):
            self.best = measured
        # 80 columns have no room for more beside the bar; a pipe has no bar.
        names = ("val/loss", "val/acc") if self._bar is not None else ("train/loss", "train/acc", "val/loss", "val/acc")
        text = "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)
        if self._bar is not None:
            self._bar.update(self._task, metrics=text + (f"  best {self.best:.4f}" if self.best is not None else ""))
        elif not self.title or monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = monotonic()
            # Only the epochs of this process were timed; a resumed run has earlier ones.
            done = epoch - self._first_epoch
            best = f"  best {self.monitor} {self.best:.4f}" if self.best is not None else ""
            left = (monotonic() - self._began) / done * (self.max_epochs - epoch)
            title = f"{self.title}: " if self.title else ""
            console.print(
                f"  {title}epoch {epoch}/{self.max_epochs}  {text}{best}  {metrics['seconds']:.1f} s  eta {duration(left)}"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar and the file away."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away, so that the error is printed on a line of its own."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._file is not None:
            remove_progress(self._file)
