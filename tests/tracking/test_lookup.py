"""Runs by the names that people have for them."""

import os
from dataclasses import replace

import pytest

from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.lookup import find_run, finished_run
from fer_ablate.tracking.disk.row_labels import FILE, LabelledRun, keep_labels
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import study_path

from ..finished_runs import make_header, make_result


def add(runs_dir, place, name, seed, *, age=0, finished=True):
    folder = RunFolder(runs_dir / place / f"{name}-{seed}-{age}")
    folder.write_header(make_header(name=name, experiment=place, seed=seed, key=f"{seed}{age}{abs(hash(place + name)):x}"))
    os.utime(folder.header_file, (1e9 - age, 1e9 - age))
    if finished:
        folder.write_result(make_result())
    return folder.path


@pytest.mark.parametrize("name", ["four", "depth/four"])
def test_a_row_means_its_first_finished_seed(tmp_path, name):
    add(tmp_path, "depth", "four", 0, finished=False)
    add(tmp_path, "depth", "four", 1, age=9)
    newest = add(tmp_path, "depth", "four", 1)
    other = add(tmp_path, "depth", "four", 2)
    assert find_run(tmp_path, name).path == newest
    assert find_run(tmp_path, f"{name}, seed 2").path == other


def test_a_fold_is_named_behind_the_seed(tmp_path):
    for seed, fold in ((0, 1), (0, 0), (1, 1)):
        folder = RunFolder(tmp_path / "depth" / f"four-{seed}-{fold}")
        header = make_header(name="four", seed=seed, key=f"{seed}{fold}ab")
        folder.write_header(replace(header, settings={"data.folds": 2, **({"data.fold": 1} if fold else {})}))
        folder.write_result(make_result())
    assert find_run(tmp_path, "four").path.name == "four-0-0"
    assert find_run(tmp_path, "four, seed 1").path.name == "four-1-1"
    assert find_run(tmp_path, "depth/four, seed 0, fold 1").path.name == "four-0-1"


@pytest.mark.parametrize("name", ["four-0-0", "depth/four-0-0"])
def test_a_run_is_known_by_its_folder(tmp_path, name):
    path = add(tmp_path, "depth", "four", 0)
    assert find_run(tmp_path, name).path == path


def test_a_label_of_two_experiments_needs_the_experiment(tmp_path):
    add(tmp_path, "depth", "four", 0)
    wide = add(tmp_path, "width", "four", 0)
    with pytest.raises(UserError, match="2 runs fit run=four; give more of the key, or the experiment before the label"):
        find_run(tmp_path, "four")
    assert find_run(tmp_path, "width/four").path == wide


def test_runs_without_result_or_weights_are_refused(tmp_path):
    add(tmp_path, "depth", "three", 0, finished=False)
    add(tmp_path, "depth", "four", 0)
    with pytest.raises(UserError, match="three-0-0 is not finished"):
        finished_run(tmp_path, "three")
    with pytest.raises(UserError, match=r"four-0-0 has lost best\.ckpt"):
        finished_run(tmp_path, "four")


def test_a_shared_run_has_every_label(tmp_path):
    shared, other = add(tmp_path, "s1", "same", 0), add(tmp_path, "s1", "base", 1)
    keys = {path: RunFolder(path).header.key for path in (shared, other)}
    for experiment, study in (("s1", "s1"), ("s2", "s2"), ("s1", "s1-path")):
        labels = [
            LabelledRun(experiment, study, "base", 0, None, keys[shared]),
            LabelledRun(experiment, study, "base", 1, None, keys[other]),
        ]
        keep_labels(study_path(tmp_path, experiment, study), labels)
    for name in ("same", "s1/same, seed 0", "base, seed 0", "s1/base", "s2/base, seed 0", "s1-path/base"):
        assert find_run(tmp_path, name).path == shared
    assert find_run(tmp_path, "s2/base, seed 1").path == other


def test_the_last_key_of_a_label_counts(tmp_path):
    first, second = add(tmp_path, "s1", "a", 0), add(tmp_path, "s1", "b", 0)
    for path in (first, second):
        keep_labels(study_path(tmp_path, "s2", "s2"), [LabelledRun("s2", "s2", "row", 0, None, RunFolder(path).header.key)])
    assert find_run(tmp_path, "s2/row").path == second


def test_a_damaged_record_hides_no_run(tmp_path):
    path = add(tmp_path, "s1", "same", 0)
    record = study_path(tmp_path, "s1", "s1") / FILE
    record.parent.mkdir()
    record.write_text('[{"label": 3}]')
    assert find_run(tmp_path, "same").path == path


def test_a_label_may_be_longer_than_file_names(tmp_path):
    label = "é" * 200
    folder = RunFolder(tmp_path / "depth" / "long")
    folder.write_header(make_header(name=label))
    folder.write_result(make_result())
    assert find_run(tmp_path, label).path == folder.path
