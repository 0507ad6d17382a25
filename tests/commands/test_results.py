"""Exports of studies and the page of results, as a person makes them."""

import json
import shutil
import sys

import pytest

from fer_ablate.cli.main import main

STUDY = """
source: tiny, Table 1
base: [model=pisa, model.width=0.125, trainer=cpu, trainer.batch_size=32, trainer.max_epochs=1, trainer.num_threads=1,
  data.synthetic.train=140, data.synthetic.val=70, data.synthetic.test=70]
baseline: all
seeds: [0, 1]
columns: [test/acc]
rows:
  - {label: all, published: {test/acc: 62.5}}
  - {label: -2 conv, overrides: [model.conv_layers=4], published: {test/acc: {value: 60, note: read off a figure}}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache_dir):
    """Runs of both rows with seed 0."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fer_ablate"])
        patch.setenv("FER_ABLATE_CACHE", str(cache_dir))
        assert main(["-m", *words_of(write_study(folder), folder / "runs"), "seed=0"]) == 0
    return folder / "runs"


def write_study(folder, text=STUDY):
    file = folder / "conf" / "study" / "tiny" / "rows.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder / "conf"


def words_of(conf, runs):
    return ["--config-dir", str(conf), "study=tiny/rows", f"runs_dir={runs}", "tracking=none", "tracking.pictures=false"]


@pytest.fixture
def docs(tmp_path):
    return tmp_path / "docs"


@pytest.fixture
def results(typed, tmp_path, docs, trained):
    words = words_of(write_study(tmp_path), trained)
    return lambda *more: typed("results", *words, f"folder={docs}", *more)


def runs_of(file):
    return json.loads(file.read_text())["runs"]


def section(docs, name="tiny/rows"):
    """What the page says of one study."""
    return (docs / "results.md").read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.long
def test_runs_are_exported_and_shown_beside_published_numbers(results, docs, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs", ignore=shutil.ignore_patterns("-2*"))
    printed = results(f"runs_dir={tmp_path / 'runs'}")
    assert printed.code == 0, printed.err
    (run,) = runs_of(docs / "results" / "tiny-rows.json")
    where = run["environment"]
    assert (run["label"], run["seed"], run["epochs"], where["device"], where["precision"] != "") == ("all", 0, 1, "cpu", True)
    assert run["protocol"]["roles"] == "official"
    assert {"val/acc", "test/macro_f1", "private/acc"} <= set(run["metrics"])

    text = section(docs)
    assert f" {100 * run['metrics']['test/acc']:.1f} (n=1) |" in text
    assert "62.5" in text
    assert "not yet run" in text
    assert "read off a figure" in text
    overview = (docs / "results.md").read_text().split("\n## Overview")[1].split("\n## ")[0]
    assert "| [tiny/rows](#tinyrows) | 1 of 2 | 0 | partly run: 1 of 4 runs |" in overview
    assert "| [fer_kd/table1](#fer_kdtable1) | " in overview


@pytest.mark.long
def test_what_is_there_is_not_replaced_by_less(results, docs, tmp_path):
    refused = results("study.rows=[all]")
    assert (refused.code, "Leave it out. All finished ones are exported." in refused.err) == (1, True)
    assert results("seed=0").code == 1
    docs.mkdir()
    (docs / "results.md").write_text("my notes")
    refused = results()
    assert (refused.code, "was not written by this command and stays" in refused.err) == (1, True)
    assert not (docs / "results").exists()
    (docs / "results.md").unlink()
    assert results().code == 0
    file = docs / "results" / "tiny-rows.json"
    before = file.read_bytes()
    write_study(tmp_path, STUDY.replace("trainer.batch_size=32", "trainer.batch_size=28"))
    assert results("study.accept_stale=true").code == 0  # the same runs, which are now of an earlier state
    assert {run["stale"] for run in runs_of(file)} == {"trainer.batch_size 32 -> 28"}
    file.write_text(before.decode().replace(runs_of(file)[0]["key"], "0123456789"))
    refused = results("study.accept_stale=true")
    assert (refused.code, "1 run of the study as it is (all seed 0), whose places other ones would" in refused.err) == (1, True)


@pytest.mark.slow
def test_lines_of_other_machines_stay(results, docs):
    results()
    file = docs / "results" / "tiny-rows.json"
    export = json.loads(file.read_text())
    of_all = export["runs"][0]
    assert (of_all["label"], of_all["seed"]) == ("all", 0)
    file.write_text(json.dumps({**export, "runs": [*export["runs"], {**of_all, "seed": 5}]}))
    assert results().code == 0
    assert [(run["label"], run["seed"]) for run in runs_of(file)] == [("all", 0), ("all", 5), ("-2 conv", 0)]
    text = section(docs)
    assert "2/3" in text  # seeds 0 and 5 are there, 1 is not
    assert "without interval and verdict: all" in text


@pytest.mark.slow
def test_earlier_runs_count_where_they_are_accepted(results, docs, tmp_path):
    write_study(tmp_path, STUDY.replace("trainer.batch_size=32", "trainer.batch_size=28"))
    refused = results()
    assert refused.code == 1
    assert "2 runs of an earlier config, data or code would count with study.accept_stale=true" in refused.err
    assert results("study.accept_stale=true").code == 0
    assert "trainer.batch_size 32 -> 28" in section(docs)


@pytest.mark.slow
def test_runs_that_differ_are_not_full_runs(results, docs, tmp_path):
    write_study(tmp_path, STUDY.replace("trainer.batch_size=32, ", ""))
    assert results("trainer.batch_size=32").code == 0
    assert "partly run: 0 of 4 runs" in (docs / "results.md").read_text()
    assert "Not as the study says: trainer.batch_size=32 in all seed 0, -2 conv seed 0" in section(docs)


def test_nothing_finished(results, tmp_path):
    printed = results(f"runs_dir={tmp_path / 'empty'}")
    assert printed.code == 1
    assert "is finished. Train it: python -m fer_ablate -m study=tiny/rows" in printed.err


@pytest.mark.long
def test_a_broken_study_names_its_file(typed, tmp_path, docs):
    conf = write_study(tmp_path, STUDY + "sedes: [0]\n")
    printed = typed("results", "--config-dir", str(conf), f"folder={docs}")
    assert printed.code == 1
    assert "rows.yaml: Key 'sedes' not in 'StudyConfig'" in printed.err


@pytest.mark.slow
def test_the_page_needs_no_runs(typed, docs):
    printed = typed("results", f"folder={docs}")
    assert printed.code == 0, printed.err
    page = (docs / "results.md").read_text()
    assert page.startswith("<!-- Written by `python -m fer_ablate results`")
    assert page.count("not yet run") > 8


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["study=fer_kd/table2"], "Did you mean 'fer_kd/table1'?"),
        (["study=quickstart"], "this is not a table of a document"),
        (["seed=0"], "of which study?"),
    ],
)
def test_other_studies_are_answered(typed, words, answer, docs):
    printed = typed("results", *words, f"folder={docs}")
    assert printed.code == 1
    assert answer in printed.err


def test_help(typed):
    assert "folder=" in typed("results", "-h").out
