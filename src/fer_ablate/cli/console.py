"""What people see: bars and tables on a terminal, plain lines in a pipe."""

import logging
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

import pytorch_lightning as pl
from pytorch_lightning import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fer_ablate.metrics import SplitResult
from fer_ablate.report.quantities import duration

SPLITS = ("train", "val", "test", "public", "private")
METRICS = ("acc", "top2", "macro_f1", "weighted_f1", "ece", "loss")
PLAIN_WIDTH = 140
"""Columns in a pipe, where nothing tells how wide the reader's screen is."""

TITLED_SECONDS = 60.0
"""Between two lines of one run of a sweep."""

# Brackets in what is printed are lists and paths, never rich's markup.
console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
if not console.is_terminal:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=PLAIN_WIDTH)


def quiet_libraries() -> None:
    """Keep what libraries say to developers away from people who train networks."""
    for name in (
        "pytorch_lightning",
        "lightning",
        "lightning.pytorch",
        "lightning_fabric",
        "mlflow",
        "alembic",
        "torch.distributed",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torchmetrics|kornia|mlflow|torch)(\.|$)")


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Print aligned `name  value` lines."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(Text.assemble((f"  {name:<{width}}  ", "dim"), value))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, words: Collection[str] = ()) -> None:
    """Print a table.

    Args:
        title: line above; empty for none.
        header: column titles.
        rows: cells as they are to appear.
        left: how many columns are names, hence aligned to the left.
        words: titles of further columns to be aligned so.
    """
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(header):
        grid.add_column(name, justify="left" if number < left or name in words else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def split_table(splits: Mapping[str, SplitResult]) -> None:
    """Print scores, one column per split."""
    names = [name for name in dict.fromkeys((*SPLITS, *splits)) if name in splits]
    # Calibration is not known of what was only counted, as of `train`.
    scores = [[splits[name].metrics.get(metric) for name in names] for metric in METRICS]
    rows = [[metric, *("" if one is None else f"{one:.4f}" for one in row)] for metric, row in zip(METRICS, scores, strict=True)]
    table("", ["", *names], [*rows, ["images", *(f"{splits[name].n:,}" for name in names)]])


def class_table(splits: Mapping[str, SplitResult], name: str) -> None:
    """Print precision, recall and F1 of every class on one split."""
    scores = splits[name].per_class
    rows = [
        [label, *(f"{values[key]:.3f}" for key in ("precision", "recall", "f1")), f"{values['support']:,.0f}"]
        for label, values in scores.items()
    ]
    table(f"{name} by class", ["class", "precision", "recall", "f1", "images"], rows)


@contextmanager
def bar(title: str) -> Iterator[Callable[[float], None]]:
    """Show the progress of something long; gives a function to tell the finished fraction.

    Nothing appears for what is over within a second, and nothing in a pipe but a line when it begins to take long.
    """
    began, shown = monotonic(), False
    progress = Progress(TextColumn("  {task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True)
    number = progress.add_task(title, total=1.0)

    def tell(fraction: float) -> None:
        nonlocal shown
        if not shown and monotonic() - began > 1:
            shown = True
            if console.is_terminal:
                progress.start()
            else:
                print(f"  {title} ...", file=sys.stderr, flush=True)  # what is piped on may be a table
        progress.update(number, completed=fraction)

    try:
        yield tell
    finally:
        if shown and console.is_terminal:
            progress.stop()


class TrainingProgress(Callback):
    """One bar over all epochs with the latest val metrics; in a pipe one line per epoch.

    Args:
        max_epochs: the most there will be.
        monitor: metric by which the best epoch is chosen.
        better: (new, old) -> whether the new value is the better one.
        title: of a run of a sweep, of which several may print at once; lines then begin with it, come at most once a minute,
            and there is no bar, since there can be only one on a screen.
    """

    def __init__(self, max_epochs: int, monitor: str, better: Callable[[float, float], bool], title: str = "") -> None:
        self.max_epochs, self.monitor, self.better, self.title = max_epochs, monitor, better, title
        self._told = monotonic()
        self.best: float | None = None
        self._bar: Progress | None = None
        self._task = TaskID(-1)
        self._began, self._first_epoch = monotonic(), 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count; a resumed run begins where it stopped."""
        self._began, self._first_epoch = monotonic(), trainer.current_epoch
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
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"epoch {trainer.current_epoch + 1}/{self.max_epochs}")

    def epoch(self, epoch: int, metrics: Mapping[str, float], time_ms: int) -> None:
        """Show what the epoch brought."""
        measured = metrics.get(self.monitor)
        if measured is not None and (self.best is None or self.better(measured, self.best)):
            self.best = measured
        # 80 columns have no room for more beside the bar; a pipe has no bar.
        names = ("val/loss", "val/acc") if self._bar is not None else ("train/loss", "train/acc", "val/loss", "val/acc")
        text = "  ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)
        if self._bar is not None:
            self._bar.update(self._task, metrics=text + (f"  best {self.best:.4f}" if self.best is not None else ""))
        elif not self.title or monotonic() - self._told > TITLED_SECONDS:
            self._told = monotonic()
            done = epoch - self._first_epoch
            best = f"  best {self.monitor} {self.best:.4f}" if self.best is not None else ""
            left = (monotonic() - self._began) / done * (self.max_epochs - epoch)
            title = f"{self.title}: " if self.title else ""
            console.print(
                f"  {title}epoch {epoch}/{self.max_epochs}  {text}{best}  {metrics['seconds']:.1f} s  eta {duration(left)}"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away, so that the error stands on a line of its own."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, as in `1 epoch`, `2,800 images` and `3 batches`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
