"""Composing a choice of groups once and setting keys on copies gives what Hydra gives."""

from functools import cache

import pytest
from hydra import compose
from hydra.errors import HydraException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fer_ablate.config.compose import composed, composer, flat
from fer_ablate.config.conf_files import CONFIG_NAME, conf_dir
from fer_ablate.config.overrides import assignment
from fer_ablate.study.spec import last_of_each_key, study_spec

STUDIES = sorted(str(file.relative_to(conf_dir() / "study").with_suffix("")) for file in (conf_dir() / "study").rglob("*.yaml"))


def assert_equals_hydra(overrides):
    with composer():
        expected, problem = composed_by(lambda: compose(CONFIG_NAME, overrides=list(overrides)))
        tree, own_problem = composed_by(lambda: composed(overrides))
    assert own_problem == problem
    if expected is None:
        return
    assert tree == expected
    # Types, interpolations and closed mappings as well, which decide what a later override may do.
    assert OmegaConf.to_yaml(tree) == OmegaConf.to_yaml(expected)
    assert described(tree) == described(expected)


def composed_by(compose_tree):
    try:
        return compose_tree(), None
    except HydraException as error:
        return None, (type(error), str(error))


def described(node):
    own = (type(node).__name__, node._metadata.flags, node._metadata.ref_type, node._metadata.object_type)
    if OmegaConf.is_dict(node):
        return own, {key: described(node._get_node(key)) for key in node}
    return own


def rows_of(name, which):
    return [last_of_each_key(row.overrides) for row in study_spec([f"study={name}"]).rows[which]]


@pytest.mark.long
@pytest.mark.parametrize("name", ["quickstart", "vggnet/schedulers"])
def test_the_last_row_of_a_study_composes_alike(name):
    for overrides in rows_of(name, slice(-1, None)):
        assert_equals_hydra(overrides)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_row_of_a_study_composes_alike(name):
    for overrides in rows_of(name, slice(None)):
        assert_equals_hydra(overrides)


@pytest.mark.long
@pytest.mark.parametrize(
    "overrides",
    [
        ["model=pisa", "+optimizer.betas=[0.1,0.9]", "~optimizer.lr"],
        ["study=quickstart", "study.seeds=[1]", "data.merge={happy: [happy]}"],
        ["++trainer={max_epochs: 3}", "trainer=cpu"],
        ["trainer.max_epoch=3"],
        ["~augment.steps"],
        ["model@data=pisa"],
        ["runs_dir=${seed}/a", "hydra.job.chdir=true", "data.path='a b=c'"],
        ["seed=1", "seed=2"],
    ],
    ids=str,
)
def test_unusual_overrides_compose_alike(overrides):
    assert_equals_hydra(overrides)


@cache
def leaves():
    with composer():
        return flat(OmegaConf.to_container(composed(["experiment=pisa"]), enum_to_str=True))


def override():
    values = (
        st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=False, width=32) | st.text("ab_.-/ ", max_size=5)
    )
    setting = st.builds(assignment, st.sampled_from(sorted(leaves())), values | st.lists(st.integers(0, 9), max_size=3))
    return st.sampled_from(["", "", "+", "++"]).flatmap(lambda prefix: setting.map(lambda text: prefix + text))


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_overrides_compose_alike(data):
    group = data.draw(st.sampled_from(["model=pisa", "experiment=vggnet", "optimizer=adamw"]))
    assert_equals_hydra([group, *data.draw(st.lists(override(), max_size=4))])


def test_an_edited_file_is_read_again(tmp_path):
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "mine.yaml"
    for channels in (4, 16):
        file.write_text(f"stages: [{{channels: {channels}}}]\n")
        with composer(tmp_path):
            assert composed(["model=mine"]).model.stages[0].channels == channels


def test_a_tree_can_be_changed_freely():
    with composer():
        composed(["model=pisa"]).model.width = 0.5
        assert composed(["model=pisa"]).model.width == 1.0


def test_folders_share_only_equal_files(tmp_path):
    def width(folder, value):
        (tmp_path / folder / "model").mkdir(parents=True)
        (tmp_path / folder / "model" / "mine.yaml").write_text(f"stages: [{{channels: 4}}]\nwidth: {value}\n")
        with composer(tmp_path / folder):
            return composed(["model=mine"]).model.width

    assert [width("first", 0.5), width("second", 2.0), width("third", 0.5)] == [0.5, 2.0, 0.5]
