"""Training from the command line: what is kept, skipped, refused, and what a grid does about a failing run."""

import os
import shutil
from dataclasses import replace

import pytest

from fer_ablate.cli import training_progress
from fer_ablate.execution.planning import plan_of
from fer_ablate.tracking.disk.progress_file import write_progress
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState


def test_a_finished_run_is_not_trained_again(typed, small, finished):
    result = (finished / "result.json").read_bytes()
    printed = typed(*small, "trainer.max_epochs=1")
    assert printed.code == 0
    assert "nothing to train" in printed.out
    assert "epoch 1/1" not in printed.out
    assert (finished / "result.json").read_bytes() == result


def test_a_result_of_unlisted_code_is_kept(typed, small, finished):
    folder = RunFolder(finished)
    folder.write_header(replace(folder.header, code_digest="f" * 16))  # as by a later version, for one who goes back from it
    printed = typed(*small, "trainer.max_epochs=1")
    assert printed.code == 1
    assert "which this version of fer_ablate does not know" in printed.err
    assert "force=true" in printed.err
    assert folder.finished


@pytest.mark.long
def test_threads_are_told_as_they_are_used(typed, small):
    printed = typed(*small, "trainer.max_epochs=1", "trainer.num_threads=1", "trainer.fast_dev_run=1")
    assert ", 1 thread," in printed.out
    assert "nothing was kept" in printed.out


@pytest.mark.slow
def test_a_grid_continues_after_a_failing_run(typed, small, tmp_path):
    printed = typed("-m", *small, "trainer.max_epochs=1", "optimizer.lr=1e30,0.001")
    assert printed.code == 1
    assert "[2/2] lr=0.001, seed 0: val/acc" in printed.out
    assert "fer_ablate: [1/2] lr=1e+30, seed 0: failed: The training loss became nan" in printed.err
    assert "fer_ablate: 1 run failed:\n  lr=1e+30, seed 0: The training loss became nan" in printed.err
    states = [RunFolder(path.parent).state.value for path in (tmp_path / "runs" / "fer_ablate").glob("*/run.json")]
    assert sorted(states) == ["failed", "finished"]


def test_an_unwritable_folder_is_named_with_a_remedy(typed, small, tmp_path):
    (tmp_path / "runs").touch()
    printed = typed(*small, "trainer.max_epochs=1")
    assert printed.code == 1
    assert f"Cannot write {tmp_path / 'runs'}" in printed.err
    assert "a part of this path is a file" in printed.err
    assert "runs_dir=..." in printed.err


@pytest.mark.long
def test_a_run_of_another_process_is_left_alone(typed, small, finished):
    (finished / "result.json").unlink()
    with RunFolder(finished).lock():
        printed = typed(*small, "trainer.max_epochs=1")
    assert printed.code == 1
    assert f"is being trained by process {os.getpid()} on " in printed.err


@pytest.mark.slow
def test_force_replaces_damaged_records_with_equal_scores(typed, small, finished):
    before = RunFolder(finished).result
    for name in ("run.json", "result.json"):
        (finished / name).write_text("[1]")
        printed = typed(*small, "trainer.max_epochs=1")
        assert printed.code == 1
        assert f"{name} is damaged" in printed.err
        assert "force=true" in printed.err
    printed = typed(*small, "tracking.pictures=true", "trainer.max_epochs=1", "force=true")
    assert (printed.code, printed.err) == (0, "")
    assert RunFolder(finished).result.splits == before.splits
    # In a pipe: plain lines, one screen.
    assert "\x1b" not in printed.out
    assert len(printed.out.splitlines()) < 60
    assert all(name in printed.out for name in ("epoch 1/1", "private", "neutral", "confusion.png", "evaluate run="))


@pytest.mark.usefixtures("finished")
def test_a_finished_run_is_found_under_another_name(typed, small):
    printed = typed(*small, "trainer.max_epochs=1", "name=another")
    assert printed.code == 0, printed.err
    assert "nothing to train" in printed.out


def test_an_unwritable_runs_folder_is_named(typed, small, tmp_path):
    (tmp_path / "file").write_text("no folder")
    printed = typed(*small, "trainer.max_epochs=1", f"runs_dir={tmp_path / 'file' / 'runs'}")
    assert printed.code == 1
    assert f"Cannot write {tmp_path / 'file' / 'runs'}" in printed.err
    assert "runs_dir=" in printed.err
    assert "Traceback" not in printed.err


def test_the_run_record_describes_its_images(finished):
    stored = RunFolder(finished).header.dataset
    assert (stored["name"], stored["preset"], stored["size"], stored["channels"]) == ("synthetic", "official", [48, 48], 1)
    assert (stored["train"], stored["val"], stored["test"], stored["left_out"]) == (140, 70, 70, {})
    assert [sum(counts[role] for counts in stored["classes"].values()) for role in range(3)] == [140, 70, 70]


@pytest.mark.slow
def test_a_missing_picture_is_a_note_until_made(typed, small, finished):
    folder, words = RunFolder(finished), [*small, "tracking.pictures=true", "trainer.max_epochs=1"]
    before = folder.result.splits
    for name in ("result.json", "predictions.npz", "confusion.png", "curves.png", "faces.png"):
        (finished / name).unlink()
    (finished / "faces.png").mkdir()  # where a file is to be
    printed = typed(*words)
    assert printed.code == 0, printed.err
    assert "note: faces.png could not be made: Cannot write" in printed.out
    assert folder.result.splits == before
    assert (finished / "curves.png").is_file()  # the others are made all the same
    assert list(folder.notes) == ["faces.png"]
    assert "Traceback" in folder.log_file.read_text()
    assert typed("report", f"run={finished}", f"runs_dir={finished.parents[1]}").code == 0
    assert "faces.png could not be made" in (finished / "report.html").read_text()

    (finished / "faces.png").rmdir()
    printed = typed(*words)
    assert (printed.code, "note: " in printed.out) == (0, False)
    assert "nothing to train" in printed.out
    assert (finished / "faces.png").is_file()
    assert folder.notes == {}


@pytest.mark.slow
def test_pictures_missing_after_a_kill_come_later(typed, small, finished):
    pictures = [finished / name for name in ("confusion.png", "curves.png", "faces.png")]
    before = [picture.read_bytes() for picture in pictures]
    for picture in pictures:
        picture.unlink()
    printed = typed(*small, "tracking.pictures=true", "trainer.max_epochs=1")
    assert "nothing to train" in printed.out
    assert [picture.read_bytes() for picture in pictures] == before


@pytest.mark.slow
def test_contact_sheets_are_kept_with_the_run(typed, small, finished):
    assert typed(*small, "trainer.max_epochs=1", "tracking.contact_sheets=true").code == 0
    names = ["augmented.png", "classes.png", *(f"samples-{split}.png" for split in ("PrivateTest", "PublicTest", "Training"))]
    assert sorted(file.name for file in RunFolder(finished).sheets.iterdir()) == names
    assert {file.name for file in RunFolder(finished).artifacts} >= set(names)
    shutil.rmtree(RunFolder(finished).sheets)
    assert typed(*small, "trainer.max_epochs=1").code == 0
    assert not RunFolder(finished).sheets.exists()


def test_a_run_says_how_far_it_is(typed, small, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(training_progress, "SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr(training_progress, "write_progress", lambda file, one: (write_progress(file, one), seen.append(one)))
    assert typed(*small, "trainer.max_epochs=2").code == 0
    assert [round(5 * one.epochs, 6) for one in seen] == list(range(11))  # an epoch has 140 images in 5 batches
    assert all(one.seconds > 0 and one.trained == one.epochs for one in seen[1:])
    assert not list(tmp_path.rglob("*progress.json*"))


def test_a_plan_knows_protocol_and_classes_of_results(finished, small):
    planned = plan_of([*small, "trainer.max_epochs=1"])[0].runs[0]
    assert planned.state is RunState.finished
    assert (planned.cell.protocol, list(planned.cell.classes)) == (planned.folder.result.protocol, planned.folder.result.classes)
