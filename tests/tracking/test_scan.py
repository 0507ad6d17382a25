import os
import time

import pytest

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import scan

from .finished_run import fill, make_header, make_result


@pytest.fixture
def runs(tmp_path):
    """A finished run, a failed one, one that only began, one that finished in spite of an old mark, and no run."""
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
    states = [(record.folder.path.name, record.finished, record.failed) for record in found.records]
    assert states == [("failed", False, True), ("finished", True, False), ("began", False, False), ("marked", True, False)]
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


def test_a_thousand_finished_runs_are_read_within_two_seconds(tmp_path):
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
