"""A study whose output is all there is not judged, drawn and sent again; whatever may show in it makes it stale."""

import subprocess
import sys
from pathlib import Path

import pytest

from fer_ablate.errors import UserError
from fer_ablate.execution import study_record
from fer_ablate.execution.left_over import remove_left_over
from fer_ablate.execution.study_record import (
    OutputRecord,
    is_current,
    listing,
    record_labels,
    record_study,
    study_digest,
    study_folder,
    write_record,
)
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.plan import make_plan
from fer_ablate.study.spec import study_spec
from fer_ablate.tracking.disk.files import writer_name
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import run_path

from ..finished_runs import fill, make_header


@pytest.fixture(scope="session")
def composed_once(cache_dir, small_run):
    words = [*small_run, "tracking=none", "runs_dir=runs", f"data.cache_dir={cache_dir}", "optimizer.lr=0.1,0.01"]
    spec = study_spec(words)
    return spec, compose_cells(spec)


@pytest.fixture
def study(composed_once, tmp_path, monkeypatch):
    """A finished grid with its output; gives its plan anew at each call, and the folder of its first run."""
    monkeypatch.chdir(tmp_path)
    spec, cells = composed_once
    for cell in cells:
        tracking = cell.config.tracking
        path = run_path(tmp_path / "runs", tracking.experiment, cell.row.label, cell.config.seed, cell.key)
        fill(RunFolder(path)).write_header(make_header(key=cell.key, name=cell.row.label, seed=0, experiment=tracking.experiment))
    plan = make_plan(spec, cells)
    folder = study_folder(plan)
    folder.mkdir(parents=True)
    (folder / "table.md").write_text("| row |")
    write_record(folder, OutputRecord("digest", listing(folder)))
    record_study(plan, study_digest(plan))
    return lambda: make_plan(spec, cells), plan.runs[0].folder


def test_a_finished_study_is_current(study):
    plan, run = study
    assert is_current(plan())
    (run.path / "run.lock").touch()
    run.log_file.write_text("printed")
    assert is_current(plan())


@pytest.mark.parametrize("name", ["removed", "edited", "added"])
def test_changed_output_is_made_again(study, name):
    plan, _ = study
    folder = study_folder(plan())
    if name == "removed":
        (folder / "table.md").unlink()
    else:
        (folder / ("table.md" if name == "edited" else "mine.png")).write_text("other")
    assert not is_current(plan())


@pytest.mark.parametrize("name", ["result.json", "metrics.csv", "explain/mean_maps.png", "failure.json", "notes.json"])
def test_changed_runs_are_shown_anew(study, name):
    plan, run = study
    file = run.path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text((file.read_text() if file.exists() else "") + "\n")
    assert not is_current(plan())


def test_other_drawing_code_makes_all_anew(study, monkeypatch):
    plan, _ = study
    monkeypatch.setattr(study_record, "makers_digest", lambda: "another version")
    assert not is_current(plan())


def test_labels_find_runs_trained_under_others(study):
    plan, run = study
    header = make_header(key=plan().runs[0].cell.key, name="by hand", seed=0, experiment="elsewhere")
    run.write_header(header)
    label, place = plan().runs[0].cell.row.label, plan().runs[0].cell.config.tracking.experiment
    with pytest.raises(UserError, match="No run in runs/ fits"):
        find_run(Path("runs"), f"{place}/{label}, seed 0")
    for _ in range(2):  # the second time there is nothing to add
        record_labels(plan())
    assert find_run(Path("runs"), f"{place}/{label}, seed 0").path.resolve() == run.path.resolve()
    assert find_run(Path("runs"), f"{plan().spec.name}/{label}").path.resolve() == run.path.resolve()
    assert not [name for name in listing(study_folder(plan())) if "labels" in name]


def test_a_record_of_an_earlier_version_is_none(study):
    plan, _ = study
    (study_folder(plan()) / study_record.RECORD).write_text("5e8a\ntable.md")
    assert not is_current(plan())


def test_what_killed_commands_left_is_removed(study):
    plan, run = study
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    host, mine = writer_name().rpartition(".")[0], writer_name()
    folders = (run.path, study_folder(plan()), run.path.parent, run.path.parent.parent)
    for writer in (f"{host}.{process.pid}", mine):
        for folder in folders:
            (folder / f".a.{writer}.partial").touch()
        (Path("runs/multirun") / f"specs-1.{writer}").mkdir(parents=True)
    state = [run.last_checkpoint, run.owner_file]  # of a process that was killed after the result
    run.checkpoints.mkdir(exist_ok=True)
    for file in state:
        file.touch()
    with run.lock():
        run.owner_file.touch()
        remove_left_over(plan())
        assert [file.is_file() for file in state] == [True, True]
    run.owner_file.touch()
    remove_left_over(plan())
    assert [file.is_file() for file in state] == [False, False]
    assert [sorted(file.name for file in folder.glob(".*.partial")) for folder in folders] == [[f".a.{mine}.partial"]] * 4
    assert [folder.name for folder in Path("runs/multirun").iterdir()] == [f"specs-1.{mine}"]
    assert is_current(plan())
