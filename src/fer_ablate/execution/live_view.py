"""A live view of runs while they are trained: a line for each running one, and a line for all of them together.

It only reads run folders, so it is the same for every launcher and in another terminal (`watch`). A sweep shows it around the
launching; the runs send what they print to their own logs (`run_log.output_to_log`), since the view prints what matters:

    with live_view(plan.to_train):
        results = train_planned(plan, train_runs, reporter)

On a terminal, lines of ended runs stay above the display. In a pipe there are only plain lines: when a run starts, ends or fails,
and every minute those of the running ones.
"""

import io
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from time import monotonic
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_ablate.cli.console import counted
from fer_ablate.errors import first_line
from fer_ablate.execution.run_progress import (
    JobNote,
    RunProgress,
    RunReader,
    WatchedRun,
    WholeProgress,
    watched_runs,
    whole,
    with_job,
)
from fer_ablate.report.quantities import duration, one_line, shorten
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.run_state import RunState

POLL_SECONDS = 1.0
"""Time between two looks at the run folders."""

POLL_SHARE = 50
"""A look that took long is followed by a pause this many times as long, so that looking at thousands of runs stays cheap."""

PLAIN_SECONDS = 60.0
"""Time between two reports about running runs in a pipe."""

MOST_QUEUED = 20
"""Queued runs that have a line each in a report in a pipe; the others are counted."""

SHOW_CURSOR = b"\x1b[?25h\r\n"
"""What a terminal shows its cursor for, on a new line."""

LONGEST_TITLE, SHORTEST_BAR, LONGEST_BAR = 60, 6, 40
"""Columns of the parts of a line that give way on a narrow screen."""


@contextmanager
def live_view(
    planned: Sequence[PlannedRun], watching: bool = False, job_note: Callable[[Path], JobNote | None] | None = None
) -> Iterator["LiveView"]:
    """Show how far runs are while other code trains them, from a thread of this process.

    Within the context, what this process prints on the terminal appears above the display. When it is left, the terminal is as it
    was before, also after an error or Ctrl-C.

    Args:
        planned: the runs, in their order; each key is shown once.
        watching: another process trains the runs. What is on disk already counts, and lines have no numbers, which only the
            sweep itself knows. Otherwise the runs are about to be started, and what earlier attempts left does not count.
        job_note: see `LiveView`.

    Yields:
        The view.
    """
    with showing(LiveView(watched_runs(planned, numbered=not watching), fresh=not watching, job_note=job_note)) as view:
        yield view


@contextmanager
def showing(view: "LiveView") -> Iterator["LiveView"]:
    """Show a view within the context."""
    with view.printing_above(), view.leaving_a_cursor():
        view.start()
        try:
            yield view
        except BaseException:
            view.stop()
            raise
        view.stop(summary=True)


class LiveView:
    """The view of some runs, on a terminal or as plain lines.

    Args:
        runs: the runs.
        fresh: see `RunReader`.
        job_note: folder of a run -> what is known of its job; None where runs are no jobs of a cluster.

    Attributes:
        progress: of every run, at the last look.
    """

    def __init__(self, runs: Sequence[WatchedRun], fresh: bool, job_note: Callable[[Path], JobNote | None] | None = None) -> None:
        # The stream as it is now: runs in this process redirect `sys.stdout` to their logs.
        self._out, self._err = sys.stdout, sys.stderr
        self._screen = Console(file=self._out, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        if self._screen.is_terminal and not self._screen.is_dumb_terminal:
            self._live = Live(
                console=self._screen, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
        self._fresh, self._job_note = fresh, job_note
        self._readers = [RunReader(run, fresh) for run in runs]
        self._reading = threading.Lock()
        self._to_come = 0
        self.progress = [reader.read() for reader in self._readers]
        self._began = self._reported = monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="live view", daemon=True)

    @property
    def whole(self) -> WholeProgress:
        """How far all runs together were at the last look."""
        return whole(self.progress, self._to_come)

    def add(self, runs: Sequence[WatchedRun], to_come: int) -> None:
        """Show further runs, which are about to be started.

        Args:
            runs: the runs.
            to_come: number of runs that will be added later.
        """
        readers = [RunReader(run, self._fresh) for run in runs]
        with self._reading:
            self._readers += readers
            self.progress = [*self.progress, *(reader.read() for reader in readers)]
            self._to_come = to_come

    @contextmanager
    def printing_above(self) -> Iterator[None]:
        """Send what this process prints on the terminal through the display, which would be torn otherwise."""
        if self._live is None:
            yield
            return
        out, err = _AboveDisplay(self._screen, self._out), _AboveDisplay(self._screen, self._err)
        try:
            # An error stream that is a file stays one.
            with redirect_stdout(out), redirect_stderr(err) if self._err.isatty() else nullcontext():
                yield
        finally:
            out.finish()
            err.finish()

    @contextmanager
    def leaving_a_cursor(self) -> Iterator[None]:
        """Show the cursor of the terminal again if SIGTERM ends this process, which runs no `finally`."""
        main = threading.current_thread() is threading.main_thread()
        # Whoever has a handler of his own ends the process in an orderly way.
        if self._live is None or not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            yield
            return

        def show_cursor_and_end(number: int, _: object) -> None:
            # Neither Rich nor the stream, which the interrupted code may be writing with.
            os.write(self._out.fileno(), SHOW_CURSOR)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

        signal.signal(signal.SIGTERM, show_cursor_and_end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def start(self) -> None:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        else:
            self._report_all()
        self._thread.start()

    def stop(self, summary: bool = False) -> None:
        """Take the display away.

        Args:
            summary: look once more, then print how all of it ended.
        """
        try:
            self._ended.set()
            self._thread.join()
            if summary:
                self._look()
        finally:
            if self._live is not None:
                self._live.stop()
        if summary:
            # Whoever watches has not seen the beginning.
            took = f" in {duration(monotonic() - self._began)}" if self._fresh else ""
            self._print(f"  {_counts(self.whole, 'not done' if self._fresh else 'waiting')}{took}")

    @property
    def ended(self) -> bool:
        """Whether it looks no more, since something was wrong or nobody reads it."""
        return not self._thread.is_alive()

    def _loop(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            began = monotonic()
            try:
                self._look()
            except Exception as error:  # whatever is wrong with the view must not end the training
                with suppress(OSError):  # the reader of a pipe is gone
                    self._print(f"  note: the live view ended ({type(error).__name__}: {first_line(error)}); the runs go on")
                return
            pause = max(POLL_SECONDS, POLL_SHARE * (monotonic() - began))

    def _look(self) -> None:
        """Read all folders, print what has happened since the last look, and draw the display."""
        with self._reading:
            before, now = self.progress, [self._read(reader) for reader in self._readers]
            self.progress = now
        # Not `self.progress`, to which a search may have added runs by now.
        for earlier, one in zip(before, now, strict=True):
            if one.state is not earlier.state:
                self._report(earlier, one)
            if one.queued and not earlier.queued and self._live is None:
                self._print(f"  {_queued(one)}")
        if self._live is not None:
            self._live.update(self._display(), refresh=True)
        elif monotonic() - self._reported > PLAIN_SECONDS:
            self._report_all()

    def _read(self, reader: RunReader) -> RunProgress:
        progress = reader.read()
        return progress if self._job_note is None else with_job(progress, self._job_note(reader.run.folder.path))

    def _report(self, earlier: RunProgress, one: RunProgress) -> None:
        """Print what happened to a run."""
        if one.state is RunState.running:
            self._report_start(one)
        elif one.state is RunState.finished:
            self._print(_finished(one))
        elif one.state is RunState.failed:
            log = one.run.folder.log_file
            # A job that was cancelled while it waited has none.
            where = f"\n    log: {log}" if log.is_file() else ""
            self._print(f"fer_ablate: {one.run.title}: failed: {one.problem}{where}", error=True)
        elif one.state is RunState.pruned:
            self._print(f"  {one.run.title}: {one.problem}")
        elif earlier.state is RunState.running:
            self._print(f"  {one.run.title}: interrupted{_after(int(earlier.epochs))}")

    def _report_start(self, one: RunProgress) -> None:
        """In a pipe, say that a run has started; on a terminal its bar says so."""
        if self._live is None:
            # A short run may be some steps further when it is first looked at.
            before = one.before or (int(one.epochs) if one.resumed else 0)
            resumes = f"  resumes{_after(before)}" if before else ""
            self._print(f"  {one.run.title} ...{resumes}")

    def _report_all(self) -> None:
        """In a pipe, say how far the running runs and all of them are."""
        self._reported = monotonic()
        running = [one for one in self.progress if one.state is RunState.running]
        for one in running:
            parts = [f"{one.run.title}: {_epoch(one)}", _metric(one, best=True), _left(one)]
            self._print("  " + "  ".join(part for part in parts if part))
        queued = [one for one in self.progress if one.queued]
        for one in queued[:MOST_QUEUED]:
            self._print(f"  {_queued(one)}")
        if len(queued) > MOST_QUEUED:
            self._print(f"  and {len(queued) - MOST_QUEUED} more are queued")
        if running or queued:
            self._print(f"  {_whole_line(self.whole)}")

    def _print(self, text: str, error: bool = False) -> None:
        if self._live is not None:
            self._screen.print(Text(text, style="red" if error else ""), soft_wrap=True)
            return
        if error:
            self._out.flush()  # in a pipe the message would otherwise stand above what came before it
        stream = self._err if error else self._out
        # One call, so that lines of other threads cannot come between a line and its end.
        stream.write(f"{text}\n")
        stream.flush()

    def _display(self) -> RenderableType:
        """The running runs and those whose jobs are queued, as many as fit on the screen, and the line for all of them."""
        running = [one for one in self.progress if one.state is RunState.running]
        shown = running[: max(self._screen.height - 3, 1)]
        more = [Text(f"  and {len(running) - len(shown)} more are running", style="dim")] if len(shown) < len(running) else []
        queued = [one for one in self.progress if one.queued]
        room = max(self._screen.height - 4 - len(shown), 0)
        more += [Text(f"  {_queued(one)}", style="dim", overflow="ellipsis", no_wrap=True) for one in queued[:room]]
        if len(queued) > room:
            more.append(Text(f"  and {len(queued) - room} more are queued", style="dim"))
        return Group(_lines(shown, self._screen.width), *more, Text(f"  {_whole_line(self.whole)}", style="bold"))


class _AboveDisplay(io.TextIOBase):
    """A stream that prints whole lines above a display.

    Args:
        screen: console of the display.
        original: stream that it stands for.
    """

    def __init__(self, screen: Console, original: TextIO) -> None:
        self._screen, self._original, self._rest = screen, original, ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the base class
        """That of the terminal."""
        return self._original.encoding

    def write(self, text: str) -> int:
        """Print the lines that are complete, and keep the rest for later."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._screen.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)

    def finish(self) -> None:
        """Print what is left of an unfinished line."""
        if self._rest:
            self.write("\n")

    def isatty(self) -> bool:
        """It is a terminal, above whose last lines it prints."""
        return True

    def fileno(self) -> int:
        """That of the terminal, for whoever goes around Python."""
        return self._original.fileno()


def _lines(running: Sequence[RunProgress], width: int) -> Table:
    """One line for each run: title, bar, epoch, metric and time left, as wide as the screen."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(6):
        grid.add_column(no_wrap=True)
    best = width >= 100
    cells = [(_epoch(one), _metric(one, best), _left(one)) for one in running]
    widths = [max((cell_len(row[place]) for row in cells), default=0) for place in range(3)]
    room = width - sum(widths) - 2 * 5 - 2
    title = max(min(max((cell_len(one.run.title) for one in running), default=0), LONGEST_TITLE, room - SHORTEST_BAR), 10)
    bar = min(max(room - title, SHORTEST_BAR), LONGEST_BAR)
    for one, (epoch, metric, left) in zip(running, cells, strict=True):
        drawn = ProgressBar(total=one.run.max_epochs, completed=one.run.max_epochs if one.testing else one.epochs, width=bar)
        grid.add_row(
            "", _fitted(one_line(one.run.title), title), drawn, epoch, Text(metric, style="cyan"), Text(left, style="dim")
        )
    return grid


def _fitted(text: str, cells: int) -> str:
    """Text on at most this many cells of the screen; letters of some languages take two."""
    return next(cut for length in range(cells, 0, -1) if cell_len(cut := shorten(text, length)) <= cells)


def _queued(one: RunProgress) -> str:
    return f"{one.run.title}: {one.queued}"


def _after(epochs: int) -> str:
    return f" after epoch {epochs}" if epochs else ""


def _finished(one: RunProgress) -> str:
    if one.result is None:
        return f"  {one.run.title}: finished; its result cannot be read"
    scores = [f"{name}/acc {one.result.splits[name].metrics['acc']:.4f}" for name in ("val", "test") if name in one.result.splits]
    trained = f"{counted(one.result.epochs, 'epoch')} in {duration(one.result.seconds)}"
    return f"  {one.run.title}: {'  '.join([*scores, trained])}"


def _epoch(one: RunProgress) -> str:
    if one.testing:
        return "testing"
    return f"epoch {one.epoch}/{one.run.max_epochs}" if one.epochs else "starting"


def _metric(one: RunProgress, best: bool) -> str:
    """The monitored metric, such as `val/acc 0.7312, best 0.7412`; empty before the first epoch ends."""
    if math.isnan(one.value):
        return ""
    return f"{one.run.monitor} {one.value:.4f}" + (f", best {one.best:.4f}" if best else "")


def _left(one: RunProgress) -> str:
    return "" if one.seconds_left is None or one.testing else f"{duration(one.seconds_left)} left"


def _counts(all_runs: WholeProgress, waiting: str = "waiting") -> str:
    """Such as `5 of 15 runs done, 2 running, 1 failed, 7 waiting`."""
    done = all_runs.finished + all_runs.pruned
    others = [(all_runs.running, "running"), (all_runs.failed, "failed"), (all_runs.waiting, waiting)]
    return ", ".join([f"{done} of {counted(all_runs.total, 'run')} done", *(f"{n} {word}" for n, word in others if n)])


def _whole_line(all_runs: WholeProgress) -> str:
    left = all_runs.seconds_left
    time = "" if left is None or not (all_runs.running or all_runs.waiting) else f"; about {duration(left)} left"
    return _counts(all_runs) + time
