"""Command lines read as rows and seeds."""

import pytest

from fer_ablate.errors import FaultyConfigError
from fer_ablate.study.spec import asked

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
    found = asked(["study=paper/depth"], conf)
    assert (found.name, found.seeds, found.baseline, found.factor) == ("paper/depth", (0, 1), "all", "model.conv_layers")
    assert [row.label for row in found.rows] == ["all", "less"]


def test_words_of_the_command_line_come_last(conf):
    found = asked(["study=paper/depth", "trainer.max_epochs=1"], conf)
    assert found.rows[1].overrides == ("experiment=fer_kd", "data=synthetic", "model.conv_layers=4", "trainer.max_epochs=1")


def test_seeds_of_the_command_line_replace_those_of_the_file(conf):
    assert asked(["study=paper/depth", "seed=5,6,7"], conf).seeds == (5, 6, 7)
    assert asked(["study=paper/depth", "seed=5"], conf).seeds == (5,)
    assert asked(["study=paper/depth", "study.seeds=[3,4]"], conf).seeds == (3, 4)


def test_a_grid_multiplies_the_rows(conf):
    found = asked(["study=paper/depth", "optimizer=adam,adamw"], conf)
    assert [row.label for row in found.rows] == [
        "all optimizer=adam",
        "all optimizer=adamw",
        "less optimizer=adam",
        "less optimizer=adamw",
    ]
    assert found.baseline == "all optimizer=adam"


def test_a_grid_alone_is_compared_with_its_first_combination():
    found = asked(["model.conv_layers=3,4", "optimizer=adam,sgd", "seed=0,1,2", "trainer.max_epochs=2"])
    assert found.baseline == "conv_layers=3 optimizer=adam"
    assert found.seeds == (0, 1, 2)
    assert len(found.rows) == 4
    assert found.rows[3].overrides == ("model.conv_layers=4", "optimizer=sgd", "trainer.max_epochs=2")


def test_the_same_grid_has_the_same_name_in_any_order_and_another_one_another():
    one, same, other = (
        asked(["seed=0,1", "optimizer.lr=0.1,0.2"]),
        asked(["optimizer.lr=0.1,0.2", "seed=0,1"]),
        asked(["seed=0,1"]),
    )
    assert one.name == same.name != other.name


def test_the_only_swept_key_is_the_factor():
    assert asked(["model.conv_layers=3,4", "seed=0,1"]).factor == "model.conv_layers"
    assert asked(["model.conv_layers=3,4", "optimizer=adam,sgd"]).factor is None


def test_words_for_hydra_itself_do_not_reach_the_rows(conf):
    found = asked(["study=paper/depth", "hydra/launcher=basic", "hydra.sweep.dir=x"], conf)
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
        asked(words, conf)
