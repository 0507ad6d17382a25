"""The labels by which studies call their runs, kept beside each study's table.

A run is stored under the label that it was trained with. Other rows, of the same study or of another one, may have the same
settings: they share the run, and are found by this record.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import check_types, read_json, write_json

FILE = ".labels.json"
"""Name of the record in the folder of a study."""


@dataclass(frozen=True)
class LabelledRun:
    """A run as a row of a study calls it.

    Args:
        experiment: of the study, in whose folder its table is.
        study: name of the study, by default the same.
        label: of the row.
        seed, fold: of the run; without cross-validation there is no fold.
        key: of the run.
    """

    experiment: str
    study: str
    label: str
    seed: int
    fold: int | None
    key: str

    @property
    def repeat(self) -> Repeat:
        """The seed, and the fold if there is one."""
        return Repeat(self.seed, self.fold)


def keep_labels(folder: Path, runs: Iterable[LabelledRun]) -> None:
    """Add the runs to the record in the folder of a study; of the same label, seed and fold the new one counts.

    Raises:
        UserError: the file cannot be written.
    """
    known = _read(folder / FILE)
    found = {(one.label, one.repeat): one for one in (*known, *runs)}
    if list(found.values()) != known:
        write_json(folder / FILE, [asdict(one) for one in found.values()])


def labelled_runs(runs_dir: Path) -> list[LabelledRun]:
    """The runs of all records below a folder."""
    return [one for file in sorted(runs_dir.glob(f"*/*/{FILE}")) for one in _read(file)]


def _read(file: Path) -> list[LabelledRun]:
    try:
        return list(read_json(file, lambda stored: check_types(list[LabelledRun], stored))) if file.is_file() else []
    except UserError:  # the next command of the study writes it again; a damaged record must not hide the runs themselves
        return []
