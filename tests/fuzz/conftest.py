"""What the tests with hostile input share: a folder of their own, and figures after a long run."""

import os

import pytest

from .attempts import OUTCOMES


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch, cache_dir):
    """An empty present folder, in which code that ran leaves its file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_ABLATE_CACHE", str(cache_dir))
    for name in ("FER_ABLATE_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def pytest_terminal_summary(terminalreporter):
    """Print the figures of a run that asked for many inputs."""
    if "FER_ABLATE_FUZZ" not in os.environ:
        return
    for kind, counts in OUTCOMES.items():
        listed = ", ".join(f"{counts[name]:,} {name}" for name in ("message", "done", "bad"))
        terminalreporter.write_line(f"{kind}: {counts.total():,} commands; {listed}")
