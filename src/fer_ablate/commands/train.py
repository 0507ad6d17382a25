"""`train`: one run from config to recorded result; what is finished is shown, what was interrupted goes on."""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fer_ablate.commands import console, intro
from fer_ablate.commands.request import Request, run_hydra
from fer_ablate.config.choices import Mode
from fer_ablate.config.compose import to_yaml
from fer_ablate.config.key import code_digest, run_key, short
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.report.run_pictures import save_pictures
from fer_ablate.tracking.recorder import build_recorder, upload_pending
from fer_ablate.tracking.run_folder import RunFolder, RunHeader, StoredPredictions
from fer_ablate.training.assembly import RoleSet, role_set
from fer_ablate.training.hardware import use_threads
from fer_ablate.training.processes import launch, leave_group, rank
from fer_ablate.training.result import RunResult
from fer_ablate.training.run import Outcome, Task, assess, finished_epochs, fit


def run(arguments: Sequence[str]) -> int:
    """Train what the config says."""
    return run_hydra(arguments, train)


def train(request: Request) -> int:
    """Do one run, in this process or in several of its own."""
    if request.config.trainer.devices > 1 and not request.config.trainer.fast_dev_run:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "request.json"
            request.save(file)
            launch([sys.executable, "-m", "fer_ablate", "worker", str(file)], request.config.trainer.devices)
        return 0
    return train_here(request)


def train_here(request: Request) -> int:
    """Do one run as one of the processes that share it; the first of them records it, tests it and talks."""
    console.quiet_libraries()
    config = request.config
    use_threads(config.trainer)
    with console.bar("reading the images") as tell:
        data = role_set(config, load_faces(config.data, tell))
    digest = code_digest(config.plugins)
    key = run_key(config, data.faces.digest, digest)
    if config.trainer.fast_dev_run:
        return _dev_run(request, data, key)
    folder = RunFolder(_path(request, key))
    task = Task(config, request.name, key, data, folder.checkpoints, rank())
    if task.rank > 0:
        fit(task)
        return 0
    if folder.status == "finished" and not config.force:
        intro.show(request, task, 0)
        console.console.print(f"\n  finished {folder.result.finished_at}; nothing to train (force=true trains it again)\n")
        _show_result(folder, folder.result)
        return 0
    with folder.lock():
        if config.force:
            folder.clear()
        header = RunHeader(
            key=key,
            name=request.name,
            seed=config.seed,
            experiment=config.tracking.experiment,
            changed=request.changed,
            overrides=request.overrides,
            data_digest=data.faces.digest,
            code_digest=digest,
            dataset={"name": config.data.source.name, **{role: len(rows) for role, rows in data.roles.items()}},
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return _recorded(request, task, folder, header)


def _recorded(request: Request, task: Task, folder: RunFolder, header: RunHeader) -> int:
    """Train, test and record; whatever ends the run early is recorded as well."""
    config = request.config
    intro.show(request, task, finished_epochs(folder.checkpoints))
    folder.write_config(to_yaml(config))
    recorder = build_recorder(config.tracking, config.runs_dir, folder)
    recorder.start(header)
    progress = _progress(request)
    try:
        module = fit(task, [recorder, progress], [progress])
        if config.trainer.devices > 1:
            leave_group()
        with console.bar("testing") as tell:
            outcome = assess(task, module, tell)
        _keep(outcome, task.data, folder)
    except BaseException as error:
        recorder.finish(None, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    recorder.finish(outcome.result, "FINISHED")
    folder.last_checkpoint.unlink(missing_ok=True)  # three times the weights; a finished run needs only those
    console.console.print()
    _show_result(folder, outcome.result)
    _bring_others(request, recorder.warning)
    return 0


def _keep(outcome: Outcome, data: RoleSet, folder: RunFolder) -> None:
    found, faces = outcome.predictions, data.faces
    folder.write_predictions(
        StoredPredictions(found.rows, faces.usage[found.rows].astype(np.int64), found.labels, found.probabilities)
    )
    test = found.of(data.roles["test"])
    save_pictures(folder, outcome.result, faces.faces[test.rows], test.labels, test.probabilities)


def _bring_others(request: Request, warning: str) -> None:
    """Say what MLflow lacks; if it answers again, bring it what earlier runs could not."""
    tracking = request.config.tracking
    if not warning and tracking.enabled:
        try:
            upload_pending(Path(request.config.runs_dir), tracking)
        except UserError as error:
            warning = str(error)
    if warning:
        console.console.print(f"  note: {warning}", style="yellow")


def _dev_run(request: Request, data: RoleSet, key: str) -> int:
    """A few batches of everything, to see whether it works; nothing is kept."""
    alone = replace(request.config, trainer=replace(request.config.trainer, devices=1, strategy="auto"))
    with tempfile.TemporaryDirectory() as folder:
        task = Task(alone, request.name, key, data, Path(folder))
        intro.show(request, task, 0)
        outcome = assess(task, fit(task))
    console.console.print()
    console.split_table(outcome.result.splits)
    console.console.print(
        f"  {console.counted(request.config.trainer.fast_dev_run, 'batch', 'batches')} of everything worked; nothing was kept"
    )
    return 0


def _progress(request: Request) -> console.TrainingProgress:
    trainer = request.config.trainer
    higher = trainer.mode is Mode.max
    return console.TrainingProgress(trainer.max_epochs, trainer.monitor, lambda new, old: new > old if higher else new < old)


def _show_result(folder: RunFolder, result: RunResult) -> None:
    console.split_table(result.splits)
    console.console.print()
    console.class_table(result.splits, "test")
    console.console.print()
    per_epoch = (
        f"{console.counted(result.epochs, 'epoch')} in {console.duration(result.seconds)}, {result.seconds_per_epoch:.1f} s each"
    )
    tested = f"weights of epoch {result.best_epoch}, {result.parameters:,} parameters, {result.macs / 1e6:,.1f} M MACs"
    header = folder.header
    rows = [
        ("trained", f"{per_epoch}, {result.peak_memory_mb:,.0f} MiB"),
        ("tested", tested),
        ("run", f"{short(result.key)}  {folder.path}/"),
        ("pictures", ", ".join(file.name for file in folder.artifacts if file.suffix == ".png")),
        ("again", f"python -m fer_ablate evaluate run={short(result.key)} evaluation.tta=flip"),
    ]
    if header.mlflow_uri:
        rows.append(("compare", f"mlflow ui --backend-store-uri {header.mlflow_uri}   (there: Model training, top left)"))
    console.facts(rows)


def _path(request: Request, key: str) -> Path:
    """`runs/<experiment>/<name>-s<seed>-<key>`, safe as a file name; where this very run exists by another name, that one."""
    config = request.config
    for existing in sorted(Path(config.runs_dir).glob(f"*/*-{short(key)}")):
        return existing
    name = re.sub(r"[^\w=.+-]+", "_", request.name)[:60].strip("_.")
    experiment = re.sub(r"[^\w=.+-]+", "_", config.tracking.experiment)
    return Path(config.runs_dir) / experiment / f"{name}-s{config.seed}-{short(key)}"
