import os
import time

import pytest

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import NAME_LENGTH, cut_name, scan

from ..finished_runs import fill, make_header, make_result


@pytest.fixture
def runs(tmp_path):
    """A finished run, a failed one, one that only began, one that finished in spite of an old failure.json, and no run."""
    fill(RunFolder(tmp_path / "depth" / "finished"))
    failed = RunFolder(tmp_path / "depth" / "failed")
    failed.write_header(make_header())
    failed.write_failure("No memory.", "Traceback")
    RunFolder(tmp_path / "width" / "began").write_header(make_header())
    marked = fill(RunFolder(tmp_path / "width" / "marked"))
    marked.failure_file.write_text("{}")
    (tmp_path / "depth" / "table").mkdir()
    (tmp_path / "mlflow.db").touch()
    return tmp_path


def test_every_run_is_found_with_its_state(runs):
    found = scan(runs)
    states = [(record.folder.path.name, record.state.value) for record in found.records]
    assert states == [("failed", "failed"), ("finished", "finished"), ("began", "missing"), ("marked", "finished")]
    assert found.records[1].header == make_header()
    assert found.records[1].folder.result == make_result()
    assert found.damaged == []


def test_a_damaged_run_does_not_hide_the_others(runs):
    (runs / "depth" / "failed" / "run.json").write_text('{"key": 1')
    found = scan(runs)
    assert [record.folder.path.name for record in found.records] == ["finished", "began", "marked"]
    (damaged,) = found.damaged
    assert "failed/run.json is damaged" in damaged
    with pytest.raises(UserError, match=r"(?s)fits run=nothing; the latest ones:.*failed/run\.json is damaged"):
        find_run(runs, "nothing")
    assert find_run(runs, "began").path == runs / "width" / "began"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_forbidden_folder_is_named(runs):
    (runs / "width").chmod(0)
    found = scan(runs)
    (runs / "width").chmod(0o755)
    assert len(found.records) == 2
    assert found.damaged == [f"Cannot read {runs / 'width'}: Permission denied."]


def test_without_a_runs_folder_there_are_no_runs(tmp_path):
    assert scan(tmp_path / "none").records == []


@pytest.mark.slow
def test_a_thousand_runs_take_two_seconds(tmp_path):
    first = fill(RunFolder(tmp_path / "depth" / "0"))
    for number in range(1, 1000):
        path = tmp_path / "depth" / str(number)
        path.mkdir()
        for file in (first.header_file, first.result_file, first.predictions_file):
            os.link(file, path / file.name)
    began = time.process_time()  # a busy machine does not count
    results = [(record.folder.result, record.folder.read_predicted()) for record in scan(tmp_path).records]
    assert len(results) == 1000
    assert time.process_time() - began < 2


def test_a_run_is_found_by_its_stored_key(tmp_path, config_of):
    config = config_of(f"runs_dir={tmp_path}")
    new = scan(tmp_path).folders.of(config, "4 layers", "0123456789abcdef")
    assert new.path == tmp_path / "fer_ablate" / "4_layers-s0-0123456789"
    (tmp_path / "depth" / "by_hand-s0-0123456789").mkdir(parents=True)
    folders = scan(tmp_path).folders
    assert folders.of(config, "4 layers", "0123456789abcdef").path == tmp_path / "depth" / "by_hand-s0-0123456789"
    made = folders.of(config, "first label", "f" * 32)
    assert folders.of(config, "second label", "f" * 32).path == made.path  # not yet on the disk


def test_folders_named_by_earlier_keys_are_found(tmp_path, config_of):
    earlier = fill(RunFolder(tmp_path / "depth" / "4_layers-s3-fedcba9876"))
    assert scan(tmp_path).folders.of(config_of(f"runs_dir={tmp_path}"), "row", earlier.header.key).path == earlier.path


def test_many_folders_are_found_at_once(tmp_path, config_of, monkeypatch):
    config, looks = config_of(f"runs_dir={tmp_path}"), []
    (tmp_path / "depth").mkdir()
    monkeypatch.setattr(os, "scandir", lambda path, scandir=os.scandir: looks.append(path) or scandir(path))
    folders = scan(tmp_path).folders
    assert len({folders.of(config, "row", f"{number:032x}").path for number in range(100)}) == 1  # their keys begin alike
    assert len({folders.of(config, "row", f"{number:010}").path for number in range(100)}) == 100
    assert looks == [tmp_path, tmp_path / "depth"]


NAMES = {
    "a short one": ("less lr=0.1", "less_lr=0.1"),
    "settings": (
        "conv_layers=3 width=0.5 lr=0.0001 weight_decay=0.0005 scheduler=cosine batch_size=32",
        "conv_layers=3_width=0.5_lr=0.0001_and_3_more",
    ),
    "a value that is too long": (
        "steps=[{flip: 0.5}, {affine: {degrees: 10, p=1}}, {erase: 0.5}, {blur: 3}] lr=0.1",
        "steps_and_1_more",
    ),
    "a quoted value": (f"path='{'a b=1 ' * 12}' lr=0.1", "path_and_1_more"),
    "a label with a setting": (f"it's a {'long ' * 9}label lr=0.1", f"it_s_a_{'long_' * 8}and_1_more"),
    "a label alone": ("word " * 20, "word_" * 12),
    "one word": ("a" * 80, "a" * 60),
}


@pytest.mark.parametrize(("name", "folder"), NAMES.values(), ids=NAMES)
def test_names_are_cut_between_settings(name, folder):
    assert cut_name(name) == folder.strip("_")
    assert len(cut_name(name)) <= NAME_LENGTH
