"""One run from its config to a recorded result.

A finished run is only shown, an interrupted one is resumed, and one with more epochs than a finished one may continue that.
"""

import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fer_ablate.addresses import hide
from fer_ablate.cli import console
from fer_ablate.cli.quiet_libraries import quiet_libraries
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.cli.training_progress import TrainingProgress
from fer_ablate.config.choices import Mode
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.key import KEY_RULES, short
from fer_ablate.config.schema import Config
from fer_ablate.data.load import load_faces
from fer_ablate.data.summary import dataset_record
from fer_ablate.errors import UserError
from fer_ablate.execution import run_output, run_summary
from fer_ablate.execution.continuing import begin_with_shorter, origin_of, placed
from fer_ablate.execution.left_over import remove_state
from fer_ablate.execution.received import Received, is_elsewhere
from fer_ablate.report.plots.run import RunFaces
from fer_ablate.search.pruning import Pruned, Pruning, build_pruning
from fer_ablate.tracking.disk.lookup import resolve_start
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader, StoredPredictions
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.tracking.recorder import build_recorder, upload_pending
from fer_ablate.training.continuing import continued_state
from fer_ablate.training.dry_batch import dry_batch
from fer_ablate.training.hardware import use_threads
from fer_ablate.training.identity import RunIdentity, run_identity
from fer_ablate.training.processes import launch, leave_group, rank
from fer_ablate.training.role_set import RoleSet, role_set
from fer_ablate.training.run import PreparedRun, TrainedRun, assess, finished_epochs, fit
from fer_ablate.training.start import Start, output_notes


@dataclass(frozen=True)
class RunOutcome:
    """A finished run.

    Args:
        key: of the run.
        faces: what its pictures are drawn from, if the run left them to the sweep.
    """

    key: str
    faces: RunFaces | None = None


def train(spec: RunSpec) -> RunOutcome:
    """Do one run, in this process or in several of its own.

    Raises:
        BusyError, Pruned, UserError: as `train_here`.
    """
    config = spec.config
    # A command of its own, since Lightning would repeat that of this process, which may be a whole sweep.
    if config.trainer.devices > 1 and not config.trainer.fast_dev_run:
        key = spec.key
        if not spec.folder:
            data = role_set(config, load_faces(config.data, plugins=config.plugins))
            key = (identity := _identity(config, data, _start(config))).key
            spec, notes = placed(spec, identity)
            _show_notes(spec, notes)
        if spec.continues:
            # Before the processes start, since each of them looks for a state to go on from.
            folder = RunFolder(Path(spec.folder))
            with folder.lock():
                _show_notes(spec, begin_with_shorter(spec, folder, key))
        with tempfile.TemporaryDirectory() as specs:
            file = Path(specs) / "spec.json"
            replace(spec, draws=True).save(file)
            launch([sys.executable, "-m", "fer_ablate", "worker", str(file)], config.trainer.devices)
        return RunOutcome(key)
    return train_here(spec)


def train_here(spec: RunSpec) -> RunOutcome:
    """Do one run as one of the processes that share it; the first of them records it, tests it and prints.

    Raises:
        BusyError: another process trains this run.
        Pruned: the search that the run belongs to stopped it.
        UserError: something from outside is wrong, or the result that is there is of code that this version does not know; like
            any error of a training it is kept in the run's folder.
    """
    quiet_libraries()
    config = spec.config
    use_threads(config.trainer)
    with _bar(spec, "reading the images") as report_progress:
        received = Received(Path(spec.received)) if spec.received else None
        data = role_set(
            config, received.faces(report_progress) if received else load_faces(config.data, report_progress, config.plugins)
        )
    start = received.start() if received else _start(config)
    notes = [*dry_batch(config, data.faces), *output_notes(start, data.faces.classes)]
    if rank() == 0 and not spec.place:  # a sweep has shown them, once for all its runs
        _show_notes(spec, notes)
    # A planned run has its key already, but images, code and machine may be others by now: what is trained decides the key.
    identity = _identity(config, data, start)
    key = identity.key
    if spec.key and spec.key != key:
        raise UserError(_other_machine(spec, identity))
    if config.trainer.fast_dev_run:
        _dev_run(spec, data, key)
        return RunOutcome(key)
    # A plan has scanned the disk already, and knows the folder of a run with this key.
    if not spec.folder:
        spec, notes = placed(spec, identity)
        _show_notes(spec, notes)
    folder = RunFolder(Path(spec.folder))
    prepared = PreparedRun(config, spec.name, key, data, folder.checkpoints, rank(), start)
    # Before the lock, which the first process holds for all of them.
    if prepared.rank > 0:
        fit(prepared)
        return RunOutcome(key)
    if config.force or not folder.finished:
        with folder.lock():
            if config.force:
                # Only with the lock: without it another process may be training this very run.
                folder.clear()
            # Asked once more, since another process may have finished it while this one waited.
            if not folder.finished:
                _show_notes(spec, begin_with_shorter(spec, folder, key))
                return RunOutcome(key, _train_and_record(spec, prepared, folder, _header(spec, prepared, folder, identity)))
    _check_code(folder, key)
    _show_finished(spec, prepared, folder)
    return RunOutcome(key)


def _pruning(spec: RunSpec, folder: RunFolder) -> Pruning | None:
    """The pruning of the run; None if it is no trial of a search, or if this machine cannot reach the search's database.

    Raises:
        UserError: the database does not answer, although the run was planned on this machine.
    """
    storage = spec.config.search.storage
    if spec.received and storage is not None and is_elsewhere(storage):
        return None
    try:
        return build_pruning(spec.config, folder.history)
    except UserError as error:
        if not spec.received:
            raise
        _show_notes(spec, [f"This trial is not pruned. {error}"])
        return None


def _start(config: Config) -> Start | None:
    return resolve_start(config.init_from, Path(config.runs_dir)) if config.init_from is not None else None


def _identity(config: Config, data: RoleSet, start: Start | None) -> RunIdentity:
    return run_identity(config, data.faces.digest, start, data.faces.classes)


def _other_machine(spec: RunSpec, identity: RunIdentity) -> str:
    """Message for a run that was planned on a machine where it would have been another one."""
    number_format = identity.settings["trainer.precision"]
    return (
        f"{spec.name} was planned as run {short(spec.key)} but is run {short(identity.key)} on this machine: its number format "
        f"({number_format}), images or code differ from those where it was planned. Type trainer.precision={number_format} with "
        "the study for the format; the same version of fer_ablate and the same images are needed on both."
    )


def _header(spec: RunSpec, prepared: PreparedRun, folder: RunFolder, identity: RunIdentity) -> RunHeader:
    config, data = spec.config, prepared.data
    continued_from, continued_after = origin_of(folder)
    return RunHeader(
        key=prepared.key,
        name=spec.name,
        seed=config.seed,
        experiment=config.tracking.experiment,
        # A value may hold an address with a password somewhere within it.
        changed={key: hide(value) for key, value in spec.changed.items()},
        overrides=[hide(word) for word in spec.overrides],
        settings=identity.settings,
        data_digest=identity.data_digest,
        code_digest=identity.code_digest,
        key_rules=KEY_RULES,
        dataset=dataset_record(config.data.source.name, data.faces, data.roles, data.preset, data.notes),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parent_run_id=config.tracking.parent,
        continued_from=continued_from,
        continued_after=continued_after,
    )


def _train_and_record(spec: RunSpec, prepared: PreparedRun, folder: RunFolder, header: RunHeader) -> RunFaces | None:
    """Train, test and record; an error or a stop is recorded as well.

    Returns:
        What the pictures of the run are drawn from, if the sweep draws them.
    """
    config = spec.config
    run_summary.show_start(spec, prepared, finished_epochs(folder.checkpoints), continued_state(folder.checkpoints))
    folder.write_config(to_yaml(config))
    # The machine that planned the run sends it to MLflow: this one does not see a file there, and has no credentials of a server.
    apart = bool(spec.received)
    tracking = replace(config.tracking, enabled=False) if apart else config.tracking
    recorder = build_recorder(tracking, config.runs_dir, folder)
    recorder.start(header)
    progress = _progress(spec, folder)
    try:
        pruning = _pruning(spec, folder)
        observers = [progress, pruning] if pruning is not None else [progress]
        module = fit(prepared, [recorder, *observers], observers)
        if config.trainer.devices > 1:
            leave_group()
        with _bar(spec, "testing") as report_progress:
            trained = assess(prepared, module, report_progress)
        _write_predictions(trained, prepared, folder)
        # Last of all, since it is the file that makes a run finished.
        folder.write_result(trained.result)
    # BaseException, since MLflow has to hear of an interrupted run as well.
    except BaseException as error:
        recorder.finish(None, _record_end(folder, error))
        raise
    # From here on the run is finished: nothing that still goes wrong may fail it.
    faces: RunFaces | None = None
    with _bar(spec, "drawing the pictures"):
        if spec.draws:
            problems = run_output.draw(prepared, folder, trained.result, trained.predictions)
        else:
            faces, problems = run_output.faces_to_draw(prepared, folder, trained.predictions)
    # After the pictures, because it copies them to MLflow.
    recorder.finish(trained.result, RunState.finished)
    if not config.trainer.save_last:
        run_output.remove_resume_state(folder)
    run_summary.show_result(spec, folder, trained.result)
    model = ""
    if run_output.logs_model(config):
        with _bar(spec, "logging the model in MLflow"):
            model, problem = run_output.log_model(prepared, folder, recorder.warning or ("apart" if apart else ""))
        problems += [problem] if problem else []
    if model and not spec.place:
        console.facts([("model", model)])
    _show_notes(spec, [*problems, *recorder.warnings])
    # A sweep does that itself, once for all its runs.
    if not recorder.warning and not spec.place:
        _upload_earlier_runs(spec)
    return faces


def _record_end(folder: RunFolder, error: BaseException) -> RunState:
    """Record in the folder what ended the run, which MLflow is sent from there; returns the state of the run."""
    if isinstance(error, Pruned):
        folder.write_pruned(error.epoch, error.value, error.metric)
        return RunState.pruned
    if isinstance(error, Exception):
        with suppress(UserError):  # on a full disk the first error matters more
            folder.write_failure(str(error) or type(error).__name__, traceback.format_exc())
        return RunState.failed
    return RunState.missing  # interrupted: no fault of the run, which the same command resumes


def _write_predictions(trained: TrainedRun, prepared: PreparedRun, folder: RunFolder) -> None:
    found, faces = trained.predictions, prepared.data.faces
    splits = {name: np.isin(found.rows, rows) for name, rows in prepared.tested.items()}
    usage = faces.usage[found.rows].astype(np.int64)
    groups = faces.groups[found.rows] if faces.groups is not None else None
    folder.write_predictions(StoredPredictions(found.rows, usage, found.labels, found.probabilities, splits, groups))


def _upload_earlier_runs(spec: RunSpec) -> None:
    """Send earlier runs that MLflow missed, now that it answers."""
    tracking = spec.config.tracking
    if tracking.enabled:
        try:
            upload_pending(Path(spec.config.runs_dir), tracking, elsewhere=False)
        except Exception as error:  # whatever is wrong with other runs must not fail this one
            _show_notes(spec, [str(error)])


def _show_notes(spec: RunSpec, problems: Iterable[str]) -> None:
    """Print what the finished run lacks."""
    title = f"{spec.title}: " if spec.place else ""
    for problem in problems:
        console.console.print(f"  {title}note: {problem}", style="yellow")


def _dev_run(spec: RunSpec, data: RoleSet, key: str) -> None:
    """Train and test a few batches, to see whether everything works; nothing is kept."""
    # One process is enough to see whether everything works, and needs no command of its own.
    alone = replace(spec.config, trainer=replace(spec.config.trainer, devices=1, strategy="auto"))
    with tempfile.TemporaryDirectory() as folder:
        prepared = PreparedRun(alone, spec.name, key, data, Path(folder))
        run_summary.show_start(spec, prepared, 0)
        trained = assess(prepared, fit(prepared))
    console.console.print()
    console.split_table(trained.result.splits)
    console.console.print(
        f"  {console.counted(spec.config.trainer.fast_dev_run, 'batch', 'batches')} of everything worked; nothing was kept"
    )


def _bar(spec: RunSpec, title: str) -> AbstractContextManager[Callable[[float], None]]:
    """A progress bar; none in a sweep, where several would draw over each other."""
    return nullcontext(lambda fraction: None) if spec.place else console.bar(title)


def _progress(spec: RunSpec, folder: RunFolder) -> TrainingProgress:
    trainer = spec.config.trainer
    higher = trainer.mode is Mode.max
    progress = TrainingProgress(
        trainer.max_epochs,
        trainer.monitor,
        lambda new, old: new > old if higher else new < old,
        spec.title if spec.place else "",
        folder.path,
    )
    # A run that goes on has epochs already, and one of them may be the best.
    earlier = [row[trainer.monitor] for row in folder.history if trainer.monitor in row]
    if earlier and folder.last_checkpoint.is_file():
        progress.best = max(earlier) if higher else min(earlier)
    return progress


def _check_code(folder: RunFolder, key: str) -> None:
    """Refuse a result whose code is listed in another version only: whether it is the result of this run cannot be told.

    Raises:
        UserError: with the ways out.
    """
    try:
        header = folder.header
    except UserError:  # it is lost or damaged, and nothing can be said
        return
    if header.key != key:
        raise UserError(
            f"{folder.path} has a result of code {header.code_digest}, which this version of fer_ablate does not know, so it "
            "cannot tell whether the result counts. Go back to the version that trained it, or train it again with force=true."
        )


def _show_finished(spec: RunSpec, prepared: PreparedRun, folder: RunFolder) -> None:
    remove_state(folder)
    if spec.place:
        console.console.print(f"  {spec.title}: finished {folder.result.finished_at}")
        return
    run_summary.show_start(spec, prepared, 0)
    console.console.print(f"\n  finished {folder.result.finished_at}; nothing to train (force=true trains it again)")
    with _bar(spec, "drawing the pictures"):
        problems = run_output.draw_missing(prepared, folder)
    run_summary.show_result(spec, folder, folder.result)
    if spec.config.trainer.save_last and not folder.last_checkpoint.is_file():
        problems.append("Its last.ckpt was not kept when it was trained, so no run with more epochs can continue it.")
    _show_notes(spec, dict.fromkeys([*problems, *folder.notes.values()]))
