import re

import pytest

from fer_ablate.config.diagnosis import diagnose


def faults_of(*overrides):
    return [str(fault) for fault in diagnose(overrides).faults]


def test_sound_overrides_have_no_faults():
    found = diagnose(
        ["model.conv_layers=4", "optimizer=sgd_nesterov", "optimizer.momentum=0.8", "seed=0,1,2", "data=fer2013,synthetic"]
    )
    assert found.faults == ()
    assert found.tree.optimizer.momentum == 0.8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle.conv_layers=4", "modle.conv_layers: there is no such key or group.*Did you mean 'model.conv_layers'"),
        ("optimiser=adam", "Did you mean 'optimizer'"),
        ("lr=0.1", "Did you mean 'optimizer.lr'"),
        ("optimizer=admw", "there is no 'admw' in this group.*Did you mean 'adamw'.*rmsprop"),
        ("optimizer.momentun=0.9", "optimizer.momentun: there is no such key.*Keys there: .*lr"),
        ("trainer.max_epochs=many", "trainer.max_epochs: many does not fit.*could not be converted to Integer"),
        ("data.roles=offical", "data.roles: offical does not fit.*official"),
        ("model.stages=4", "model.stages: 4 does not fit"),
        ("seed=0,x", "seed: x does not fit"),
        ("optimizer=adam,admw", "there is no 'admw'"),
        ("a b=", "'a b=' is not an override"),
        ("=3", "'=3' is not an override"),
        ("+trainer.max_epoch=5", "trainer.max_epoch: there is no such key.*Did you mean 'trainer.max_epochs'"),
        ("+foo=1", "foo: there is no such key"),
        ("hydra.sweeper.when={optimizer.lr: {optimizer: adam}}", "when: is for searches alone.*`exclude` in a study's file"),
        ("hydra.sweeper.n_trals=3", "hydra.sweeper.n_trals: there is no such key.*Did you mean 'n_trials'"),
    ],
)
def test_a_fault_names_key_and_way_out(override, message):
    (fault,) = faults_of(override)
    assert re.search(message, fault, re.DOTALL)


def test_a_search_has_keys_of_its_own():
    (fault,) = faults_of("hydra/sweeper=optuna", "hydra.sweeper.whne={}", "hydra.sweeper.n_trials=3")
    assert fault.startswith("hydra.sweeper.whne: there is no such key.\n    Did you mean 'when'?")


def test_open_sections_take_any_key():
    assert faults_of("+optimizer.foreach=true", "+model.arguments.depth=3", "+data.merge.good=[happy]") == []


def test_all_faults_come_at_once_beside_the_rest():
    found = diagnose(["sed=1", "optimizer=adma", "trainer.max_epochs=x", "model.width=0.5"])
    assert [fault.key for fault in found.faults] == ["optimizer", "sed", "trainer.max_epochs"]
    assert found.sound == ("model.width=0.5",)
    assert found.tree.model.width == 0.5


def test_a_users_own_folder_is_searched(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("stages: [{channels: 4}]\n")
    assert diagnose(["model=mine"], tmp_path).tree.model.stages[0].channels == 4
    assert len(diagnose(["model=mine"]).faults) == 1


@pytest.mark.long
def test_a_user_file_with_unknown_key_is_named(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("chanels: 4\n")
    assert "chanels" in str(diagnose(["model=mine"], tmp_path).faults[0])


@pytest.mark.parametrize("text", ["seed=range(1,5,0)", "optimizer.lr=range(0.1,1,0.0)"])
def test_a_range_without_step_is_a_fault(text):
    (fault,) = diagnose([text]).faults
    assert "the step of a range cannot be 0" in fault.problem


@pytest.mark.parametrize("text", ["optimizer.lr=" + "9" * 5000, "seed=range(1,1e9)", "+=${a:}", "data=" + "a" * 5000])
def test_monstrous_words_are_faults(text):
    assert diagnose([text]).faults
