"""Shows the runs of a study below its rows in MLflow; a run that belongs elsewhere is shown as a copy."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.mlflow.study_ids import StudyIds, StudyIdsFile, digest_of

if TYPE_CHECKING:
    from fer_ablate.tracking.mlflow.store import Store


class NestedRuns:
    """Puts runs below rows, one after another, and remembers each.

    Args:
        store: store of the study's experiment.
        file: where ids are remembered; locked by the caller.
        ids: its content.
        own: runs that are shown directly below the study, hence belong to it.
    """

    def __init__(self, store: "Store", file: StudyIdsFile, ids: StudyIds, own: Collection[str] = ()) -> None:
        self.store = store
        self.file = file
        self.ids = ids
        self.own = own
        self._rows_of_runs: dict[str, str] = {}
        self._of_other_studies: dict[str, bool] = {}

    def add(self, folder: RunFolder, row: str, shown: Mapping[str, Mapping[str, float]], tags: Mapping[str, str]) -> None:
        """Show a finished run below a row, unless it still waits for its upload here.

        Args:
            folder: folder of the run.
            row: MLflow run of the row.
            shown: key of a run -> metrics such as its gap to a published number.
            tags: of the row, for runs with such metrics.

        Raises:
            UserError: a file of the run is missing or damaged.
        """
        if folder.waits_for(self.store.uri):
            return
        header = folder.header
        metrics = shown.get(header.key, {})
        tags = tags if metrics else {}
        run_id = header.mlflow_run_id
        # Rows may share a run, but MLflow shows it below one of them only: the others get copies.
        if run_id is not None and self._rows_of_runs.setdefault(run_id, row) == row:
            if self.ids.placed.get(run_id, header.parent_run_id) == row:
                self._drop_copy(header, row)
                self._update(run_id, metrics, tags)
                return
            if run_id in self.own or self._is_free(run_id, row):
                self._drop_copy(header, row)
                self.store.nest(run_id, row, metrics, tags)
                self.ids.placed[run_id] = row
                if metrics:
                    self.ids.sent[run_id] = digest_of(metrics, tags)
                return
        self._update(self._copy(folder, header, row), metrics, tags)

    def _drop_copy(self, header: RunHeader, row: str) -> None:
        """Delete the copy of a run that was not here before: it waited for its upload to another store."""
        if copy := self.ids.copies.pop(f"{row}/{header.key}", None):
            self.store.client.delete_run(copy)
            self.file.write(self.ids)

    def _update(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        digest = digest_of(metrics, tags)
        if metrics and self.ids.sent.get(run_id) != digest:
            self.store.log_summary(run_id, metrics, tags)
            self.ids.sent[run_id] = digest

    def _is_free(self, run_id: str, row: str) -> bool:
        """Whether the run is one of this experiment that no other study shows."""
        run = self.store.active(run_id)
        if run is None or str(run.info.experiment_id) != self.store.experiment_id:
            return False
        parent = self.store.parent_of(run)
        return parent in (None, row) or not self._is_of_another_study(str(parent))

    def _is_of_another_study(self, parent: str) -> bool:
        if parent not in self._of_other_studies:
            run = self.store.active(parent)
            self._of_other_studies[parent] = run is not None and run.data.tags.get("study", self.file.study) != self.file.study
        return self._of_other_studies[parent]

    def _copy(self, folder: RunFolder, header: RunHeader, row: str) -> str:
        # Of a run that waits for another store, the id is that of a run there, or will be another one here.
        origin = header.key if folder.pending_file.is_file() else header.mlflow_run_id or header.key
        name = f"{row}/{origin}"
        copy = self.ids.copies.get(name)
        if copy is not None and self.ids.placed.get(copy) == row:
            return copy
        # A copy that a killed process left unfinished is completed, not made a second time.
        copy = self.store.start_run(replace(header, mlflow_run_id=copy, parent_run_id=row), folder.config_yaml, copy=True)
        self.ids.copies[name] = copy
        # Written before the copy is filled, so that a kill does not lose its id.
        self.file.write(self.ids)
        self.store.complete_copy(copy, folder, origin)
        self.ids.placed[copy] = row  # written with the next change of the file
        return copy
