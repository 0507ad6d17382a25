"""The pictures of the runs of a sweep, drawn beside the training in the process of the sweep, which has nothing else to do."""

import os
import queue
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fer_ablate.cli import console
from fer_ablate.errors import UserError
from fer_ablate.study.plan import PlannedRun
from fer_ablate.tracking.disk.run_folder import PICTURES, RunFolder
from fer_ablate.tracking.disk.run_state import RunState

if TYPE_CHECKING:
    from fer_ablate.report.plots.run import RunFaces

NICENESS = 10
"""How far the training goes before the drawing where both want the same core, see nice(1)."""

POLL_SECONDS = 0.2


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
        self._given = self._drawn = 0
        self._problems: list[str] = []
        self._stopped = False

    def __enter__(self) -> "PictureThread":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopped = kind is not None
        self._waiting.put(None)
        if self._thread is None or self._stopped:
            return
        with console.bar("drawing the pictures") as report_progress:
            while self._thread.is_alive():
                self._thread.join(POLL_SECONDS)
                report_progress(self._drawn / self._given)
        for problem in dict.fromkeys(self._problems):
            console.console.print(f"  note: {problem}", style="yellow")

    def draw(self, folder: RunFolder, faces: "RunFaces") -> None:
        """Draw the pictures of a finished run as soon as those before it are drawn."""
        self._given += 1
        self._waiting.put((folder, faces))
        if self._thread is None:
            # A daemon, since a figure that is half drawn must not hold up Ctrl-C.
            self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        # Linux has a priority for each thread; elsewhere this would slow down the whole process.
        if sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (item := self._waiting.get()) is not None and not self._stopped:
            try:
                self._problems += _draw(*item, self._runs_dir)
            except Exception as error:  # of a run that lost a file; it must not cost the others their pictures
                self._problems.append(f"The pictures of {item[0].path} could not be drawn: {error}")
            self._drawn += 1


def _draw(folder: RunFolder, faces: "RunFaces", runs_dir: Path) -> list[str]:
    # matplotlib takes half a second to import, which nothing but drawing has to wait for.
    from fer_ablate.report.plots.run import save_run_figures
    from fer_ablate.tracking.mlflow.attach import add_to_run

    problems = save_run_figures(folder, folder.result, lambda: faces)
    # A run that still waits for its upload will take the figures along.
    if not folder.pending_file.is_file():
        drawn = [folder.path / name for name in PICTURES if (folder.path / name).is_file()]
        problems.append(add_to_run(folder, runs_dir, drawn, "", {}))
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
                data = role_set(config, load_faces(config.data))
                prepared = PreparedRun(config, cell.row.label, cell.key, data, one.folder.checkpoints)
                problems += draw_missing(prepared, one.folder)
            except UserError as error:
                problems.append(f"The pictures of {one.folder.path} could not be drawn: {error}")
            report_progress((number + 1) / len(left))
    return problems


def _lacks_figures(folder: RunFolder) -> bool:
    lacking = [name for name in PICTURES if not (folder.path / name).is_file()]
    return bool(lacking) and not folder.notes.keys() >= set(lacking)
