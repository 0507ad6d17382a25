"""Begins a run with the state of a finished one that has fewer epochs, or says why it cannot."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.key import EPOCHS
from fer_ablate.config.schema import Config
from fer_ablate.config.study_rows import repeat_of
from fer_ablate.errors import BusyError, UserError, first_line
from fer_ablate.study.changes import what_changed
from fer_ablate.study.shorter import ShorterRuns, epochs_in_words
from fer_ablate.tracking.disk.files import read_text, write_text
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import RunRecord, scan
from fer_ablate.training.identity import RunIdentity

COPY_SECONDS = 60.0
"""How long to wait for the lock of a finished run, which others hold while they copy its state as well."""

_LENGTH = re.compile(r"\bmax_epochs=\d+")


def placed(spec: RunSpec, identity: RunIdentity) -> tuple[RunSpec, list[str]]:
    """A run that no plan knows, with its folder and the finished run that it continues; and notes for people."""
    config = spec.config
    found = scan(Path(config.runs_dir))
    folder = found.folders.of(config, spec.name, identity.key)
    spec = replace(spec, folder=str(folder.path))
    shorter = ShorterRuns(found.records).of(config, identity, folder)
    if shorter is None:
        new = not (folder.finished or folder.last_checkpoint.is_file() or config.force)
        return spec, _other_differences(spec, identity, found.records) if new else []
    if shorter.problem:
        return spec, [shorter.described]
    return replace(spec, continues=str(shorter.folder.path)), []


def _other_differences(spec: RunSpec, identity: RunIdentity, records: Iterable[RunRecord]) -> list[str]:
    """Why the newest run of this name with fewer epochs is not continued."""
    config, name = spec.config, _LENGTH.sub("", spec.name)
    alike = [record for record in records if record.finished and 0 < record.brief.epochs < config.trainer.max_epochs]
    named = [
        record
        for record in alike
        if (record.brief.experiment, _LENGTH.sub("", record.brief.name)) == (config.tracking.experiment, name)
        and (record.brief.repeat, record.brief.folds) == (repeat_of(config), config.data.folds)
    ]
    if not named:
        return []
    newest = max(named, key=lambda record: record.brief.started_at)
    now = replace(identity, settings={**identity.settings, EPOCHS: newest.brief.epochs})
    try:
        changes = what_changed(now, newest.header)
    except UserError:  # damaged meanwhile
        return []
    length = epochs_in_words(newest.brief.epochs)
    return [f"{newest.brief.name} with {length} is finished; this one starts anew: {changes}"]


def begin_with_shorter(spec: RunSpec, folder: RunFolder, key: str) -> list[str]:
    """Put the state of the run that `spec.continues` names into a folder that has none; whoever calls this holds the folder.

    Returns:
        Why that was not possible, in a sentence, so that the run is trained from its first epoch.
    """
    if not spec.continues or spec.config.force or folder.finished or folder.last_checkpoint.is_file():
        return []
    source = RunFolder(Path(spec.continues))
    try:
        if not source.finished:
            raise UserError(f"{source.path} is gone or is trained anew")
        with FileLock(source.lock_file, timeout=COPY_SECONDS):
            _copy(source, folder, key, spec.config)
    except (UserError, OSError) as error:
        folder.metrics_file.unlink(missing_ok=True)
        reason = "another process trains it anew" if isinstance(error, Timeout) else first_line(error).rstrip(".")
        return [f"It is trained from its first epoch: the state of {source.path} cannot be taken ({reason})."]
    return []


def origin_of(folder: RunFolder) -> tuple[str, int]:
    """Key of the shorter run whose state a run began with, and the epochs from there; an empty text and 0 without one."""
    from fer_ablate.training.continuing import continued_state

    state = continued_state(folder.checkpoints)
    if state is not None:
        return state.key, state.epochs
    # Once it has epochs of its own, only the header knows; without a state it begins with its first epoch again.
    if folder.begun and folder.last_checkpoint.is_file():
        return folder.header.continued_from, folder.header.continued_after
    return "", 0


def take_up_shorter(spec: RunSpec) -> None:
    """Begin a run with the state of a shorter one on this machine, before another machine gets it; see `begin_with_shorter`."""
    if spec.continues:
        folder = RunFolder(Path(spec.folder))
        with suppress(BusyError), folder.lock():  # another process trains it, and its result will count
            for note in begin_with_shorter(spec, folder, spec.key):
                console.console.print(f"  {spec.title}: note: {note}", style="yellow")


def _copy(source: RunFolder, folder: RunFolder, key: str, config: Config) -> None:
    # Imports torch, which the process of a sweep can do without.
    from fer_ablate.training.continuing import ContinuedState, copy_state

    header = source.header
    origin = ContinuedState(header.key, source.path.name, source.result.epochs)
    if [row["epoch"] for row in source.history] != list(range(1, origin.epochs + 1)):
        raise UserError(f"{source.metrics_file} lacks epochs")
    # The history comes first: a run that has a `last.ckpt` is resumed, and would never get the epochs before.
    write_text(folder.metrics_file, read_text(source.metrics_file))
    copy_state(source.checkpoints, folder.checkpoints, origin, {header.key, header.earlier_key}, key, config)
