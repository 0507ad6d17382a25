"""Command lines read as rows, seeds and switches."""

import re
import shlex

import pytest

from fer_ablate.config.choices import Only
from fer_ablate.config.overrides import parsed_overrides
from fer_ablate.config.schema import StudyConfig, StudySwitches
from fer_ablate.errors import FaultyConfigError, UserError
from fer_ablate.study.cells import compose_cells
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
        (["study=paper/depth", "study.max_seeds=20"], "max_seeds: has no effect.*Give study.seeds_until=decided"),
        (["study=paper/depth", "study.budget_hours=2", "study.seeds_until=null"], "budget_hours: has no effect"),
        (["study=paper/depth", "study.margin=200"], "margin: 200.0 is above 100"),
        (["seed=0,1,1"], "seed: 0,1,1 is not a list of one or more different values.\n    List each value once"),
        (["study=paper/depth", "seed=0,00"], "seed: 0,00 is not a list of one or more different values"),
        (["optimizer.lr=0.1,1e-1", "optimizer=adam,adam"], "2 faults.*optimizer.lr: 0.1,0.1 is not.*optimizer: adam,adam is not"),
        (["optimizer.lr=interval(0.1,0.2)"], "an interval has no list of values.*hydra/sweeper=optuna"),
        (["study=paper/depth", "optimizer.lrr=1"], "optimizer.lrr: there is no such key"),
    ],
)
def test_faults_say_what_is_wrong(words, told, conf):
    with pytest.raises(FaultyConfigError, match="(?s)" + told):
        study_spec(words, conf)


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("-1 Conv", "\"study.rows=['-1 Conv']\""),
        ("[-1 conv, all]", "\"study.rows=['all','-1 Conv']\""),
        ("[it's 50 %, lr=0.1]", shlex.quote("study.rows=['it\\'s 50 %, lr=0.1']")),
        ("'[BN + Dropout]'", "\"study.rows=['BN + Dropout']\""),
        ("[1e-3]", "\"study.rows=['1e-3']\""),
    ],
)
def test_labels_are_shown_as_to_be_typed(typed, command, conf):
    labels = ["all", "-1 Conv", "BN + Dropout", "it's 50 %, lr=0.1", "1e-3"]
    rows = "".join(f'  - {{label: "{label}", overrides: [model.conv_layers={n + 1}]}}\n' for n, label in enumerate(labels))
    (conf / "study" / "labels.yaml").write_text(f"base: [model=small]\nrows:\n{rows}")
    with pytest.raises(FaultyConfigError) as caught:
        study_spec(["study=labels", f"study.select={typed}"], conf)
    (fault,) = caught.value.faults
    assert (fault.key, fault.remedy[fault.remedy.index("Write ") :]) == ("study.rows", f"Write {command}.")
    word = shlex.split(command)[0].replace("study.rows", "study.select")
    assert set(parsed_overrides([word])[0].value()) <= set(labels)


def test_seeds_are_added_to_typed_ones(conf):
    file = conf / "study" / "paper" / "depth.yaml"
    file.write_text(STUDY.replace("seeds: [0, 1]", "seeds: [0]"))
    words = ["study=paper/depth", "study.seeds_until=decided", "study.max_seeds=4"]
    assert study_spec([*words, "seed=3,4"], conf).looks == (2, 3, 4)
    for more in ([], ["seed=3"]):
        with pytest.raises(FaultyConfigError, match="one seed shows no spread"):
            study_spec([*words, *more], conf)


def test_adding_seeds_can_be_switched_off(conf):
    file = conf / "study" / "paper" / "depth.yaml"
    file.write_text(f"{STUDY}seeds_until: decided\nmax_seeds: 6\nbudget_hours: 2\n")
    assert study_spec(["study=paper/depth", "study.seeds_until=null"], conf).looks == ()
    file.write_text(f"{STUDY}max_seeds: 6\n")
    with pytest.raises(FaultyConfigError, match="max_seeds: has no effect"):
        study_spec(["study=paper/depth"], conf)


@pytest.mark.long
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


def test_interpolations_are_left_to_the_runs(tmp_path):
    file = tmp_path / "study" / "mine.yaml"
    file.parent.mkdir()
    rows = '[{label: all}, {label: drawn, overrides: ["data.split_seed=${seed}"]}]'
    file.write_text(
        f"base: [data=synthetic]\nseeds: [0, 3]\nrows: {rows}\none_factor: {{optimizer.lr: ['${{optimizer.weight_decay}}']}}"
    )
    spec = study_spec(["study=mine"], tmp_path)
    assert [row.overrides[-1] for row in spec.rows[2:]] == ["data.split_seed=${seed}", "optimizer.lr='${optimizer.weight_decay}'"]
    cells = {(cell.row.label, cell.config.seed): cell.config for cell in compose_cells(spec, tmp_path)}
    assert [cells["drawn", seed].data.split_seed for seed in (0, 3)] == [0, 3]
    swept = cells["lr=${optimizer.weight_decay}", 0].optimizer
    assert swept["lr"] == swept["weight_decay"]


def test_every_seed_of_an_interpolation_is_checked(tmp_path):
    file = tmp_path / "study" / "mine.yaml"
    file.parent.mkdir()
    file.write_text('base: [data=synthetic]\nseeds: [0, 1]\nrows: [{label: a}, {label: b, overrides: ["model.dropout=${seed}"]}]')
    with pytest.raises(FaultyConfigError, match=re.escape("[b] model.dropout: 1.0 is not below 1")):
        compose_cells(study_spec(["study=mine"], tmp_path), tmp_path)


def test_a_baseline_may_have_an_interpolation(tmp_path):
    file = tmp_path / "study" / "mine.yaml"
    file.parent.mkdir()
    crossed = "crossed: {optimizer.lr: ['${optimizer.weight_decay}', 1]}"
    file.write_text(f"base: [data=synthetic]\nbaseline: lr=${{optimizer.weight_decay}}\n{crossed}")
    assert study_spec(["study=mine"], tmp_path).baseline == "lr=${optimizer.weight_decay}"
