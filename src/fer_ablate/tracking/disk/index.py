"""An index beside the runs, which spares a large runs folder the reading of every header.

It is only a cache: an entry counts as long as its header file is the one that was read, and without the index all is the same.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from fer_ablate.config.behaviour import known_behaviours
from fer_ablate.config.key import EPOCHS, KEY_RULES, key_without_length
from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import check_types, checked, read_json, write_text
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader

FILE = ".index.json"
"""Name of the index in the runs folder."""

WORTH_AN_INDEX = 100
"""Finished runs from which on an index is kept; fewer headers are read in less time than it saves."""


@dataclass(frozen=True)
class RunBrief:
    """The part of a header that a run is found by; for the fields see `RunHeader`.

    Args:
        fold: tested fold; None without cross-validation.
        folds: number of folds; None without cross-validation.
        epochs: length of the run (`trainer.max_epochs`); 0 where it is not on record.
        without_length: see `key_without_length`; empty where there are no settings.
    """

    key: str
    earlier_key: str
    name: str
    experiment: str
    seed: int
    fold: int | None
    folds: int | None
    started_at: str
    mlflow_run_id: str | None
    epochs: int = 0
    without_length: str = ""

    @classmethod
    def of(cls, header: RunHeader) -> "RunBrief":
        """The brief of a header."""
        return cls(
            key=header.key,
            earlier_key=header.earlier_key,
            name=header.name,
            experiment=header.experiment,
            seed=header.seed,
            fold=header.repeat.fold,
            folds=header.folds,
            started_at=header.started_at,
            mlflow_run_id=header.mlflow_run_id,
            epochs=header.settings.get(EPOCHS) or 0,
            without_length=key_without_length(header.settings, header.data_digest, header.code_digest) if header.settings else "",
        )

    @property
    def repeat(self) -> Repeat:
        """The seed, and the fold if there is one."""
        return Repeat(self.seed, self.fold)


class RunIndex:
    """The briefs of the finished runs below a folder, as far as they were read before.

    Args:
        runs_dir: folder of the runs.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._file = runs_dir / FILE
        self._runs_dir = runs_dir
        self._known = _read(self._file)
        self._current: dict[str, list[Any]] = {}

    def brief(self, folder: RunFolder, finished: bool) -> RunBrief:
        """The brief of a run, from its header where that has changed.

        Args:
            folder: folder of the run.
            finished: whether it has a result.

        Raises:
            UserError: the header is missing or damaged.
        """
        if not finished:  # its header is written again whenever it is resumed
            return RunBrief.of(folder.header)
        name = str(folder.path.relative_to(self._runs_dir))
        stamp = _stamp(folder.header_file)
        known = self._known.get(name)
        if known is not None and known[:2] == stamp:
            with suppress(ValueError, TypeError, LookupError):  # an entry that is damaged does not count
                brief = checked(RunBrief, dict(zip(RunBrief.__dataclass_fields__, known[2], strict=True)))
                self._current[name] = known
                return brief
        header = folder.header
        brief = RunBrief.of(header)
        # The key of any other run is worked out from more files than its header, each of which may change.
        if header.has_present_key:
            self._current[name] = [*stamp, list(vars(brief).values())]
        return brief

    def save(self) -> None:
        """Write the index if it has changed and is worth it; where the folder cannot be written, there is none."""
        if len(self._current) >= WORTH_AN_INDEX and self._current != self._known:
            content = {"rules": _rules(), "runs": self._current}
            with suppress(UserError):
                write_text(self._file, json.dumps(content, separators=(",", ":")))


def _read(file: Path) -> Mapping[str, list[Any]]:
    try:
        return cast(dict[str, list[Any]], read_json(file, _runs))
    except UserError:
        return {}  # there is none, or it is damaged


def _runs(content: dict[str, Any]) -> dict[str, list[Any]]:
    # Another version may have had other rules.
    return check_types(dict[str, list[Any]], content["runs"]) if content["rules"] == _rules() else {}


def _stamp(file: Path) -> list[int]:
    try:
        found = os.stat(file)
    except OSError:
        return [0, 0]  # reading it says why
    return [found.st_mtime_ns, found.st_size]


@cache
def _rules() -> str:
    """Digest of what the key of a stored run depends on besides its header: an index of another version is not used."""
    fields = list(RunBrief.__dataclass_fields__)
    return hashlib.sha256(repr((KEY_RULES, sorted(known_behaviours().items()), fields)).encode()).hexdigest()[:16]
