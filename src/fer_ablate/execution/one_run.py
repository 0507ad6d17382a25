"""One run from config to recorded result; what is finished is shown, what was interrupted goes on."""

import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fer_ablate.cli import console
from fer_ablate.cli.request import Request
from fer_ablate.config.choices import Mode
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.key import code_digest, relevant, run_key, short
from fer_ablate.config.schema import Config
from fer_ablate.data.load import load_faces
from fer_ablate.data.summary import record
from fer_ablate.errors import UserError
from fer_ablate.execution import log_model, run_output, run_summary
from fer_ablate.report.quantities import duration
from fer_ablate.search.pruning import Pruned, build_pruning
from fer_ablate.tracking.disk.places import run_path
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader, StoredPredictions
from fer_ablate.tracking.disk.starting import resolve_start
from fer_ablate.tracking.recorder import build_recorder, upload_pending
from fer_ablate.training.assembly import RoleSet, role_set
from fer_ablate.training.hardware import use_threads
from fer_ablate.training.processes import launch, leave_group, rank
from fer_ablate.training.result import RunResult
from fer_ablate.training.run import Outcome, Task, assess, finished_epochs, fit
from fer_ablate.training.start import Start


def train(request: Request) -> str:
    """Do one run, in this process or in several of its own; the key of the run."""
    config = request.config
    if config.trainer.devices > 1 and not config.trainer.fast_dev_run:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "request.json"
            request.save(file)
            launch([sys.executable, "-m", "fer_ablate", "worker", str(file)], config.trainer.devices)
        return request.key or _identity(config, role_set(config, load_faces(config.data))).key
    return train_here(request)


def train_here(request: Request) -> str:
    """Do one run as one of the processes that share it; the first of them records it, tests it and talks.

    Returns:
        The key of the run.

    Raises:
        BusyError: another process trains this run.
        Pruned: the search that the run belongs to gave it up.
        UserError: something from outside is wrong; like any error of a training it is kept in the run's folder.
    """
    console.quiet_libraries()
    config, runs_dir = request.config, Path(request.config.runs_dir)
    use_threads(config.trainer)
    with _bar(request, "reading the images") as tell:
        data = role_set(config, load_faces(config.data, tell))
    identity = _identity(config, data)
    key = identity.key
    if config.trainer.fast_dev_run:
        _dev_run(request, data, key)
        return key
    folder = RunFolder(run_path(runs_dir, config.tracking.experiment, request.name, config.seed, key))
    task = Task(config, request.name, key, data, folder.checkpoints, rank(), identity.start)
    if task.rank > 0:
        fit(task)
        return key
    if folder.status == "finished" and not config.force:
        _show_finished(request, task, folder)
        return key
    with folder.lock():
        if config.force:
            folder.clear()
        _recorded(request, task, folder, _header(request, task, identity.code))
    return key


@dataclass(frozen=True)
class _Identity:
    """What tells a run from every other: its key, and what that is made from beside config and images."""

    key: str
    code: str
    start: Start | None


def _identity(config: Config, data: RoleSet) -> _Identity:
    start = resolve_start(config.init_from, Path(config.runs_dir)) if config.init_from is not None else None
    code = code_digest(config.plugins)
    return _Identity(run_key(config, data.faces.digest, code, start.identity if start is not None else None), code, start)


def _header(request: Request, task: Task, code: str) -> RunHeader:
    config, data = request.config, task.data
    return RunHeader(
        key=task.key,
        name=request.name,
        seed=config.seed,
        experiment=config.tracking.experiment,
        changed=request.changed,
        overrides=request.overrides,
        settings=relevant(config),
        data_digest=data.faces.digest,
        code_digest=code,
        dataset=record(config.data.source.name, data.faces, data.roles, data.preset, data.notes),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        parent_run_id=config.tracking.parent,
    )


def _recorded(request: Request, task: Task, folder: RunFolder, header: RunHeader) -> None:
    """Train, test and record; whatever ends the run early is recorded as well."""
    config = request.config
    run_summary.show(request, task, finished_epochs(folder.checkpoints))
    folder.write_config(to_yaml(config))
    recorder = build_recorder(config.tracking, config.runs_dir, folder)
    recorder.start(header)
    progress = _progress(request)
    try:
        pruning = build_pruning(config, folder.history)
        watching = [progress, pruning] if pruning is not None else [progress]
        module = fit(task, [recorder, *watching], watching)
        if config.trainer.devices > 1:
            leave_group()
        with _bar(request, "testing") as tell:
            outcome = assess(task, module, tell)
        _keep(outcome, task, folder)
        folder.write_result(outcome.result)
    except BaseException as error:
        recorder.finish(None, _mark(folder, error))
        raise
    # From here on the run is a finished one: nothing that still goes wrong may fail it.
    with _bar(request, "drawing the pictures"):
        problems = run_output.draw(task, folder, outcome.result, outcome.predictions)
    recorder.finish(outcome.result, "FINISHED")
    run_output.make_room(folder)
    _show_result(request, folder, outcome.result)
    model = ""
    if log_model.wants_model(config):
        with _bar(request, "logging the model in MLflow"):
            model, problem = run_output.leave_model(task, folder, recorder.warning)
        problems += [problem] if problem else []
    if model and not request.place:
        console.facts([("model", model)])
    _tell(request, [*problems, *([recorder.warning] if recorder.warning else [])])
    if not recorder.warning:
        _bring_others(request)


def _mark(folder: RunFolder, error: BaseException) -> str:
    """Keep what ended the run in its folder, where MLflow takes it from; the status that MLflow shows."""
    if isinstance(error, Pruned):
        folder.write_pruned(error.epoch, error.value, error.metric)
    elif isinstance(error, Exception):
        with suppress(UserError):  # on a full disk the first error is the one to tell
            folder.write_failure(str(error) or type(error).__name__, traceback.format_exc())
        return "FAILED"
    return "KILLED"


def _keep(outcome: Outcome, task: Task, folder: RunFolder) -> None:
    found, faces = outcome.predictions, task.data.faces
    splits = {name: np.isin(found.rows, rows) for name, rows in task.tested.items()}
    usage = faces.usage[found.rows].astype(np.int64)
    folder.write_predictions(StoredPredictions(found.rows, usage, found.labels, found.probabilities, splits))


def _bring_others(request: Request) -> None:
    """Bring MLflow what earlier runs could not; it answers again."""
    tracking = request.config.tracking
    if tracking.enabled:
        try:
            upload_pending(Path(request.config.runs_dir), tracking)
        except Exception as error:  # whatever is wrong with other runs must not fail this one
            _tell(request, [str(error)])


def _tell(request: Request, problems: Iterable[str]) -> None:
    """Say what the finished run lacks."""
    whose = f"{request.title}: " if request.place else ""
    for problem in problems:
        console.console.print(f"  {whose}note: {problem}", style="yellow")


def _dev_run(request: Request, data: RoleSet, key: str) -> None:
    """A few batches of everything, to see whether it works; nothing is kept."""
    alone = replace(request.config, trainer=replace(request.config.trainer, devices=1, strategy="auto"))
    with tempfile.TemporaryDirectory() as folder:
        task = Task(alone, request.name, key, data, Path(folder))
        run_summary.show(request, task, 0)
        outcome = assess(task, fit(task))
    console.console.print()
    console.split_table(outcome.result.splits)
    console.console.print(
        f"  {console.counted(request.config.trainer.fast_dev_run, 'batch', 'batches')} of everything worked; nothing was kept"
    )


def _bar(request: Request, title: str) -> AbstractContextManager[Callable[[float], None]]:
    """A bar for one run; those of a sweep would draw over each other."""
    return nullcontext(lambda fraction: None) if request.place else console.bar(title)


def _progress(request: Request) -> console.TrainingProgress:
    trainer = request.config.trainer
    higher = trainer.mode is Mode.max
    return console.TrainingProgress(
        trainer.max_epochs,
        trainer.monitor,
        lambda new, old: new > old if higher else new < old,
        request.title if request.place else "",
    )


def _show_finished(request: Request, task: Task, folder: RunFolder) -> None:
    if request.place:
        console.console.print(f"  {request.title}: finished {folder.result.finished_at}")
        return
    run_summary.show(request, task, 0)
    console.console.print(f"\n  finished {folder.result.finished_at}; nothing to train (force=true trains it again)")
    with _bar(request, "drawing the pictures"):
        problems = run_output.draw_missing(task, folder)
    _show_result(request, folder, folder.result)
    _tell(request, dict.fromkeys([*problems, *folder.notes.values()]))


def _show_result(request: Request, folder: RunFolder, result: RunResult) -> None:
    per_epoch = f"{result.seconds_per_epoch:.1f} s each"
    trained = f"{console.counted(result.epochs, 'epoch')} in {duration(result.seconds)}"
    if request.place:
        scores = "  ".join(f"{name}/acc {result.splits[name].metrics['acc']:.4f}" for name in ("val", "test"))
        console.console.print(f"  {request.title}: {scores}  {trained}")
        return
    console.console.print()
    console.split_table(result.splits)
    console.console.print()
    console.class_table(result.splits, "test")
    console.console.print()
    header = folder.header
    rows = [
        ("trained", f"{trained}, {per_epoch}, {result.peak_memory_mb:,.0f} MiB"),
        (
            "tested",
            f"weights of epoch {result.best_epoch}, {result.parameters:,} parameters, {result.macs / 1e6:,.1f} M MACs",
        ),
        ("run", f"{short(result.key)}  {folder.path}/"),
        ("pictures", ", ".join(_pictures(folder))),
        ("again", f"python -m fer_ablate evaluate run={short(result.key)} evaluation.tta=flip"),
    ]
    if header.mlflow_uri:
        rows.append(("compare", f"mlflow ui --backend-store-uri {header.mlflow_uri}   (there: Model training, top left)"))
    console.facts(rows)


def _pictures(folder: RunFolder) -> list[str]:
    """Pictures of a run as they are found in its folder; contact sheets together."""
    found = [file for file in folder.artifacts if file.suffix == ".png"]
    sheets = sum(file.parent == folder.sheets for file in found)
    return [
        *(file.name for file in found if file.parent == folder.path),
        *([f"{folder.sheets.name}/ ({sheets})"] if sheets else []),
    ]
