import pytest

from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.config.key import key_of_first_edition, relevant
from fer_ablate.config.key import run_key as key_of_settings

DATA, CODE = "d" * 64, "c" * 16


def run_key(config, data_digest, code, start=None):
    return key_of_settings(relevant(config), data_digest, code, start)


@pytest.mark.long
@pytest.mark.parametrize(
    "override",
    [
        "data.path=elsewhere",
        "trainer.devices=2",
        "trainer.num_threads=1",
        "trainer.save_last=true",
        "tracking.uri=http://server",
        "name=other",
        "force=true",
        "init_from=some.ckpt",
        "search.trial=3",
        "tracking.parent=abc",
    ],
)
def test_machine_and_place_leave_the_key(config_of, override):
    assert run_key(config_of(override), DATA, CODE) == run_key(config_of(), DATA, CODE)


@pytest.mark.long
@pytest.mark.parametrize(
    "override",
    ["seed=1", "optimizer.lr=0.1", "model.conv_layers=3", "data.roles=swapped", "evaluation.tta=flip", "trainer.precision=fp32"],
)
def test_what_can_change_a_result_changes_the_key(config_of, override):
    assert run_key(config_of(override), DATA, CODE) != run_key(config_of(), DATA, CODE)


def test_data_and_code_change_the_key(config_of):
    keys = {run_key(config_of(), DATA, CODE), run_key(config_of(), "e" * 64, CODE), run_key(config_of(), DATA, "f" * 16)}
    assert len(keys) == 3


def test_the_weights_to_begin_with_change_the_key(config_of):
    keys = [run_key(config_of(), DATA, CODE, start) for start in (None, "a" * 32, "b" * 32)]
    assert len(set(keys)) == 3
    assert run_key(config_of(), DATA, CODE) == keys[0]


def test_a_key_is_what_it_always_was():
    """A change of this one makes every finished run of everybody stale: only a changed default may do that, meant so."""
    with composer():
        config = to_config(composed(["model=fer_kd", "trainer.max_epochs=3", "model.conv_layers=3", "seed=7"]))
    assert run_key(config, DATA, CODE) == "df3b042a74db28b07754c6453a81bab5"


@pytest.mark.long
@pytest.mark.parametrize(
    ("base", "key", "before", "other"),
    [
        ("model=pisa", "model.norm_momentum", "0.1", "0.01"),
        ("model=pisa", "model.norm_eps", "1e-5", "1e-3"),
        ("loss.class_weight=balanced", "loss.divide_by", "weights", "images"),
        ("scheduler=plateau", "scheduler.threshold_mode", "rel", "abs"),
        ("trainer.monitor=val/acc", "trainer.min_delta", "0", "0.01"),
    ],
)
def test_later_keys_count_only_with_other_values(config_of, base, key, before, other):
    assert key not in relevant(config_of(base, f"{key}={before}"))
    assert key in relevant(config_of(base, f"{key}={other}"))


def test_synthetic_settings_do_not_matter_for_other_data(config_of):
    assert "data.synthetic.seed" in relevant(config_of())
    assert "data.synthetic.seed" not in relevant(config_of("data=folder"))


def test_the_resolved_number_format_is_in_the_key(config_of):
    formats = [relevant(config_of(), {"trainer.precision": name}) for name in ("fp32", "bf16")]
    assert len({key_of_settings(settings, DATA, CODE) for settings in formats}) == 2


def test_a_first_edition_run_keeps_a_key(config_of):
    """Typed as `auto` and computed in bf16 on Python 3.12, it is the run that `auto` is on such a machine today."""
    then = relevant(config_of("trainer.precision=auto"))
    key, settings = key_of_first_edition(then, DATA, "bc07dabd94242589", "bf16-mixed")
    assert key == key_of_settings(relevant(config_of(), {"trainer.precision": "bf16"}), DATA, "3648f38469397519")
    assert settings["trainer.precision"] == "bf16"
