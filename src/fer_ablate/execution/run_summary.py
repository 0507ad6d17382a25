"""What people read about one run: what it is before it starts, and its result when it has ended."""

from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.environment import recorded
from fer_ablate.config.key import short
from fer_ablate.config.overrides import quoted
from fer_ablate.config.schema import Config, TrainerConfig
from fer_ablate.config.study_rows import repeat_of
from fer_ablate.data.summary import class_counts, class_counts_text, left_out_text
from fer_ablate.execution.mlflow_pages import page_facts
from fer_ablate.report.quantities import duration
from fer_ablate.shell import program
from fer_ablate.sizes import spelled
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training.continuing import ContinuedState
from fer_ablate.training.hardware import environment
from fer_ablate.training.result import RunResult
from fer_ablate.training.role_set import RoleSet
from fer_ablate.training.run import PreparedRun

USUAL_RUNS = "runs"
"""Folder of all runs unless another is given, see conf/config.yaml."""


def show_start(spec: RunSpec, prepared: PreparedRun, finished: int, continued: ContinuedState | None = None) -> None:
    """Print what the run is, first of all what differs from the defaults; in a sweep a single line.

    Args:
        spec: spec of the run.
        prepared: the run with its images.
        finished: epochs that are already trained.
        continued: the shorter run that they were trained by; None: they are its own.
    """
    goes_on = ("continues", f"from epoch {finished} of {continued.name}") if continued else ("resumes", f"after epoch {finished}")
    if spec.place:
        console.console.print(f"  {spec.title} ...{'  ' + ' '.join(goes_on) if finished else ''}")
        return
    config, data, where = spec.config, prepared.data, environment(prepared.hardware)
    trainer = config.trainer
    steps, images = _steps(trainer, len(data.roles["train"])), trainer.batch_size * trainer.accumulate
    share = f" on {trainer.devices} devices" if trainer.devices > 1 else ""
    optimizer, scheduler = config.optimizer, config.scheduler
    rows = [
        ("run", f"{spec.name}  ({repeat_of(config)}, key {short(prepared.key)})"),
        *(("changed" if number == 0 else "", line) for number, line in enumerate(spec.described or ["nothing: all defaults"])),
        *_images(config.data.source.name, data),
        (
            "training",
            f"{optimizer['name']} lr {optimizer['lr']:g}, {scheduler['name']}, {config.loss.name}; "
            f"{console.counted(trainer.max_epochs, 'epoch')} x {console.counted(steps, 'step')} of {images}",
        ),
        ("device", f"{where['hardware']}, {console.counted(int(where['threads']), 'thread')}, {where['precision']}{share}"),
    ]
    rows += [("note", note) for note in data.notes]
    if finished:
        rows.append(goes_on)
    console.facts(rows)


def show_result(spec: RunSpec, folder: RunFolder, result: RunResult) -> None:
    """Print the scores and costs of a finished run; in a sweep a single line.

    Args:
        spec: spec of the run.
        folder: folder of the run.
        result: result of the run.
    """
    per_epoch = f"{result.seconds_per_epoch:.1f} s each"
    trained = f"{console.counted(result.epochs, 'epoch')} in {duration(result.seconds)}"
    if spec.place:
        scores = "  ".join(f"{name}/acc {result.splits[name].metrics['acc']:.4f}" for name in ("val", "test"))
        console.console.print(f"  {spec.title}: {scores}  {trained}")
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
        *([("pictures", ", ".join(found))] if (found := _pictures(folder)) else []),
        ("again", program("evaluate", f"run={short(result.key)}", *_place(spec.config), "evaluation.tta=flip")),
    ]
    if header.mlflow_uri:
        rows += page_facts(header.mlflow_uri, "", "there: Model training, top left")
    console.facts(rows)


def _place(config: Config) -> list[str]:
    """The word that names the folder of all runs, unless it is the usual one."""
    return [] if config.runs_dir == USUAL_RUNS else [f"runs_dir={quoted(recorded('runs_dir', config.runs_dir))}"]


def _images(name: str, data: RoleSet) -> list[tuple[str, str]]:
    """The images that the run uses, and those of its source that it leaves out."""
    faces = data.faces
    roles = ", ".join(f"{len(rows):,} {role}" for role, rows in data.roles.items())
    classes = class_counts_text(faces.classes, class_counts(faces, data.roles["train"]))
    rows = [
        ("data", f"{name} {faces.channels}x{spelled(faces.size)}: {roles} ({data.preset.name})"),
        ("classes", f"{len(faces.classes)}; in train {classes}"),
    ]
    return [*rows, *([("left out", text)] if (text := left_out_text(faces)) else [])]


def _pictures(folder: RunFolder) -> list[str]:
    """Names of the pictures in the folder of a run, contact sheets counted together."""
    found = [file for file in folder.artifacts if file.suffix == ".png"]
    sheets = sum(file.parent == folder.sheets for file in found)
    return [
        *(file.name for file in found if file.parent == folder.path),
        *([f"{folder.sheets.name}/ ({sheets})"] if sheets else []),
    ]


def _steps(trainer: TrainerConfig, images: int) -> int:
    """Optimizer steps of an epoch over this number of training images."""
    batches = -(-images // trainer.batch_size)
    if limit := trainer.overfit_batches or trainer.limit_train_batches:
        batches = min(batches, int(limit)) if limit > 1 else int(limit * batches)
    return -(-batches // trainer.accumulate)
