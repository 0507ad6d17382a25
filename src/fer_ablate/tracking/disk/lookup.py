"""Finds a run, or the weights to start from, by what people call it."""

import os
from collections.abc import Sequence
from pathlib import Path

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.paths import expanded
from fer_ablate.tracking.disk.row_labels import LabelledRun, labelled_runs
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import RunRecord, by_key, scan
from fer_ablate.training.start import Start

LISTED = 8
"""Runs offered when none fits."""


def find_run(runs_dir: Path, name: str) -> RunFolder:
    """The one run whose key or MLflow id begins with `name`, or whose folder has this name or path.

    The label of a row works as well: `quickstart/-1 Conv`, or just `-1 Conv` where no other experiment has such a row, means
    the newest run of its first finished seed. `-1 Conv, seed 2` means another seed, and `-1 Conv, seed 2, fold 3` a fold. A run
    that several rows share has the labels of all of them, see `row_labels`.

    Raises:
        UserError: no run fits, or several do; the latest runs, or those that fit, are listed.
    """
    given = expanded(name)
    # A path comes first: it may lead to a run outside `runs_dir`.
    # Path.is_file would fail where a label is longer than the name of a file may be.
    if os.path.isfile(given / "run.json"):
        return RunFolder(given)
    found = scan(runs_dir)
    # Labels come second: a label that looks like a key must not hide the run with that key.
    fitting = [record for record in found.records if _fits(record, name)] or _with_label(runs_dir, found.records, name)
    if len(fitting) > 1:  # a folder is named, or else each key counts once
        fitting = [record for record in fitting if name in _folders(record)] or list(by_key(fitting).values())
    if len(fitting) == 1:
        return fitting[0].folder
    if not found.records and not found.damaged:
        raise UserError(f"There are no runs in {runs_dir}/. Train one first, or pass runs_dir=... or ckpt=<file>.")
    latest = sorted(fitting or found.records, key=lambda record: record.folder.header_file.stat().st_mtime, reverse=True)[:LISTED]
    lines = [*(f"{short(record.brief.key)}  {record.folder.path}" for record in latest), *found.damaged]
    listed = "\n".join(f"  {line}" for line in lines)
    problem = (
        f"{len(fitting)} runs fit run={name}; give more of the key, or the experiment before the label"
        if fitting
        else f"No run in {runs_dir}/ fits run={name}; the latest ones"
    )
    raise UserError(f"{problem}:\n{listed}")


def finished_run(runs_dir: Path, name: str) -> RunFolder:
    """The run that `find_run` finds, if it is finished and has its weights.

    Raises:
        UserError: as in `find_run`; or the run is not finished, or has lost its weights.
    """
    folder = find_run(runs_dir, name)
    if not folder.finished:
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    if not folder.best_checkpoint.is_file():
        raise UserError(f"Run {folder.path} has lost {folder.best_checkpoint.name}. Train it again with force=true.")
    return folder


def resolve_start(init_from: str, runs_dir: Path) -> Start:
    """The weights that `init_from` names: those of a checkpoint file, or the tested ones of a finished run.

    Args:
        init_from: path of a `.ckpt` file, or a run by any name that `find_run` knows.
        runs_dir: folder of the runs.

    Returns:
        The identity of a run is its key, which is known before it is trained; that of a file is the hash of its weights.

    Raises:
        UserError: there is neither, the run is not finished, or its checkpoint is missing or unreadable.
    """
    file = expanded(init_from)
    if os.path.isfile(file):
        from fer_ablate.training.checkpoints import file_start  # imports torch, which no other start needs

        return file_start(file)
    try:
        folder = find_run(runs_dir, init_from)
    except UserError as error:
        raise UserError(f"init_from={init_from} is neither a checkpoint file nor a run. {error}") from error
    name = f"init_from={init_from}: run {short(folder.header.key)} in {folder.path}"
    if not folder.finished:
        raise UserError(f"{name} is not finished. Finish it by the command that began it, or start from one of its checkpoints.")
    if not folder.best_checkpoint.is_file():
        raise UserError(f"{name} has lost {folder.best_checkpoint.name}. Train it again with force=true, or start from another.")
    header = folder.header
    return Start(folder.best_checkpoint, header.key, tuple(header.dataset.get("classes", ())))


def _fits(record: RunRecord, name: str) -> bool:
    brief, folders = record.brief, _folders(record)
    ids = (brief.key, brief.earlier_key, brief.mlflow_run_id or "")
    return bool(name) and (name in folders or any(one.startswith(name) for one in ids))


def _folders(record: RunRecord) -> tuple[str, str]:
    path = record.folder.path
    return path.name, f"{path.parent.name}/{path.name}"


def _with_label(runs_dir: Path, records: Sequence[RunRecord], name: str) -> list[RunRecord]:
    """One run of each experiment that has a row of this name: the newest of the named seed and fold, or of the first finished."""
    labelled: dict[str, list[LabelledRun]] = {}
    for one in labelled_runs(runs_dir):
        labelled.setdefault(one.key, []).append(one)
    chosen: dict[str, RunRecord] = {}
    for record in sorted(records, key=_first_choice):
        brief = record.brief
        own = LabelledRun(brief.experiment, brief.experiment, brief.name, brief.seed, brief.fold, brief.key)
        for one in (own, *labelled.get(brief.key, ()), *labelled.get(brief.earlier_key, ())):
            if _is_called(one, name):
                chosen.setdefault(one.experiment, record)
    # Rows of several experiments may share a run.
    return list({record.folder.path: record for record in chosen.values()}.values())


def _is_called(run: LabelledRun, name: str) -> bool:
    labels = (run.label, f"{run.experiment}/{run.label}", f"{run.study}/{run.label}")
    return name in {f"{label}{repeat}" for label in labels for repeat in ("", f", seed {run.seed}", f", {run.repeat}")}


def _first_choice(record: RunRecord) -> tuple[bool, tuple[int, int], float]:
    return not record.finished, record.brief.repeat.place, -record.folder.header_file.stat().st_mtime
