"""The index of a runs folder is only a cache: with it, without it and after every change a scan finds the same runs."""

import json
from dataclasses import asdict

import pytest

from fer_ablate.config.key import KEY_RULES, run_key
from fer_ablate.tracking.disk import index
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import scan

from ..finished_runs import make_header, make_result


def write_run(runs, seed, **changes):
    settings = {"seed": seed}
    header = make_header(
        key=run_key(settings, "data", "code"),
        seed=seed,
        settings=settings,
        data_digest="data",
        code_digest="code",
        key_rules=KEY_RULES,
    )
    header = make_header(**{**asdict(header), **changes})
    folder = RunFolder(runs / "depth" / f"run-s{seed}-{header.key[:10]}")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.header_file.write_text(json.dumps(asdict(header)))
    folder.result_file.write_text(json.dumps(make_result(header).to_json()))
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "WORTH_AN_INDEX", 2)
    for seed in range(3):
        write_run(tmp_path / "runs", seed)
    return tmp_path / "runs"


def briefs(runs):
    return [(record.brief, record.state) for record in scan(runs).records]


def test_a_second_scan_reads_no_header(runs, monkeypatch):
    first = briefs(runs)
    monkeypatch.setattr(RunFolder, "header", property(lambda self: pytest.fail("read a header")))
    assert briefs(runs) == first


def test_all_is_the_same_without_the_index(runs):
    first = briefs(runs)
    (runs / index.FILE).unlink()
    assert briefs(runs) == first
    (runs / index.FILE).write_text('{"runs": [')
    assert briefs(runs) == first


def test_a_changed_run_is_read_again(runs):
    briefs(runs)
    write_run(runs, 1, name="another")
    assert [brief.name for brief, _ in briefs(runs)] == ["4 layers", "another", "4 layers"]


def test_removed_and_damaged_runs_are_noticed(runs):
    first, second, third = (record.folder for record in scan(runs).records)
    first.result_file.unlink()
    second.header_file.write_text("{}")
    third.header_file.unlink()
    found = scan(runs)
    assert [(record.folder.path, record.finished) for record in found.records] == [(first.path, False)]
    assert [str(second.header_file) in problem for problem in found.damaged] == [True]


def test_an_index_of_other_rules_is_not_used(runs):
    first = briefs(runs)
    content = json.loads((runs / index.FILE).read_text())
    for entry in content["runs"].values():
        entry[2][0] = "another key"
    (runs / index.FILE).write_text(json.dumps(content))
    assert briefs(runs) != first
    (runs / index.FILE).write_text(json.dumps({**content, "rules": "of another version"}))
    assert briefs(runs) == first


def test_a_key_of_several_files_is_not_indexed(runs):
    write_run(runs, 7, key_rules=1)
    briefs(runs)
    assert not [name for name in json.loads((runs / index.FILE).read_text())["runs"] if "s7" in name]


def test_a_small_folder_has_no_index(tmp_path):
    write_run(tmp_path, 0)
    scan(tmp_path)
    assert not (tmp_path / index.FILE).exists()
