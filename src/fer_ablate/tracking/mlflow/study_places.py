"""Puts the runs of a study below its rows in MLflow; one that belongs elsewhere is brought in as a copy."""

from dataclasses import replace
from typing import TYPE_CHECKING

from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.mlflow.study_file import StudyFile, StudyState

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store


class Placing:
    """Places runs one after another, and remembers each.

    Args:
        store: the study's experiment.
        file: what is remembered; locked by the caller.
        state: its content.
    """

    def __init__(self, store: "Store", file: StudyFile, state: StudyState) -> None:
        self.store = store
        self.file = file
        self.state = state
        self._taken: dict[str, str] = {}
        self._others: dict[str, bool] = {}

    def place(self, folder: RunFolder, row: str) -> None:
        """Show a finished run below a row, unless it still waits for its upload.

        Args:
            folder: of the run.
            row: MLflow run of the row.

        Raises:
            UserError: a file of the run is missing or damaged.
        """
        if folder.pending_file.is_file():
            return
        header = folder.header
        run_id = header.mlflow_run_id
        # Rows may share a run, but MLflow shows it below one of them only: the others get copies.
        if run_id is not None and self._taken.setdefault(run_id, row) == row:
            if self.state.placed.get(run_id, header.parent_run_id) == row:
                return
            if self._is_free(run_id, row):
                self.store.nest(run_id, row)
                self.state.placed[run_id] = row
                return
        self._copy(folder, header, row)

    def _is_free(self, run_id: str, row: str) -> bool:
        """Whether the run is one of this experiment that no other study shows."""
        run = self.store.active(run_id)
        if run is None or str(run.info.experiment_id) != self.store.experiment_id:
            return False
        parent = self.store.parent_of(run)
        return parent in (None, row) or not self._of_another_study(str(parent))

    def _of_another_study(self, parent: str) -> bool:
        if parent not in self._others:
            run = self.store.active(parent)
            self._others[parent] = run is not None and run.data.tags.get("study", self.file.study) != self.file.study
        return self._others[parent]

    def _copy(self, folder: RunFolder, header: RunHeader, row: str) -> None:
        origin = header.mlflow_run_id or header.key
        name = f"{row}/{origin}"
        copy = self.state.copies.get(name)
        if copy is not None and self.state.placed.get(copy) == row:
            return
        # A copy that a killed process left half made is taken up and completed.
        copy = self.store.start_run(replace(header, mlflow_run_id=copy, parent_run_id=row), folder.config_yaml, copy=True)
        self.state.copies[name] = copy
        self.file.write(self.state)
        self.store.complete_copy(copy, folder, origin)
        self.state.placed[copy] = row  # kept with the next change of the file
