"""What a run is, on one screen, before it starts: what differs from the defaults first."""

from fer_ablate.cli import console
from fer_ablate.cli.request import Request
from fer_ablate.config.key import short
from fer_ablate.config.repeats import repeat_of
from fer_ablate.data.summary import class_counts, in_words, left_out
from fer_ablate.sizes import spelled
from fer_ablate.training.assembly import RoleSet
from fer_ablate.training.hardware import environment
from fer_ablate.training.run import Task


def show(request: Request, task: Task, finished: int) -> None:
    """Print what is about to happen.

    Args:
        request: what was asked for.
        task: the run made of it.
        finished: epochs that are already trained.
    """
    if request.place:
        resumes = f"  resumes behind epoch {finished}" if finished else ""
        console.console.print(f"  {request.title} ...{resumes}")
        return
    config, data, where = request.config, task.data, environment(task.hardware)
    trainer = config.trainer
    steps = -(-len(data.roles["train"]) // trainer.batch_size)
    share = f" on {trainer.devices} devices" if trainer.devices > 1 else ""
    optimizer, scheduler = config.optimizer, config.scheduler
    rows = [
        ("run", f"{request.name}  ({repeat_of(config)}, key {short(task.key)})"),
        *(("changed" if number == 0 else "", line) for number, line in enumerate(request.told or ["nothing: all defaults"])),
        *_images(config.data.source.name, data),
        (
            "training",
            f"{optimizer['name']} lr {optimizer['lr']:g}, {scheduler['name']}, {config.loss.name}; "
            f"{console.counted(trainer.max_epochs, 'epoch')} x {console.counted(steps, 'step')} of {trainer.batch_size}",
        ),
        ("device", f"{where['hardware']}, {console.counted(int(where['threads']), 'thread')}, {where['precision']}{share}"),
    ]
    rows += [("note", note) for note in data.notes]
    if finished:
        rows.append(("resumes", f"behind epoch {finished}"))
    console.facts(rows)


def _images(name: str, data: RoleSet) -> list[tuple[str, str]]:
    """What the run uses, and what of its source it does not."""
    faces = data.faces
    roles = ", ".join(f"{len(rows):,} {role}" for role, rows in data.roles.items())
    classes = in_words(faces.classes, class_counts(faces, data.roles["train"]))
    rows = [
        ("data", f"{name} {faces.channels}x{spelled(faces.size)}: {roles} ({data.preset.name})"),
        ("classes", f"{len(faces.classes)}; in train {classes}"),
    ]
    return [*rows, *([("left out", text)] if (text := left_out(faces)) else [])]
