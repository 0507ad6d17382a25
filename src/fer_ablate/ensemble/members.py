"""Finished runs as candidates of an ensemble: those of rows, one by name, and distinct labels for them."""

from collections.abc import Sequence

from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.judgement.joint_predictions import EnsembleCandidate
from fer_ablate.judgement.row_runs import RowRuns, ScoredRun
from fer_ablate.tracking.disk.run_folder import RunFolder


def ensemble_candidates(rows: Sequence[RowRuns]) -> list[EnsembleCandidate]:
    """The finished runs of rows that are trained, not of averages of these; a run that several rows share counts once."""
    runs: dict[str, EnsembleCandidate] = {}
    for row in rows:
        for run in row.runs if row.average is None else ():
            runs.setdefault(run.header.key, EnsembleCandidate(f"{row.label}, {run.header.repeat}", run))
    return list(runs.values())


def ensemble_candidate(folder: RunFolder) -> EnsembleCandidate:
    """The run in a folder.

    Raises:
        UserError: the run is not finished, or one of its files is damaged.
    """
    if not folder.finished:
        raise UserError(f"Run {folder.path} is not finished. Start its command again: it resumes.")
    header = folder.header
    return EnsembleCandidate(f"{header.name}, {header.repeat}", ScoredRun(folder, header, folder.result))


def with_unique_labels(candidates: Sequence[EnsembleCandidate]) -> list[EnsembleCandidate]:
    """The candidates with unique labels: where several share one, the key is added to it.

    Raises:
        UserError: a run was named twice.
    """
    labels = [candidate.label for candidate in candidates]
    keys = [candidate.run.header.key for candidate in candidates]
    twice = [candidate for candidate, key in zip(candidates, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise UserError(f"{twice[0].run.folder.path} was named {len(twice)} times. Name each run once.")
    return [
        EnsembleCandidate(f"{one.label} ({short(one.run.header.key)})", one.run) if labels.count(one.label) > 1 else one
        for one in candidates
    ]
