"""`runs`, `compare`, `clean` and `watch` over runs that are finished by hand."""

import csv
import io
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fer_ablate.commands import watch
from fer_ablate.execution.planning import plan_of
from fer_ablate.metrics import SplitResult
from fer_ablate.tracking.disk.row_labels import LabelledRun, keep_labels
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions
from fer_ablate.tracking.disk.scan import run_path
from fer_ablate.tracking.mlflow.study_ids import StudyIds, StudyIdsFile

from ..finished_runs import CLASSES, epoch_metrics, finish_run, make_header

IMAGES = 400


def result_of(predicted, labels):
    """The scores of one split, as far as these tests need them."""
    confusion = [[int(((labels == row) & (predicted == column)).sum()) for column in (0, 1)] for row in (0, 1)]
    recall = {name: confusion[place][place] / max(sum(confusion[place]), 1) for place, name in enumerate(CLASSES)}
    per_class = {name: {"precision": 0.5, "recall": recall[name], "f1": 0.5, "support": 200.0} for name in CLASSES}
    metrics = {"acc": float((predicted == labels).mean()), "macro_f1": 0.5, "loss": 0.7}
    return SplitResult(n=len(labels), metrics=metrics, per_class=per_class, confusion=confusion)


@pytest.fixture
def runs_dir(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def make(runs_dir):
    """Write a finished run that is wrong about the first images of its test role, which begins at a row of the set."""

    def build(number, name="4 layers", wrong=100, first=0, header=None, config="init_from: null\n", **result):
        key = f"{number:x}" * 32
        labels = (first + np.arange(IMAGES)) % 2
        predicted = np.where(first + np.arange(IMAGES) < wrong, 1 - labels, labels)
        rows, sure = first + np.arange(IMAGES), np.eye(2, dtype=np.float32)[predicted]
        stored = StoredPredictions(rows, np.full(IMAGES, 2), labels, sure, {"test": np.ones(IMAGES, bool)})
        fields = {"key": key, "name": name, "settings": {"model.conv_layers": number, "seed": 3}}
        head = make_header(**{**fields, **(header or {})})
        folder = RunFolder(run_path(runs_dir, head.experiment, name, 3, key))
        finish_run(folder, head, stored, splits={"test": result_of(predicted, labels)}, **result)
        folder.write_config(config)
        folder.checkpoints.mkdir()
        folder.best_checkpoint.write_bytes(b"w" * 3000)
        return folder

    return build


@pytest.fixture
def unfinished(runs_dir):
    """A run without a result, in a state."""

    def build(number, state):
        head = make_header(key=f"{number:x}" * 32, name=state)
        folder = RunFolder(run_path(runs_dir, "depth", state, 3, head.key))
        folder.write_header(head)
        folder.append_epoch(1, epoch_metrics(1), 1000)
        if state == "failed":
            folder.write_failure("No memory.\nAt all.", "Traceback")
        if state == "pruned":
            folder.write_pruned(1, 0.1, "val/acc")
        return folder

    return build


@pytest.fixture
def ask(typed, runs_dir):
    return lambda verb, *words: typed(verb, *words, f"runs_dir={runs_dir}")


def test_runs_lists_states_and_scores(ask, make, unfinished):
    make(1, wrong=100, finished_at=(datetime.now(UTC) - timedelta(hours=3)).isoformat())
    unfinished(2, "failed")
    printed = ask("runs")
    assert printed.code == 0, printed.err
    lines = printed.out.splitlines()
    assert lines[1].split() == ["1111111111", "depth/4", "layers", "finished", "3", "—", "75.0", "50.0", *lines[1].split()[-4:]]
    assert lines[1].split()[-2:] == ["3", "h"]
    assert lines[2].startswith("2222222222  depth/failed    failed")
    assert "2 runs in" in lines[-1]
    assert "1 failed, 1 finished" in lines[-1]


def test_runs_are_chosen_and_sorted(ask, make, unfinished):
    make(1, "worse", wrong=300)
    make(2, "better", wrong=10, header={"experiment": "width/table1"})
    unfinished(3, "failed")

    def keys(*words):
        listed = csv.DictReader(io.StringIO(ask("runs", "format=csv", *words).out))
        return "".join(row["key"][0] for row in listed)

    assert keys("sort=score") == "213"
    assert keys("sort=size")[-1] == "3"
    assert keys("state=failed,missing") == "3"
    assert keys("experiment=width") == "2"
    assert keys("experiment=wid") == ""


def test_output_goes_through_links_and_pipes(ask, make, tmp_path):
    make(1)
    target, link, pipe = (tmp_path / name for name in ("runs.csv", "link.csv", "pipe.csv"))
    target.write_text("before")
    link.symlink_to(target)
    assert ask("runs", "format=csv", f"output={link}").code == 0
    assert link.is_symlink()
    written = target.read_text()
    assert written.startswith("key,")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert ask("runs", "format=csv", f"output={pipe}").code == 0
    assert os.read(reader, 1 << 16).decode() == written
    os.close(reader)
    refused = ask("runs", "format=csv", f"output={tmp_path}")
    assert f"Cannot write {tmp_path}: it is a folder. " in refused.err
    assert "name another file by output=..." in refused.err


def test_runs_are_written_in_full(ask, make, tmp_path):
    folder = make(1)
    assert ask("runs", "format=json", f"output={tmp_path / 'runs.json'}").out.strip() == str(tmp_path / "runs.json")
    (run,) = json.loads((tmp_path / "runs.json").read_text())
    assert (run["key"], run["test/acc"], run["folder"]) == ("1" * 32, 0.75, str(folder.path))
    assert run["bytes"] == sum(file.stat().st_size for file in folder.path.rglob("*") if file.is_file())
    assert "| 1111111111 | depth/4 layers | finished |" in ask("runs", "format=markdown").out


def test_damaged_runs_are_counted_and_named(ask, make, unfinished):
    make(1).result_file.write_text("{")
    unfinished(2, "failed").header_file.write_text("{")
    for printed in (ask("runs").out, ask("runs", "format=csv").err):
        assert "result.json is damaged" in printed
        assert "run.json is damaged" in printed
    assert "2 runs or folders cannot be read" in ask("runs").out


@pytest.mark.parametrize("place", ["~/名前", "why?"])
def test_any_folder_of_runs_is_found(typed, make, runs_dir, tmp_path, monkeypatch, place):
    make(0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    runs_dir.rename(tmp_path / place.removeprefix("~/"))
    assert "1 run in" in typed("runs", f"runs_dir={place}").out


def test_no_runs_are_no_error(ask):
    for verb in ("runs", "clean"):
        printed = ask(verb)
        assert (printed.code, printed.err) == (0, "")
    assert "there are no runs in" in ask("runs").out


def test_an_unknown_experiment_is_answered(ask, make):
    make(1)
    assert "Did you mean 'depth'?" in ask("runs", "experiment=dept").out


FAULTS = {
    "runs": (["sort=sise", "foo=1"], ["sort: there is no 'sise'", "foo: there is no such word"]),
    "compare": (["run=a", "run=b", "seed=0", "split=train"], ["seed: there is no such word", "split: there is no 'train'"]),
    "clean": (["what=stale,old", "yes=perhaps"], ["what: there is no 'old'", "yes: 'perhaps' is not true or false"]),
    "watch": (["study=quickstart", "folow=true"], ["folow: there is no such word.\n    Did you mean 'follow'?"]),
}


@pytest.mark.parametrize("verb", FAULTS)
def test_all_faults_of_words_come_together(typed, verb):
    words, faults = FAULTS[verb]
    printed = typed(verb, *words)
    assert printed.code == 1
    assert [fault for fault in faults if fault not in printed.err] == []


@pytest.mark.parametrize("verb", FAULTS)
def test_help_shows_commands(typed, verb):
    assert f"python -m fer_ablate {verb}" in typed(verb, "--help").out


def test_two_runs_are_compared_by_image(ask, make):
    make(1, "-1 Conv", wrong=100)
    make(2, "-2 Conv", wrong=40, environment={"torch": "2.13.0", "threads": "1"})
    printed = ask("compare", "run=-1 Conv", "run=222")
    assert printed.code == 0, printed.err
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["model.conv_layers", "1", "2"] in lines
    assert ["threads", "—", "1"] in lines
    assert ["test", "acc,", "%", "75.0", "90.0", "+15.0"] in lines
    assert ["happy", "75.0", "90.0", "50.0", "50.0", "50.0", "50.0"] in lines
    # 60 of 400 images won and none lost: 15 points, and 1.96 standard errors of 1.8 points.
    assert "the 400 test images that both share: better by 11." in printed.out
    assert "only B is right about 60, only A about 0; McNemar's exact p < 0.001" in printed.out
    assert "The same in all of them: images, code." in printed.out


def test_only_shared_images_are_tested(ask, make):
    make(1, "a", wrong=100)
    make(2, "b", wrong=100, first=90)
    assert "the 310 test images that both share: within noise" in ask("compare", "run=a", "run=b").out
    make(3, "c", first=IMAGES)
    assert (
        "C and A are not compared image by image: they share no images of test." in ask("compare", "run=a", "run=b", "run=c").out
    )


UNLIKE = {
    "protocol": ({"protocol": {"roles": "swapped", "tta": "none"}}, {}, "different evaluation protocols (data.roles official"),
    "data": ({}, {"data_digest": "e" * 64}, "they used different data"),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_unlike_runs_are_shown_without_a_test(ask, make, what):
    result, header, reason = UNLIKE[what]
    make(1, "a")
    make(2, "b", wrong=0, header=header, **result)
    printed = ask("compare", "run=a", "run=b")
    assert reason in printed.out
    assert ["test", "acc,", "%", "75.0", "100.0", "+25.0"] in [line.split() for line in printed.out.splitlines()]
    assert "better by" not in printed.out


def test_an_unfinished_run_is_compared_by_settings(ask, make, unfinished):
    make(1, "a")
    unfinished(2, "failed")
    out = ask("compare", "run=a", "run=failed").out
    assert "Without a result, hence without metrics and test: B." in out
    assert "model.conv_layers" in out


def test_a_comparison_is_written_in_full(ask, make, tmp_path):
    make(1, "a", header={"settings": {"augment.steps": [{"op": "flip", "p": 0.5}, {"op": "rotate"}]}})
    make(2, "b", header={"settings": {"augment.steps": [{"op": "flip", "p": 0.25}, {"op": "rotate"}]}})
    words = ("run=a", "run=b", "format=json", f"output={tmp_path / 'two.json'}")
    assert ask("compare", *words).code == 0
    found = json.loads((tmp_path / "two.json").read_text())
    assert found["settings"] == {"augment.steps[0].p": [0.5, 0.25]}
    assert found["tests"]["B"]["images"] == IMAGES
    lines = ask("compare", "run=a", "run=b", "format=markdown").out.splitlines()
    assert ["test acc, %", "75.0", "75.0", "+0.0"] in [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_a_study_is_compared_in_mlflow(ask, runs_dir, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ("compare", "study=quickstart", "study.rows=[small,SGD]", "study.seeds=[0]")
    file = StudyIdsFile(runs_dir, "quickstart", "quickstart", f"sqlite:///{runs_dir}/mlflow.db")
    file.path.parent.mkdir(parents=True)
    file.write(StudyIds(parent="c3", rows={"SGD": "b2", "-1 Conv": "d4", "small": "a1"}, experiment_id="7"))
    printed = ask(*words).out
    assert f"mlflow ui --backend-store-uri sqlite:///{runs_dir}/mlflow.db" in printed
    # In the order of the study, without the rows that were not chosen.
    assert "http://127.0.0.1:5000/#/compare-runs?runs=%5B%22a1%22%2C%22b2%22%5D&experiments=%5B%227%22%5D" in printed
    assert "not both" in ask("compare", "study=quickstart", "run=a").err
    assert "shows no row of" in ask("compare", "model=small").err


def test_runs_to_compare_must_differ(ask, make):
    make(1, "a")
    assert "Name two runs or more" in ask("compare", "run=a").err
    assert "run=a and run=111 name the same run" in ask("compare", "run=a", "run=111").err


def test_clean_lists_and_deletes_nothing(ask, make, unfinished):
    finished, failed, pruned = make(1), unfinished(2, "failed"), unfinished(3, "pruned")
    waiting = unfinished(4, "missing")
    finished.last_checkpoint.write_bytes(b"s" * 5000)
    printed = ask("clean")
    assert printed.code == 0, printed.err
    rows = [line.split("  ")[0] for line in printed.out.splitlines()[1:4]]
    assert sorted(rows) == ["failed", "leftovers", "pruned"]
    assert "No memory." in printed.out
    assert "4.9 KiB" in printed.out
    assert "yes=true deletes it" in printed.out
    assert all(folder.path.is_dir() for folder in (finished, failed, pruned, waiting))


def test_clean_deletes_what_it_listed(ask, make, unfinished):
    finished, failed, waiting = make(1), unfinished(2, "failed"), unfinished(3, "missing")
    finished.last_checkpoint.write_bytes(b"s")
    printed = ask("clean", "yes=true")
    assert "2 of 2" in printed.out
    assert not failed.path.exists()
    assert not finished.last_checkpoint.exists()
    assert finished.best_checkpoint.is_file()
    assert finished.result.key == "1" * 32
    assert waiting.path.is_dir()


def test_weights_go_only_when_named(ask, make):
    folder = make(1)
    assert "nothing to delete" in ask("clean", "yes=true").out
    assert ask("clean", "what=checkpoints", "yes=true").code == 0
    assert not folder.checkpoints.exists()
    assert folder.finished


def test_old_unfinished_runs_go_when_named(ask, unfinished):
    folder = unfinished(1, "missing")
    lock = folder.path / "run.lock"
    lock.touch()
    assert "nothing to delete" in ask("clean", "what=unfinished").out
    long_ago = time.time() - 9 * 86400
    for path in (*folder.path.rglob("*"), folder.path):
        os.utime(path, (long_ago, long_ago))
    lock.touch()  # as some versions of filelock do where a process only looks whether the run is locked
    assert "unchanged for 9 days" in ask("clean", "what=unfinished").out
    assert "nothing to delete" in ask("clean", "what=unfinished", "unfinished_days=10").out


def test_a_run_in_training_stays(ask, make):
    folder = make(1)
    with folder.lock():
        printed = ask("clean", "what=checkpoints", "yes=true")
    assert f"process {os.getpid()}" in printed.out
    assert "is training it" in printed.out
    assert folder.best_checkpoint.is_file()


STARTS = {"its key": "1" * 32, "the first digits": "'1111'", "its label": "depth/start, seed 3", "its file": "{file}"}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_what_others_start_from_stays(ask, make, start):
    folder = make(1, "start")
    other = make(2, "tuned", config=f"seed: 3\ninit_from: {start.format(file=folder.best_checkpoint)}\n")
    printed = ask("clean", "what=checkpoints", "yes=true")
    assert "depth/tuned starts from it" in printed.out
    assert folder.best_checkpoint.is_file()
    assert not other.checkpoints.exists()


def test_links_to_elsewhere_stay(ask, make, tmp_path, runs_dir):
    folder = make(1)
    elsewhere = folder.checkpoints.rename(tmp_path / "elsewhere")
    folder.checkpoints.symlink_to(elsewhere)
    whole = make(2, "whole", header={"experiment": "width"}).path
    moved = whole.rename(tmp_path / "moved")
    whole.symlink_to(moved)
    printed = ask("clean", "what=checkpoints", "yes=true")
    assert printed.out.count("outside of") == 2
    assert (elsewhere / "best.ckpt").is_file()
    assert (moved / "checkpoints").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_cannot_be_deleted_is_named(ask, make):
    folder = make(1)
    folder.checkpoints.chmod(0o500)
    printed = ask("clean", "what=checkpoints", "yes=true")
    folder.checkpoints.chmod(0o700)
    assert printed.code == 1
    assert "Permission denied" in printed.err


STUDY = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=pisa, trainer=cpu, trainer.max_epochs=2]
seeds: [3]
rows:
  - {label: all}
"""


@pytest.fixture
def study(tmp_path, runs_dir):
    """Words of a study with one run."""
    file = tmp_path / "conf" / "study" / "depth.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return ("--config-dir", str(tmp_path / "conf"), "study=depth", "tracking=none")


def test_stale_runs_are_those_of_a_study(ask, make, study):
    stale, other = make(1, "all"), make(2, "row of another study")
    printed = ask("clean", *study)
    assert printed.code == 0, printed.err
    assert "1 stale" in printed.out
    assert "model.conv_layers 1 ->" in printed.out
    assert ask("clean", *study, "yes=true").code == 0
    assert not stale.path.exists()
    assert other.path.is_dir()


def test_runs_of_other_studies_are_not_stale(ask, make, study, runs_dir):
    shared = make(1, "all")
    keep_labels(runs_dir / "path" / "table", [LabelledRun("depth", "depth-path-to-less", "all", 3, None, shared.header.key)])
    assert "1 stale" in ask("clean", *study).out  # a path through the study is part of it
    keep_labels(runs_dir / "width" / "table", [LabelledRun("width", "width", "4 layers", 3, None, shared.header.key)])
    printed = ask("clean", *study, "yes=true")
    assert "the row 4 layers of width has it as well" in " ".join(printed.out.split())
    assert shared.path.is_dir()


def test_runs_of_rows_left_out_are_not_stale(ask, make, study, tmp_path, runs_dir):
    two = STUDY.replace("{label: all}", "{label: all}\n  - {label: less, overrides: [model.width=0.5]}")
    (tmp_path / "conf" / "study" / "depth.yaml").write_text(two)
    (cell,) = [cell for cell in plan_of([*study, f"runs_dir={runs_dir}"])[1] if cell.row.label == "less"]
    make(1, "all", header={"key": cell.key, "settings": {}})
    assert "nothing to delete" in ask("clean", *study, "study.rows=[all]").out


def test_of_equal_runs_the_finished_one_counts(ask, make):
    finished = make(1)
    twin = RunFolder(finished.path.with_name(f"zz-{finished.path.name}"))
    twin.write_header(finished.header)
    other = make(2)
    printed = ask("compare", f"run={finished.header.key}", f"run={other.header.key}")
    assert (printed.code, printed.err) == (0, "")
    started = make(3, config=f"init_from: {finished.header.key}\n")
    kept = ask("clean", "what=checkpoints").out
    assert f"{started.header.experiment}/{started.header.name} starts from it" in " ".join(kept.split())


def test_nothing_is_stale_without_a_study(ask, make):
    make(1)
    printed = ask("clean", "what=stale")
    assert printed.code == 1
    assert "Name it: clean study=quickstart what=stale." in printed.err


def test_watch_ends_when_nothing_runs(ask, study, monkeypatch):
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)
    printed = ask("watch", *study)
    assert printed.code == 0, printed.err
    assert "1 run: 1 missing" in printed.out
    assert "0 of 1 run done, 1 waiting" in printed.out
    assert "follow=true waits for the rest" in printed.out


@pytest.mark.long
def test_watch_follows_a_run_to_its_end(ask, study, runs_dir):
    key = ask("plan", *study).out.splitlines()[1].split()[2]
    folder = RunFolder(run_path(runs_dir, "depth", "all", 3, key))

    def train():
        with folder.lock():
            folder.write_header(make_header(name="all", key=key))
            folder.append_epoch(1, epoch_metrics(1), 1000)
            time.sleep(1.5)  # longer than between two looks of the view
            finish_run(folder, make_header(name="all", key=key))

    trainer = threading.Thread(target=train)
    trainer.start()
    printed = ask("watch", *study, "follow=true")
    trainer.join()
    assert printed.code == 0, printed.err
    assert "  all, seed 3: val/acc 0.7500  test/acc 0.7500  3 epochs in 12 s" in printed.out
    assert "  1 of 1 run done" in printed.out
