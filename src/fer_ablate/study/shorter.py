"""Finds the finished run that a longer one can continue: the same in everything but `trainer.max_epochs`."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from fer_ablate.config.key import EPOCHS, key_without_length, run_key
from fer_ablate.config.schema import Config
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.index import RunBrief
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import RunRecord
from fer_ablate.training.identity import RunIdentity
from fer_ablate.training.length import why_length_matters

NOT_KEPT = "trainer.save_last=true would have let this run continue it"
"""Said of a shorter run whose state is gone."""


@dataclass(frozen=True)
class Shorter:
    """A finished run that differs from a longer one in its length alone.

    Args:
        folder: of the shorter run.
        name: its label.
        length: its `trainer.max_epochs`.
        epochs: that it has; fewer than its length if it was stopped early.
        problem: why the longer run cannot continue it, a clause; empty if it can.
    """

    folder: RunFolder
    name: str
    length: int
    epochs: int
    problem: str

    @property
    def stopped(self) -> bool:
        """Whether it was stopped early, so that more epochs change nothing."""
        return self.epochs < self.length

    @property
    def described(self) -> str:
        """What it means for the longer run, for people."""
        if self.problem:
            return f"{self.name} with {epochs_in_words(self.length)} is finished; {self.problem}"
        return f"continues from epoch {self.epochs} of {self.folder.path.name}{', which stopped early' if self.stopped else ''}"


class ShorterRuns:
    """The finished runs on disk by what they have in common with longer ones.

    Args:
        records: runs on disk.
    """

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._alike: dict[str, list[RunRecord]] = {}
        self._shortest: dict[tuple[int, int | None, int | None], int] = {}
        for record in records:
            brief = record.brief
            if record.finished and brief.epochs and brief.without_length:
                self._alike.setdefault(brief.without_length, []).append(record)
                repeat = _repeat(brief)
                self._shortest[repeat] = min(brief.epochs, self._shortest.get(repeat, brief.epochs))

    def of(self, config: Config, identity: RunIdentity, folder: RunFolder) -> Shorter | None:
        """The longest finished run that is shorter than this one, and of these one whose state was kept if there is any.

        Args:
            config: of the longer run.
            identity: of the longer run.
            folder: of the longer run; a run that is finished or has a state of its own is never continued from another one.

        Returns:
            None if there is no such run.
        """
        data = config.data
        shortest = self._shortest.get((config.seed, data.fold if data.folds is not None else None, data.folds))
        # Hashing takes longer than all the rest, and most runs are finished or have no shorter one.
        if shortest is None or shortest >= config.trainer.max_epochs or config.force or config.trainer.fast_dev_run:
            return None
        if folder.finished or folder.last_checkpoint.is_file():
            return None
        found = self._found(config, identity)
        if not found:
            return None
        if problem := why_length_matters(config):
            return _shorter(found[0], f"this one starts anew, since {problem}")
        kept = next((record for record in found if record.folder.keeps_state), None)
        return _shorter(kept, "") if kept is not None else _shorter(found[0], NOT_KEPT)

    def _found(self, config: Config, identity: RunIdentity) -> list[RunRecord]:
        """Finished runs that differ in nothing but fewer epochs, the longest first."""
        settings, data, code = identity.settings, identity.data_digest, identity.code_digest
        alike = self._alike.get(key_without_length(settings, data, code), ())
        found = [
            record
            for record in alike
            if record.brief.epochs < config.trainer.max_epochs
            and record.brief.key == run_key({**settings, EPOCHS: record.brief.epochs}, data, code, identity.start)
        ]
        return sorted(found, key=lambda record: -record.brief.epochs)


def epochs_in_words(number: int) -> str:
    """`1 epoch`, `20 epochs`."""
    return f"{number} epoch{'s' if number != 1 else ''}"


def _shorter(record: RunRecord, problem: str) -> Shorter | None:
    with suppress(UserError):  # a damaged result is reported by whatever shows that run
        return Shorter(record.folder, record.brief.name, record.brief.epochs, record.folder.result.epochs, problem)
    return None


def _repeat(brief: RunBrief) -> tuple[int, int | None, int | None]:
    return brief.seed, brief.fold, brief.folds
