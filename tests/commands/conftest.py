"""Commands as a person types them, in this process: what they print and the exit code."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fer_ablate.cli.main import main


@dataclass(frozen=True)
class Printed:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _own_process_state(monkeypatch):
    """What a command changes for good in the process that it normally has for itself."""
    monkeypatch.setattr(sys, "argv", ["fer_ablate"])
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="session")
def typed_small(small_run):
    """Words for a run of a second; `runs_dir` and `trainer.max_epochs` are left to the test."""
    return [*small_run, "trainer.num_threads=1", "tracking=none", "tracking.pictures=false"]


@pytest.fixture
def small(tmp_path, typed_small):
    """The same into `runs` of the test's own folder."""
    return [*typed_small, f"runs_dir={tmp_path / 'runs'}"]


@pytest.fixture
def typed(capsys, monkeypatch, cache_dir):
    """Type a command."""
    monkeypatch.setenv("FER_ABLATE_CACHE", str(cache_dir))
    monkeypatch.delenv("FER_ABLATE_DATA", raising=False)

    def command(*words: str) -> Printed:
        capsys.readouterr()
        code = main(words)
        printed = capsys.readouterr()
        return Printed(code, printed.out, printed.err)

    return command


@pytest.fixture(scope="session")
def _finished_runs(tmp_path_factory, cache_dir, typed_small):
    runs = tmp_path_factory.mktemp("finished") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fer_ablate"])
        patch.setenv("FER_ABLATE_CACHE", str(cache_dir))
        assert main([*typed_small, "tracking.pictures=true", "trainer.max_epochs=1", f"runs_dir={runs}"]) == 0
    return runs


@pytest.fixture
def finished(_finished_runs, tmp_path) -> Path:
    """The folder of one finished run, alone in a `runs` of its own."""
    shutil.copytree(_finished_runs, tmp_path / "runs")
    return next((tmp_path / "runs" / "fer_ablate").iterdir())
