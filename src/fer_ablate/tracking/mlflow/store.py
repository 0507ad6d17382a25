"""Runs in MLflow. Everything can be repeated: recording the same thing a second time changes nothing.

Import it through `connection.open_store` only: MLflow is slow to import and reads its environment as it is imported.
"""

import logging
import math
import os
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from fer_ablate.addresses import bare, is_server, sqlite_file, usable
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader
from fer_ablate.tracking.disk.run_state import RunState, mlflow_status
from fer_ablate.tracking.measured import EPOCH_SECONDS, final_scores
from fer_ablate.tracking.mlflow.connection import RETRIES
from fer_ablate.tracking.mlflow.database import make_database
from fer_ablate.tracking.mlflow.moved import artifact_location, follow_runs
from fer_ablate.tracking.mlflow.notes import NOTE, with_part
from fer_ablate.tracking.mlflow.params import (
    ATTEMPT,
    PARAM_LENGTH,
    RUN_NAME_LENGTH,
    milliseconds,
    own_tags,
    parameter_name,
    parameters,
    shorten,
)
from fer_ablate.tracking.mlflow.values import as_tags, dataset_of, epoch_metrics, failure_tags
from fer_ablate.training.result import RunResult

CREATION_SECONDS = 120
"""Other processes may be creating the database; each needs a few seconds."""

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow nests runs."""

FAILURE_TAGS = {"failure", "pruned"}
"""Tags of a run without result; removed when it is started again."""

LARGEST_BATCH = 1000
"""Metrics that MLflow 3.17 takes in one request."""

PAGE = 1000
"""Runs in one page of a search."""

EARLIER_ROW = "earlier row"
"""Tag `kind` of a row with settings that its study had before."""


_creation = threading.Lock()
"""Held by `sent_once`, which changes the environment."""


class Store:
    """One experiment of an MLflow store.

    Args:
        uri: tracking URI; credentials that it lacks are taken from the environment, see `addresses.usable`.
        experiment: name; created if missing.
        runs_dir: artifacts of a store without a server go to `<runs_dir>/artifacts/<experiment>`.

    Attributes:
        uri: without credentials.
    """

    def __init__(self, uri: str, experiment: str, runs_dir: str) -> None:
        _silence()
        self.uri = bare(uri)
        self._parents: set[str] = set()
        database = sqlite_file(uri)
        if database is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        # MLflow creates and migrates a database without a lock: processes that start together would trip over each other.
        with FileLock(f"{database}.lock", timeout=CREATION_SECONDS) if database is not None else nullcontext():
            if database is not None:
                make_database(database)
            follow_runs(uri, Path(runs_dir))
            self.client = MlflowClient(usable(uri))
            self.experiment_id = self._experiment(experiment, runs_dir)

    def _experiment(self, name: str, runs_dir: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = None if is_server(self.uri) else artifact_location(Path(runs_dir), name)
            try:
                return str(self.client.create_experiment(name, artifact_location=location))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)  # another process was faster on a server
        if found is None or found.lifecycle_stage != "active":
            way_out = "Restore it (`mlflow experiments restore`) or give another tracking.experiment=..."
            raise UserError(f"The experiment {name!r} was deleted in {self.uri}. {way_out}")
        return str(found.experiment_id)

    def start_run(self, header: RunHeader, config_yaml: str, copy: bool = False, new: bool = False) -> str:
        """Make the MLflow run of a run, or go on with the one it has; returns its id.

        Args:
            header: its `mlflow_run_id` is used again if this store still has that run.
            config_yaml: resolved config.
            copy: whether to make a second MLflow run beside the first one of this run.
            new: whether the run begins just now, so that no store can have it.
        """
        run = self.active(header.mlflow_run_id)
        # A process may have been killed between making the run and writing down its id; a second run would show it twice.
        attempt = f"{header.attempt} below {header.parent_run_id}" if copy and header.attempt else header.attempt
        if run is None and header.mlflow_run_id is None and attempt and not new:
            run = self.active(self.run_of_attempt(attempt))
        tags = {**own_tags(config_yaml), **self._tags(header)}
        if run is None:
            name = shorten(header.name, RUN_NAME_LENGTH)
            shown = {tag.key: tag.value for tag in as_tags(tags)} | {ATTEMPT: attempt}
            started = milliseconds(header.started_at)
            with sent_once():
                run = self.client.create_run(self.experiment_id, start_time=started, tags=shown, run_name=name)
            tags = {}
        run_id = str(run.info.run_id)
        if run.info.status != "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
        for tag in FAILURE_TAGS & run.data.tags.keys():
            self.client.delete_tag(run_id, tag)
        # MLflow refuses to change a parameter, but a resumed run may use, say, other devices: the first value stays.
        parts = {key: value for key, value in parameters(config_yaml, header.changed).items() if key not in run.data.params}
        self.client.log_batch(run_id, params=[Param(key, value) for key, value in parts.items()], tags=as_tags(tags))
        self.client.log_inputs(run_id, datasets=[dataset_of(header)])
        return run_id

    def _tags(self, header: RunHeader) -> dict[str, str]:
        """Tags of a run that say what it is."""
        changed = ", ".join(f"{key}={value}" for key, value in header.changed.items())
        tags = {"key": header.key, "seed": str(header.seed), "code_digest": header.code_digest, "data_digest": header.data_digest}
        tags |= {"changed": changed or "nothing", "command": " ".join(header.overrides)}
        if header.repeat.fold is not None:
            tags["fold"] = str(header.repeat.fold)
        if header.continued_from:
            tags |= {"continued_from": header.continued_from, "continued_after": str(header.continued_after)}
        if header.parent_run_id in self._parents or self.active(header.parent_run_id) is not None:
            # Of a row that was found once it is not asked again: it is the same for all of its seeds.
            self._parents.add(str(header.parent_run_id))
            tags[PARENT] = str(header.parent_run_id)
        return tags

    def run_of_attempt(self, attempt: str) -> str:
        """The id of the run that a process made before it was killed, without having written it down; empty if there is none."""
        found = self.client.search_runs([self.experiment_id], f"tags.{ATTEMPT} = '{attempt}'", max_results=1)
        return str(found[0].info.run_id) if found else ""

    def active(self, run_id: str | None) -> Run | None:
        """The run with this id; None if this store does not have it, or if it was deleted there."""
        if not run_id:
            return None
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            # A server with users denies a run that it does not have, so that nobody can find out which ones there are.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED"):
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    def recorded_epochs(self, run_id: str) -> set[int]:
        """The epochs that the store has of a run."""
        return {metric.step for metric in self.client.get_metric_history(run_id, EPOCH_SECONDS)}

    def catch_up(
        self,
        run_id: str,
        folder: RunFolder,
        recorded: set[int] | None = None,
        final: Sequence[Metric] = (),
        tags: Sequence[RunTag] = (),
    ) -> set[int]:
        """Record the epochs of a folder that the store lacks; returns all epochs that it has then.

        A recorded epoch stays as it is, although a resumed run repeats the last one or two: no step may appear twice.

        Args:
            run_id: from `start_run`.
            folder: of the run.
            recorded: epochs that the store has; None: it is asked.
            final: metrics that are sent with the last epochs, since each request to a database waits for its disk several times.
            tags: likewise.
        """
        if recorded is None:
            recorded = self.recorded_epochs(run_id)
        missing = [row for row in folder.history if row["epoch"] not in recorded]
        # Whole epochs in each request: an epoch cut in two by a kill would count as recorded.
        together = max(1, LARGEST_BATCH // max(map(len, missing), default=1))
        chunks = [missing[start : start + together] for start in range(0, len(missing), together)]
        requests = [[metric for row in rows for metric in epoch_metrics(row)] for rows in chunks]
        if final or tags:
            if not requests or len(requests[-1]) + len(final) > LARGEST_BATCH:
                requests.append([])
            requests[-1] += final
        for number, metrics in enumerate(requests, start=1):
            self.client.log_batch(run_id, metrics=metrics, tags=tags if number == len(requests) else ())
        return recorded | {int(row["epoch"]) for row in missing}

    def finish(
        self,
        run_id: str,
        folder: RunFolder,
        result: RunResult | None,
        state: RunState,
        files: bool = True,
        recorded: set[int] | None = None,
    ) -> None:
        """Record the epochs that are left, final metrics and files, and end the run.

        Args:
            run_id: from `start_run`.
            folder: whose files are copied.
            result: None if there is none.
            state: state that the run ended in.
            files: whether to copy the folder's files.
            recorded: epochs that the store has; None: it is asked.
        """
        header, history = folder.header, folder.history
        ended = int(history[-1]["time_ms"]) if history else milliseconds(header.started_at)
        if result is not None:
            ended = milliseconds(result.finished_at)
            final = [Metric(name, value, ended, result.best_epoch) for name, value in final_scores(result).items()]
            environment = {f"environment/{name}": value for name, value in result.environment.items()}
            protocol = {f"protocol/{name}": value for name, value in result.protocol.items()}
            self.catch_up(run_id, folder, recorded, final, as_tags({**environment, **protocol}))
        else:
            self.catch_up(run_id, folder, recorded, tags=as_tags(failure_tags(folder)))
        for file in folder.artifacts if files else ():
            place = file.parent.relative_to(folder.path).as_posix()
            self.client.log_artifact(run_id, str(file), None if place == "." else place)
        # Last, so that a run shown as ended is complete.
        self.client.set_terminated(run_id, mlflow_status(state), end_time=ended)

    def upload(self, folder: RunFolder, parent_run_id: str | None = None) -> str:
        """Record a run from its folder, whatever the store has of it already.

        Args:
            folder: folder of a run that nobody trains; if a process begins to meanwhile, the rest is left to that.
            parent_run_id: run below which it is shown; None: the one that its header names.

        Returns:
            Id of its MLflow run.
        """
        found = folder.header
        header = replace(found, parent_run_id=parent_run_id or found.parent_run_id)
        run_id = self.start_run(header, folder.config_yaml)
        # Kept at once: an upload that is killed goes on in the same MLflow run.
        if folder.replace_header(found, replace(header, mlflow_run_id=run_id, mlflow_uri=self.uri)):
            self.finish(run_id, folder, folder.result if folder.finished else None, folder.state)
        return run_id

    def complete_copy(self, run_id: str, folder: RunFolder, origin: str) -> None:
        """Record a finished run a second time, without its files.

        Args:
            run_id: from `start_run`.
            folder: folder of the run.
            origin: id of its first MLflow run, or its key if it has none.
        """
        self.client.set_tag(run_id, "copied_from", origin)
        self.finish(run_id, folder, folder.result, RunState.finished, files=False)

    def group(
        self, run_id: str, name: str, tags: Mapping[str, str], parent_run_id: str | None = None, started: int | None = None
    ) -> str:
        """A run that others are shown below, made unless this store has it; returns its id.

        Args:
            run_id: id that it should have; empty if it was never made.
            name: name of the run.
            tags: set on an existing run as well.
            parent_run_id: run below which it is shown itself.
            started: Unix time in milliseconds of a new run; None: now. MLflow cannot change it later.
        """
        every = dict(tags) | ({PARENT: parent_run_id} if parent_run_id else {})
        if self.active(run_id) is None:
            shown = {tag.key: tag.value for tag in as_tags(every)}
            run_name = shorten(name, RUN_NAME_LENGTH)
            with sent_once():
                made = self.client.create_run(self.experiment_id, start_time=started, tags=shown, run_name=run_name)
            return str(made.info.run_id)
        self.client.log_batch(run_id, tags=as_tags(every))
        return run_id

    def rows_below(self, run_id: str) -> dict[str, dict[str, str]]:
        """The rows of a study: id -> parameters."""
        found = self._search(f"tags.`{PARENT}` = '{run_id}' and tags.kind = 'row'")
        return {str(run.info.run_id): run.data.params for run in found}

    def below(self, run_id: str) -> list[Run]:
        """All runs that are shown directly below another one."""
        return self._search(f"tags.`{PARENT}` = '{run_id}'")

    def _search(self, condition: str) -> list[Run]:
        found: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], condition, max_results=PAGE, page_token=token)
            found += page
            if not (token := page.token):
                return found

    def set_aside(self, run_id: str, label: str) -> None:
        """Mark a row whose settings have changed as an earlier one: MLflow cannot change parameters."""
        self.client.update_run(run_id, name=shorten(f"{label} (earlier settings)", RUN_NAME_LENGTH))
        self.client.set_tag(run_id, "kind", EARLIER_ROW)

    def show_as(self, states: Mapping[str, RunState], begun: bool = True, ended: Mapping[str, int] | None = None) -> None:
        """Show runs in these states.

        Args:
            states: id -> state.
            begun: see `mlflow_status`.
            ended: id -> Unix time in milliseconds at which it ended; the others that neither run nor are to come end now.
        """
        for run_id, state in states.items():
            status = mlflow_status(state, begun)
            if status in ("RUNNING", "SCHEDULED"):
                self.client.update_run(run_id, status=status)
            else:
                self.client.set_terminated(run_id, status, (ended or {}).get(run_id))

    def log_summary(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        """Record what belongs to no epoch, in as few requests as MLflow allows.

        Args:
            run_id: id of the run.
            metrics: those that are not numbers are left out: one seed has no spread.
            tags: set, or changed.
            params: those that the run does not have yet, since MLflow cannot change them.
        """
        now = int(time.time() * 1000)
        known = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.client.log_batch(
            run_id,
            metrics=[Metric(parameter_name(name), value, now, 0) for name, value in known.items()],
            params=[Param(name, shorten(value, PARAM_LENGTH)) for name, value in (params or {}).items()],
            tags=as_tags(tags or {}),
        )

    def describe(self, run_id: str, study: str, text: str) -> None:
        """Make a text the part of a study in the description of its run and of the experiment.

        Args:
            run_id: run of the study.
            study: its name.
            text: Markdown.
        """
        run, experiment = self.client.get_run(run_id), self.client.get_experiment(self.experiment_id)
        self.client.set_tag(run_id, NOTE, with_part(run.data.tags.get(NOTE, ""), study, text))
        self.client.set_experiment_tag(self.experiment_id, NOTE, with_part(experiment.tags.get(NOTE, ""), study, text))

    def log_files(self, run_id: str, files: Iterable[Path], place: str) -> None:
        """Copy files into a folder of a run."""
        for file in files:
            self.client.log_artifact(run_id, str(file), place)

    def nest(
        self, run_id: str, parent_run_id: str, metrics: Mapping[str, float] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Show a run below another one, and record what belongs to no epoch."""
        self.log_summary(run_id, metrics or {}, {**(tags or {}), PARENT: parent_run_id})

    def parent_of(self, run: Run) -> str | None:
        """The id of the run that it is shown below; None if it stands alone."""
        return run.data.tags.get(PARENT)


@contextmanager
def sent_once() -> Iterator[None]:
    """Requests within are sent once, for what makes something new.

    MLflow repeats a request that was not answered in time, whatever it does. A server that was only late has then made two runs,
    and the first one stays for ever. Without an answer the run is found later by its tag, see `run_of_attempt`.
    """
    with _creation:
        earlier = os.environ[RETRIES]
        os.environ[RETRIES] = "0"
        try:
            yield
        finally:
            os.environ[RETRIES] = earlier


def _silence() -> None:
    """Keep MLflow's and Alembic's messages off the console; failures arrive as exceptions all the same."""
    for name in ("mlflow", "alembic", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
