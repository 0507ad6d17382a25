"""Published tables as a person reproduces them: listed, trained by one command, put on trial."""

import json
import re

import pytest

from fer_ablate.commands.reproduce import TABLES_HEADER, fitted_list, fitted_rows
from fer_ablate.report.table.narrow import columns_width

STUDY = """
source: tiny, Table 1
base: [model=pisa, model.width=0.125, trainer=cpu, trainer.batch_size=32, trainer.max_epochs=1, trainer.num_threads=1,
  data.synthetic.train=140, data.synthetic.val=70, data.synthetic.test=70]
baseline: all
seeds: [0, 1]
columns: [val/acc, test/acc]
rows:
  - {label: all, published: {test/acc: 62.5}}
  - {label: first stage, overrides: [model.conv_layers=4, trainer.max_epochs=7], auxiliary: true}
  - {label: tuned, overrides: [model.conv_layers=4, scheduler.warmup_epochs=1, trainer.max_epochs=20], start_from: first stage,
     published: {test/acc: {value: 60, note: read off a figure}}}
"""
FACES = "base: [data=fer2013]\nrows: [{label: a, published: {test/acc: 70}}, {label: b}]\n"


@pytest.fixture
def conf(tmp_path):
    file = tmp_path / "conf" / "study" / "tiny" / "rows.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return file


@pytest.fixture
def reproduce(typed, conf, tmp_path):
    def command(*words):
        places = (f"runs_dir={tmp_path / 'runs'}", f"folder={tmp_path / 'docs'}")
        return typed("reproduce", *words, "--config-dir", str(conf.parents[2]), *places)

    return command


def trials_of(tmp_path):
    """Label -> what was kept of the trial of a row."""
    return {trial["row"]: trial for trial in json.loads((tmp_path / "docs" / "results" / "trials.json").read_text())}


def line_of(printed, *words):
    """The one line that has all of these words, between blanks."""
    (found,) = [line for line in printed.out.splitlines() if all(re.search(rf"(^|\s){re.escape(w)}(\s|$)", line) for w in words)]
    return found


@pytest.mark.slow
def test_all_tables_are_listed_with_published_numbers(reproduce):
    printed = reproduce("tracking=none")
    assert printed.code == 0, printed.err
    here, measured = ["0", "of", "4"], ["0", "of", "2"]
    assert line_of(printed, "tiny", "rows").split() == ["tiny", "rows", *here, *measured, "test", "acc", "62.5", "unknown"]
    assert "needs its images" in line_of(printed, "fer_kd", "table1")


def test_images_that_are_not_there_break_no_listing(reproduce, conf):
    conf.write_text(FACES)
    printed = reproduce("tiny")
    assert printed.code == 0, printed.err
    assert line_of(printed, "a", "70").split() == ["a", "0", "of", "1", "test", "acc", "70"]
    assert line_of(printed, "b").split() == ["b", "0", "of", "1", "—"]
    assert "needs its images: set FER_ABLATE_DATA for FER2013, or give data.path=..." in printed.out
    assert line_of(reproduce("tiny", "seed=0,1,2"), "a", "70").split() == ["a", "0", "of", "3", "test", "acc", "70"]


@pytest.mark.slow
def test_the_shown_command_trains_the_table(reproduce, conf, tmp_path):
    printed = reproduce("tiny", "rows", "study.rows=[all]", "seed=0", "tracking=none")
    assert printed.code == 0, printed.err
    shown = f"python -m fer_ablate -m --config-dir {conf.parents[2]} study=tiny/rows 'study.rows=[all]' seed=0 tracking=none"
    assert shown in printed.out
    assert len(list((tmp_path / "runs" / "tiny_rows").glob("*/result.json"))) == 1

    listed = reproduce("tiny")
    assert line_of(listed, "all", "62.5").split() == ["all", "1", "of", "2", "test", "acc", "62.5"]
    assert line_of(listed, "tuned", "60").split() == ["tuned", "0", "of", "2", "test", "acc", "60"]
    assert "first stage" not in listed.out

    conf.write_text(STUDY.replace("trainer.batch_size=32", "trainer.batch_size=28"))
    assert line_of(reproduce("tiny"), "all", "62.5").split() == ["all", "0", "of", "2,", "1", "stale", "test", "acc", "62.5"]


@pytest.mark.slow
def test_a_trial_estimates_the_cost_of_the_whole(reproduce, tmp_path):
    printed = reproduce("tiny", "rows", "trial=true", "images=70", "study.rows=[tuned]", "optimizer.eps=1e-7")
    assert printed.code == 0, printed.err
    trials = trials_of(tmp_path)
    assert list(trials) == ["first stage", "tuned"]  # the one starts from the other
    tuned = trials["tuned"]
    assert (tuned["problem"], tuned["full_images"], tuned["epochs"], tuned["typed"]) == ("", 140, 20, "optimizer.eps=1e-7")
    assert tuned["images"] == pytest.approx(70, abs=4)  # rounded class by class
    assert tuned["seconds_per_epoch"] > 0
    assert len(list((tmp_path / "runs" / "trials" / "tiny_rows").glob("*/result.json"))) == 2
    assert "more than" in line_of(reproduce("tiny"), "remains")  # the row "all" was not tried


@pytest.mark.slow
def test_a_row_that_fails_on_trial_is_told(reproduce, conf, tmp_path):
    conf.write_text(STUDY.split("  - {label: first")[0] + "  - {label: broken, overrides: [optimizer.lr=1e30]}\n")
    printed = reproduce("tiny", "rows", "trial=true")
    assert printed.code == 1
    trials = trials_of(tmp_path)
    assert (trials["all"]["problem"], trials["broken"]["images"]) == ("", None)
    assert "loss became" in trials["broken"]["problem"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("fer_k",), "'fer_k' is no document. Did you mean 'fer_kd'?"),
        (("fer_kd", "table2"), "'table2' is no table of fer_kd. Did you mean 'table1'?"),
        (("fer_kd", "trial=true"), "of which table?"),
        (("fer_kd", "table1", "trial=true", "images=few"), "images: 'few' is not a whole number, 1 or more"),
        (("fer_kd", "table1", "trial=maybe"), "trial: 'maybe' is not true or false"),
        (("fer_kd", "table1", "more"), "give a document and one of its tables"),
        (("fer_kd", "optimizer.lrr=1"), "Did you mean 'optimizer.lr'"),
        (("fer_kd", "--cfg", "job"), "belong to the command itself"),
    ],
)
def test_what_cannot_be_meant_is_answered(typed, words, answer):
    printed = typed("reproduce", *words)
    assert printed.code == 1
    assert answer in printed.err


def test_help(typed):
    printed = typed("reproduce", "--help")
    assert (printed.code, "trial=true" in printed.out) == (0, True)


LISTED = dict(
    zip(
        TABLES_HEADER,
        (
            ("fer_kd", "pisa"),
            ("table1", "balanced_feature_extraction"),
            ("needs its images", "11 of 24, 1 stale"),
            ("2 of 8", "0 of 3"),
            ("val acc 65.43", "test acc 43"),
            ("36.5 h", "more than 96.2 h"),
        ),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (140, []),
        (90, ["published (baseline)"]),
        (80, ["published (baseline)", "measured rows"]),
        (70, ["published (baseline)", "measured rows"]),
        (60, ["published (baseline)", "measured rows", "runs here"]),
    ],
)
def test_a_narrow_list_leaves_columns_out(width, left_out):
    shown, without = fitted_list(LISTED, width)
    assert without == left_out
    assert columns_width([title, *cells] for title, cells in shown.items()) - 2 <= width
    assert [title.replace("\n", " ") for title in shown] == [title for title in LISTED if title not in left_out]
    for title, cells in shown.items():
        assert [cell.replace("\n", " ") for cell in cells] == list(LISTED[title.replace("\n", " ")])
    assert shown.get("runs here", ("", "11 of 24,\n1 stale"))[1] in ("11 of 24, 1 stale", "11 of 24,\n1 stale")


def test_narrow_rows_keep_numbers_whole():
    published = ("test\u00a0acc\u00a065.43, val\u00a0acc\u00a062.29", "—")
    labels, finished, numbers = fitted_rows(["small", "small with a long name"], ["1 of 3, 2 stale", "0 of 3"], published, 40)
    assert labels.cells == ("small", "small with a\nlong name")
    assert finished == ["1 of 3,\n2 stale", "0 of 3"]
    assert numbers == ["test acc 65.43,\nval acc 62.29", "—"]
