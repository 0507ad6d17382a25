"""Prints facts, tables and progress bars: with colour on a terminal, as plain lines in a pipe."""

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fer_ablate import shell
from fer_ablate.errors import UserError
from fer_ablate.metrics import METRICS as KNOWN
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.disk.files import write_error, write_text

SPLITS = ("train", "val", "test", "public", "private")
METRICS = ("acc", "top2", "macro_f1", "weighted_f1", "ece", "loss")
PLAIN_WIDTH = 140
"""Columns in a pipe, since the width of the reader's screen is unknown there."""

# Rich would take brackets for its own markup; in what is printed here they are lists and paths.
console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
if not console.is_terminal:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=PLAIN_WIDTH)


def command(arguments: Sequence[str]) -> None:
    """Print a command as a person would type it."""
    console.print(shell.program(*arguments))


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
        words: titles of further columns that are aligned to the left.
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
    # While training, predictions are only counted, so `train` has no calibration error.
    # Metrics of the user's own are shown as well.
    shown = [*METRICS, *dict.fromkeys(metric for name in names for metric in splits[name].metrics if metric not in KNOWN)]
    scores = [[splits[name].metrics.get(metric) for name in names] for metric in shown]
    rows = [[metric, *("" if one is None else f"{one:.4f}" for one in row)] for metric, row in zip(shown, scores, strict=True)]
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
    """Show the progress of something long; gives a function that takes the finished fraction.

    Nothing appears in the first second. In a pipe, a single line appears after it.
    """
    began, shown = monotonic(), False
    progress = Progress(TextColumn("  {task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True)
    number = progress.add_task(title, total=1.0)

    def show(fraction: float) -> None:
        nonlocal shown
        if not shown and monotonic() - began > 1:
            shown = True
            if console.is_terminal:
                progress.start()
            else:
                print(f"  {title} ...", file=sys.stderr, flush=True)  # stdout may be a table for another program
        progress.update(number, completed=fraction)

    try:
        yield show
    finally:
        if shown and console.is_terminal:
            progress.stop()


def part_of(progress: Callable[[float], None], done: float, own: float, total: float) -> Callable[[float], None]:
    """Progress of one of several steps, shown within that of all of them.

    Args:
        progress: shows the fraction of all steps.
        done: amount of work in the steps before this one.
        own: amount of work in this one.
        total: amount of work in all.
    """
    return lambda fraction: progress((done + fraction * own) / total)


def put_text(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file and print the name of the file.

    Args:
        text: what to write.
        output: a file; of a link what it leads to is replaced, and a device or pipe is written to.

    Raises:
        UserError: the file cannot be written.
    """
    if output is None:
        sys.stdout.write(text)
    elif write_output(text, output):
        print(output)


def write_output(text: str, output: Path) -> bool:
    """Write a text to a file that a person named; whether it is a file, rather than a device or a pipe.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        if output.is_relative_to("/dev") or (os.path.exists(output) and not os.path.isfile(output) and not os.path.isdir(output)):
            with output.open("w", encoding="utf-8") as stream:
                stream.write(text)
            return False
        write_text(Path(os.path.realpath(output)), text)
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise write_error(output, cause, "name another file by output=...") from error
    return True


def refuse_unformatted(output: Path | None, form: str | None, example: str) -> None:
    """Check the words `output=` and `format=` of a verb that writes one text.

    Raises:
        UserError: there is a file to write, but no format.
    """
    if output and not form:
        raise UserError(f"output={output}: give the format as well, such as format={example}.")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, as in `1 epoch`, `2,800 images` and `3 batches`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
