"""Where the files of a run and of a study lie below `runs_dir`."""

import re
from pathlib import Path

from fer_ablate.config.key import short

NAME_LENGTH = 60
"""Most characters of a run's name in its folder's name."""


def run_path(runs_dir: Path, experiment: str, name: str, seed: int, key: str) -> Path:
    """`<runs_dir>/<experiment>/<name>-s<seed>-<key>`; where this very run exists under another name, that folder."""
    for existing in sorted(runs_dir.glob(f"*/*-{short(key)}")):
        return existing
    return runs_dir / folder_name(experiment) / f"{folder_name(name)[:NAME_LENGTH].strip('_.')}-s{seed}-{short(key)}"


def study_path(runs_dir: Path, experiment: str, study: str) -> Path:
    """Folder of a study's table and plots: beside its runs."""
    return runs_dir / folder_name(experiment) / (f"{folder_name(study)}-table" if study != experiment else "table")


def ensemble_path(runs_dir: Path, experiment: str, name: str, digest: str) -> Path:
    """Folder of an ensemble of an experiment's runs: one level deeper than runs, so that it is not taken for one."""
    return runs_dir / folder_name(experiment) / "ensembles" / f"{folder_name(name)[:NAME_LENGTH].strip('_.')}-{short(digest)}"


def folder_name(text: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^\w=.+-]+", "_", text)
