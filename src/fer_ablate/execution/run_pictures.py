"""The pictures of the runs of a sweep, drawn beside the training in the process of the sweep, which has nothing else to do.

When the last run has ended, the workers that trained draw those that are left, so that all cores do.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_ablate.cli import console
from fer_ablate.errors import UserError, first_line
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.run_folder import PICTURES, RunFolder
from fer_ablate.tracking.disk.run_state import RunState

if TYPE_CHECKING:
    from fer_ablate.report.plots.run import RunFaces

NICENESS = 10
"""How far the training goes before the drawing where both want the same core, see nice(1)."""

POLL_SECONDS = 0.2

Submit = Callable[..., "Future[Any]"]
"""Calls a function with arguments in another process."""


class PictureThread:
    """Draws pictures one after another; a context that waits for the last one, or leaves the rest after an error or Ctrl-C.

    What is left is drawn by the next start of the sweep, see `draw_left`.

    Args:
        runs_dir: a store of MLflow without a server keeps its artifacts below it.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._waiting: queue.SimpleQueue[tuple[RunFolder, RunFaces] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._elsewhere: list[tuple[RunFolder, Future[list[str]]]] = []
        self._given = self._drawn = 0
        self._problems: list[str] = []
        self._stopped = False

    def __enter__(self) -> "PictureThread":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopped = kind is not None
        self._waiting.put(None)
        if not self._stopped:
            self.finish()

    def draw(self, folder: RunFolder, faces: "RunFaces") -> None:
        """Draw the pictures of a finished run as soon as those before it are drawn."""
        self._given += 1
        self._waiting.put((folder, faces))
        if self._thread is None:
            # A daemon, since a figure that is half drawn must not hold up Ctrl-C.
            self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
            self._thread.start()

    def hand_over(self, submit: Submit) -> None:
        """Let other processes draw what the thread has not begun."""
        with suppress(queue.Empty):
            while (item := self._waiting.get_nowait()) is not None:
                self._elsewhere.append((item[0], submit(draw_pictures, *item, self._runs_dir)))

    def finish(self) -> None:
        """Wait until all is drawn, and print what could not be."""
        self._waiting.put(None)
        with console.bar("drawing the pictures") as report_progress:
            for folder, future in self._elsewhere:
                self._keep(folder, future.result)
                report_progress(self._drawn / self._given)
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(POLL_SECONDS)
                report_progress(self._drawn / self._given)
        for problem in dict.fromkeys(self._problems):
            console.console.print(f"  note: {problem}", style="yellow")
        self._thread, self._elsewhere, self._problems = None, [], []

    def _work(self) -> None:
        # Linux has a priority for each thread; elsewhere this would slow down the whole process.
        if sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (item := self._waiting.get()) is not None and not self._stopped:
            folder, faces = item
            self._keep(folder, partial(draw_pictures, folder, faces, self._runs_dir))

    def _keep(self, folder: RunFolder, draw: Callable[[], list[str]]) -> None:
        try:
            self._problems += draw()
        except Exception as error:  # of a run that lost a file; it must not cost the others their pictures
            self._problems.append(f"The pictures of {folder.path} could not be drawn: {first_line(error)}")
        self._drawn += 1


def draw_pictures(folder: RunFolder, faces: "RunFaces", runs_dir: Path) -> list[str]:
    """Draw the pictures of a finished run, and copy them to its run in MLflow if that was recorded before.

    Args:
        folder: of the run.
        faces: shown in one of the pictures.
        runs_dir: a store of MLflow without a server keeps its artifacts below it.

    Returns:
        What went wrong, a sentence each.
    """
    # matplotlib takes half a second to import, which nothing but drawing has to wait for.
    from fer_ablate.report.plots.run import save_run_figures
    from fer_ablate.tracking.mlflow.attach import begin_additions, end_additions

    sends = begin_additions(folder)
    problems = save_run_figures(folder, folder.result, lambda: faces)
    if sends:
        drawn = [folder.path / name for name in PICTURES if (folder.path / name).is_file()]
        problems.append(end_additions(folder, runs_dir, {"": drawn}))
    return [problem for problem in problems if problem]


def draw_left(planned: Iterable[PlannedRun]) -> list[str]:
    """Draw the figures that finished runs of a study lack, since a sweep was killed before it drew them.

    A figure that could not be drawn is noted in the folder of its run, and left.

    Returns:
        What could not be drawn and why, a sentence each.
    """
    finished = (one for one in planned if one.state is RunState.finished and one.cell.config.tracking.pictures)
    left = {one.folder.path: one for one in finished if _lacks_figures(one.folder)}
    if not left:
        return []
    # Images and roles are needed again, hence torch.
    from fer_ablate.data.load import load_faces
    from fer_ablate.execution.run_output import draw_missing
    from fer_ablate.training.role_set import role_set
    from fer_ablate.training.run import PreparedRun

    problems: list[str] = []
    with console.bar("drawing the pictures") as report_progress:
        for number, one in enumerate(left.values()):
            config, cell = one.cell.config, one.cell
            try:
                data = role_set(config, load_faces(config.data, plugins=config.plugins))
                prepared = PreparedRun(config, cell.row.label, cell.key, data, one.folder.checkpoints)
                problems += draw_missing(prepared, one.folder)
            except UserError as error:
                problems.append(f"The pictures of {one.folder.path} could not be drawn: {error}")
            report_progress((number + 1) / len(left))
    return problems


def _lacks_figures(folder: RunFolder) -> bool:
    lacking = [name for name in PICTURES if not (folder.path / name).is_file()]
    return bool(lacking) and not folder.notes.keys() >= set(lacking)
