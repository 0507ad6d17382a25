"""An ensemble in MLflow: one run of its own in the experiment of its members, below the run of their study if it has one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fer_ablate.config.schema import TrackingConfig
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.study_file import StudyFile

PLACE = "ensemble"
"""Folder within the artifacts of the run."""


@dataclass(frozen=True)
class Recorded:
    """What a store knows of an ensemble.

    Args:
        run: id of its run; empty if there is none yet.
        sent: digest of what it was told completely; empty if it was not.
    """

    run: str = ""
    sent: str = ""


@dataclass(frozen=True)
class Told:
    """What a store is to know.

    Args:
        name: shown in MLflow.
        tags: of the run.
        metrics: `val/acc`, `test/acc`, ...
        files: to be copied.
        digest: of all this; what was told once is not told again.
    """

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    files: Sequence[Path]
    digest: str


def record_ensemble(tracking: TrackingConfig, runs_dir: Path, study: str, known: Recorded, told: Told) -> tuple[Recorded, str]:
    """Make or take up the run of an ensemble and tell it everything, unless it knows.

    Args:
        tracking: enabled; store and experiment.
        runs_dir: where the ids of studies are remembered.
        study: whose run the ensemble is shown below, if this store has it.
        known: from the last time.
        told: what there is to tell.

    Returns:
        What to remember; and why MLflow does not have everything, empty if it has.
    """
    try:
        store = open_store(tracking.uri, tracking.experiment, str(runs_dir), tracking.timeout)
        parent = StudyFile(runs_dir, tracking.experiment, study, tracking.uri).read().parent
        above = parent if store.active(parent) is not None else None
        run = store.group(known.run, told.name, {"kind": "ensemble", "study": study, **told.tags}, above)
        known = known if run == known.run else Recorded(run)
        if known.sent != told.digest:
            store.log_summary(run, told.metrics)
            store.log_files(run, told.files, PLACE)
            known = replace(known, sent=told.digest)
        store.show_as({run: "FINISHED"})
    except Exception as error:  # whatever is wrong with MLflow must not lose what was computed
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return known, f"MLflow at {tracking.uri} failed ({first}). Everything is kept; the same command brings it later."
    return known, ""
