"""Command lines read as rows, seeds and switches."""

import re

import pytest

from fer_ablate.config.choices import Only
from fer_ablate.config.schema import StudyConfig, StudySwitches
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.study.documents import read_studies
from fer_ablate.study.spec import study_spec

STUDY = """
base: [experiment=fer_kd, data=synthetic]
baseline: all
seeds: [0, 1]
rows:
  - {label: all}
  - {label: less, overrides: [model.conv_layers=4]}
"""


@pytest.fixture
def conf(tmp_path):
    """A config folder of one's own with the study `paper/depth`."""
    file = tmp_path / "conf" / "study" / "paper" / "depth.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return tmp_path / "conf"


def test_a_study_s_file_gives_rows_and_seeds(conf):
    found = study_spec(["study=paper/depth"], conf)
    assert (found.name, found.seeds, found.baseline, found.factor) == ("paper/depth", (0, 1), "all", "model.conv_layers")
    assert [row.label for row in found.rows] == ["all", "less"]


def test_words_of_the_command_line_come_last(conf):
    found = study_spec(["study=paper/depth", "trainer.max_epochs=1"], conf)
    assert found.rows[1].overrides == ("experiment=fer_kd", "data=synthetic", "model.conv_layers=4", "trainer.max_epochs=1")


def test_typed_seeds_replace_those_of_the_file(conf):
    assert study_spec(["study=paper/depth", "seed=5,6,7"], conf).seeds == (5, 6, 7)
    assert study_spec(["study=paper/depth", "seed=5"], conf).seeds == (5,)
    assert study_spec(["study=paper/depth", "study.seeds=[3,4]"], conf).seeds == (3, 4)


def test_a_grid_multiplies_the_rows(conf):
    found = study_spec(["study=paper/depth", "optimizer=adam,adamw"], conf)
    assert [row.label for row in found.rows] == [
        "all optimizer=adam",
        "all optimizer=adamw",
        "less optimizer=adam",
        "less optimizer=adamw",
    ]
    assert found.baseline == "all optimizer=adam"


def test_a_grid_is_compared_with_its_first_combination():
    found = study_spec(["model.conv_layers=3,4", "optimizer=adam,sgd", "seed=0,1,2", "trainer.max_epochs=2"])
    assert found.baseline == "conv_layers=3 optimizer=adam"
    assert found.seeds == (0, 1, 2)
    assert len(found.rows) == 4
    assert found.rows[3].overrides == ("model.conv_layers=4", "optimizer=sgd", "trainer.max_epochs=2")


def test_a_grids_name_ignores_the_order_of_words():
    one, same, other = (
        study_spec(["seed=0,1", "optimizer.lr=0.1,0.2"]),
        study_spec(["optimizer.lr=0.1,0.2", "seed=0,1"]),
        study_spec(["seed=0,1"]),
    )
    assert one.name == same.name != other.name


def test_the_only_swept_key_is_the_factor():
    assert study_spec(["model.conv_layers=3,4", "seed=0,1"]).factor == "model.conv_layers"
    assert study_spec(["model.conv_layers=3,4", "optimizer=adam,sgd"]).factor is None


def test_words_for_hydra_stay_out_of_rows(conf):
    found = study_spec(["study=paper/depth", "hydra/launcher=basic", "hydra.sweep.dir=x"], conf)
    assert found.rows[0].overrides == ("experiment=fer_kd", "data=synthetic")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["study=paper/dept"], "there is no 'paper/dept' in this group.*Did you mean 'paper/depth'"),
        (["study=paper/depth,quickstart"], "several studies or values at once"),
        (["study.only=failed"], "no study is named"),
        (["study=paper/depth", "study.select=[lesss]"], "there is no row 'lesss'.*Did you mean 'less'"),
        (["study=paper/depth", "study.only=broken"], "study.only.*broken"),
        (["optimizer.lr=interval(0.1,0.2)"], "an interval has no list of values.*hydra/sweeper=optuna"),
        (["study=paper/depth", "optimizer.lrr=1"], "optimizer.lrr: there is no such key"),
    ],
)
def test_faults_say_what_is_wrong(words, told, conf):
    with pytest.raises(FaultyConfigError, match="(?s)" + told):
        study_spec(words, conf)


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("only: failed", "study.only=failed"),
        ("force: true", "study.force=true"),
        ("force: false", "study.force=false"),
        ("accept_stale: true", "study.accept_stale=true"),
        ("select: [less]", "study.rows=[less]"),
    ],
)
def test_a_switch_in_a_file_is_a_fault(line, typed, conf):
    file = conf / "study" / "paper" / "depth.yaml"
    file.write_text(f"{STUDY}{line}\n")
    key = line.partition(":")[0]
    told = rf"study\.{key}: {file} sets it.*\n    Remove it there, and type {re.escape(typed)} on the command line\."
    for read in (lambda: study_spec(["study=paper/depth"], conf), lambda: read_studies(["paper/depth"], conf)):
        with pytest.raises(FaultyConfigError, match=told) as caught:
            read()
        assert len(caught.value.faults) == 1


def test_a_switch_in_included_files_is_a_fault(conf):
    (conf / "study" / "base.yaml").write_text("accept_stale: true\n")
    file = conf / "study" / "paper" / "depth.yaml"
    file.write_text(f"defaults: [base, _self_]\n{STUDY}")
    with pytest.raises(
        FaultyConfigError,
        match=r"(?s)study\.accept_stale: a file that .*depth\.yaml includes sets it.* type study\.accept_stale=true",
    ):
        study_spec(["study=paper/depth"], conf)


def test_typed_switches_are_no_part_of_the_study(conf):
    spec = study_spec(["study=paper/depth", "study.only=failed", "study.select=[less]", "study.accept_stale=true"], conf)
    assert spec.switches == StudySwitches(only=Only.failed, select=["less"], accept_stale=True)
    assert spec.study == study_spec(["study=paper/depth"], conf).study
    assert type(spec.study) is StudyConfig


def test_a_seed_cannot_be_taken_away():
    with pytest.raises(FaultyConfigError, match="every run has one"):
        study_spec(["~seed"])


@pytest.mark.parametrize("line", ["published: {all: null}", "rows: [{label: all}, {label: both, average_of: [[all, all]]}]"])
def test_malformed_parts_of_a_study_are_faults(tmp_path, line):
    file = tmp_path / "study" / "odd.yaml"
    file.parent.mkdir()
    file.write_text(
        f"base: [model=small]\nrows: [{{label: all}}]\n{line}\n" if "published" in line else f"base: [model=small]\n{line}\n"
    )
    with pytest.raises(UserError):
        study_spec(["study=odd"], tmp_path)
